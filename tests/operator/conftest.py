"""Which event loops tests of the operator turn on."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import pytest
import uvloop

# What opens ports or connections: the webhook does so on uvloop, the controller on asyncio's own.
_ON_BOTH: Final = {"test_client.py", "test_ports.py", "test_probes.py", "test_tls.py"}


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """By name, each of which a test is run on."""
    usual = {"asyncio": asyncio.new_event_loop}
    return {**usual, "uvloop": uvloop.new_event_loop} if item.path.name in _ON_BOTH else usual
