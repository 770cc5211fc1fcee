"""How the processes of a tier share its tests: each takes the next one when it is done.

A pytest plugin for ``tests.run``; tests that are run by hand do without.
Never hands out one by one what cannot be done at the same time, or is costly to enter: one process
takes a module of that kind whole.
"""

from typing import Final

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped] # it tells no types
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# Either each test looks at something that takes most of a minute to make, or the tests need a thing
# that a machine has one of (a port of the demo).
WHOLE: Final = frozenset(
    {
        "tests/control_plane/test_release.py",
        "tests/integration/test_demo.py",
        "tests/integration/test_faults_of_aws.py",
        "tests/integration/test_real_clients.py",
    }
)


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """The modules that stay whole first, and then test by test."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if module in WHOLE else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    """Our way instead of one of xdist's."""
    return Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest go first, so that none is begun when all others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
