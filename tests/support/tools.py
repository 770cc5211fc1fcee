"""What a test does when a tool is missing: skip with the reason, or fail where that is forbidden.

``CI=true`` forbids skipping, because a skipped test proves nothing.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")


class ToolMissing(Exception):
    """A tool cannot be had here; the text says which, what it is for, and how to get it."""


def skip(reason: str) -> NoReturn:
    """Skip the running test, or fail it under ``CI=true``."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI forbids skipping: {reason}", pytrace=False)
    pytest.skip(reason)


def need(command: str, *, reason: str) -> Path:
    """The path of ``command``, or the running test is skipped (failed under ``CI=true``)."""
    found = shutil.which(command)
    if found is None:
        skip(f"{command} is not installed: {reason}")
    return Path(found)


def build_or_skip(build: Callable[[], T]) -> T:
    """What ``build`` returns; its ``ToolMissing`` becomes a skip (a failure under ``CI=true``)."""
    try:
        return build()
    except ToolMissing as missing:
        skip(str(missing))
