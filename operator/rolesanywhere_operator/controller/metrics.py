"""What the controller shows a scraper: whether it leads, its looks at bindings, how those stand.

A standby shows no bindings, because it holds none. Asks each part when it is read.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rolesanywhere_contract.exposition import Family, by_labels, gauge
from rolesanywhere_operator.controller.reconcile import READY
from rolesanywhere_operator.domain.census import Count
from rolesanywhere_operator.domain.conditions import find
from rolesanywhere_operator.domain.untyped import mapping
from rolesanywhere_operator.metrics import ApiCalls


class Account:
    """Counts what it is told. Who leads says so, and where its bindings are to be found."""

    def __init__(self, calls: ApiCalls) -> None:
        self.calls = calls
        self.leads = False
        self.bindings: Callable[[], Iterable[Mapping[str, Any]]] = tuple
        self.counts: Callable[[], Iterable[Count]] = tuple
        self.not_injected: Callable[[], int] = int
        self._reconciles: Counter[tuple[str, ...]] = Counter()

    def looked(self, code: str = "") -> None:
        """A look at a binding has ended, with a failure's ``code`` or, without, well."""
        self._reconciles["failure" if code else "success", code] += 1

    def families(self) -> Iterator[Family]:
        """Everything as it is now."""
        yield gauge("rolesanywhere_operator_leader", "1 while this process leads.", self.leads)
        yield Family(
            "rolesanywhere_operator_reconciles_total",
            "counter",
            "Looks at a binding, by outcome (success, failure), and by code where they failed.",
            by_labels(("outcome", "code"), self._reconciles),
        )
        yield Family(
            "rolesanywhere_operator_bindings",
            "gauge",
            "Bindings, by the status and the reason of their condition Ready.",
            by_labels(("ready", "reason"), Counter(map(_standing, self.bindings()))),
        )
        yield Family(
            "rolesanywhere_operator_pods",
            "gauge",
            "Pods of all bindings: injected, and of these the ready and the outdated ones.",
            by_labels(("state",), _summed(self.counts())),
        )
        yield gauge(
            "rolesanywhere_operator_pods_not_injected",
            "Pods that ask for credentials and were created without a sidecar.",
            self.not_injected(),
        )
        yield from self.calls.families()


def _summed(counts: Iterable[Count]) -> dict[tuple[str, ...], float]:
    held = tuple(counts)
    return {
        ("injected",): sum(one.injected for one in held),
        ("outdated",): sum(one.outdated for one in held),
        ("ready",): sum(one.ready for one in held),
    }


def _standing(binding: Mapping[str, Any]) -> tuple[str, ...]:
    held = find(mapping(binding.get("status")).get("conditions") or [], READY)
    return ("Unknown", "") if held is None else (str(held["status"]), str(held["reason"]))
