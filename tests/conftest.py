"""What holds for every test, whatever it is about."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# No property is judged by how long a shared machine took over it.
settings.register_profile(
    "shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared-machine")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A program that a test has run in this process leaves no handler, with a stream of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
