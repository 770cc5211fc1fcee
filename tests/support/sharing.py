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
# that a machine has one of (a port of the demo, what a cluster might leave behind).
WHOLE: Final = frozenset(
    {
        "tests/control_plane/test_release.py",
        "tests/e2e/test_certificates.py",
        "tests/e2e/test_guides.py",
        "tests/e2e/test_hardware.py",
        "tests/e2e/test_installation.py",
        "tests/e2e/test_leavings.py",
        "tests/e2e/test_sandbox.py",
        "tests/e2e/test_tpm.py",
        "tests/e2e/test_workloads.py",
        "tests/integration/test_demo.py",
        "tests/integration/test_faults_of_aws.py",
        "tests/integration/test_real_clients.py",
    }
)


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """Module by module where these stay whole, and else test by test."""

    def _split_scope(self, nodeid: str) -> str:
        module = _module(nodeid)
        return module if module in WHOLE else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    """Our way instead of one of xdist's."""
    return Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest go first, so that none is begun when all others are done."""

    def rank(item: pytest.Item) -> tuple[bool, bool]:
        return _module(item.nodeid) not in WHOLE, item.get_closest_marker("long") is None

    items.sort(key=rank)


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]
