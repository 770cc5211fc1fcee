"""Whether a role's trust policy lets a session of Roles Anywhere begin, as IAM judges it.

Knows the words that this project's guides write. Any other is an error instead of being passed
over: a condition that nobody looks at would let everybody in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SERVICE: Final = "rolesanywhere.amazonaws.com"
# What Roles Anywhere does to a role ("The IAM Roles Anywhere trust model").
ACTIONS: Final = frozenset({"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"})
EFFECTS: Final = ("Allow", "Deny")
EQUALS: Final = ("ArnEquals", "StringEquals")


class NotPlayed(Exception):
    """A policy says what cannot be judged here."""


@dataclass(frozen=True, slots=True)
class Statement:
    """``actions`` are allowed or denied where each key of ``conditions`` has one of its values."""

    effect: str
    actions: frozenset[str]
    conditions: Mapping[str, frozenset[str]]

    def holds(self, context: Mapping[str, str]) -> bool:
        """Whether it is about a request of these keys."""
        return all(context.get(key) in values for key, values in self.conditions.items())


Policy = tuple[Statement, ...]


def parse(document: Mapping[str, Any]) -> Policy:
    """The statements of a policy. Raises `NotPlayed`."""
    return tuple(_statement(one) for one in document["Statement"])


def lets_in(policy: Policy, context: Mapping[str, str]) -> bool:
    """Whether a request of these keys may do all that Roles Anywhere does."""
    told = {
        effect: frozenset[str]().union(
            *(one.actions for one in policy if one.effect == effect and one.holds(context))
        )
        for effect in EFFECTS
    }
    return told["Allow"] >= ACTIONS and not told["Deny"] & ACTIONS


def _statement(given: Mapping[str, Any]) -> Statement:
    if given["Principal"] != {"Service": SERVICE}:
        raise NotPlayed(f"Invalid principal in policy: {given['Principal']}")
    if unknown := set(given) - {"Effect", "Principal", "Action", "Condition"}:
        raise NotPlayed(f"{', '.join(sorted(unknown))} of a statement is not played")
    conditions: dict[str, frozenset[str]] = {}
    for operator, wanted in given.get("Condition", {}).items():
        if operator not in EQUALS:
            raise NotPlayed(f"condition operator {operator} is not played")
        conditions |= {key: _several(values) for key, values in wanted.items()}
    if given["Effect"] not in EFFECTS:
        raise NotPlayed(f"effect {given['Effect']!r} is not played")
    return Statement(given["Effect"], _several(given["Action"]), conditions)


def _several(given: str | list[str]) -> frozenset[str]:
    return frozenset([given] if isinstance(given, str) else given)
