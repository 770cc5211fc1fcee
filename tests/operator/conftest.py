"""Which event loops tests of the operator turn on."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import pytest
import uvloop

from tests.operator.virtualtime import VirtualLoop

# The webhook, and what it shares with the controller, whose loop is asyncio's own.
_ON_BOTH: Final = {
    "test_client.py",
    "test_metrics.py",
    "test_ports.py",
    "test_probes.py",
    "test_tls.py",
    "test_webhook.py",
}
# Whose seconds nobody outside has to keep.
_IN_VIRTUAL_TIME: Final = {"test_lease.py"}


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """By name, each of which a test is run on."""
    if item.path.name in _IN_VIRTUAL_TIME:
        return {"virtual": VirtualLoop}
    usual = {"asyncio": asyncio.new_event_loop}
    return {**usual, "uvloop": uvloop.new_event_loop} if item.path.name in _ON_BOTH else usual
