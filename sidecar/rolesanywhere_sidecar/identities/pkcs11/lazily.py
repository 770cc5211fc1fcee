"""Imports that are put off until somebody looks into the module, which may be never.

python-pkcs11 loads what encodes keys along with itself, and an ASN.1 library for that: a third of
the child's memory, and of its start, for nothing that it does.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


class _Finder:
    """Finds as usual what is below ``package``, for later."""

    def __init__(self, package: str) -> None:
        self._below = f"{package}."

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(self._below):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def lazily(package: str) -> Iterator[None]:
    """While the block imports, modules below ``package`` that nobody looks into are not run."""
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
