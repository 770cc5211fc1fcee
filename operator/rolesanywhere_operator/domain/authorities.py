"""The webhook's own certificate authority: what is to be done next, and which authorities count.

Rule 1. An authority is in the webhook's configuration before it signs what is served, and where
something good is served already, long enough before for every API server to have heard of it.
Rule 2. It stays in the configuration until its own end: no certificate that it signed lasts
longer, so whoever still serves one is trusted, however late it hears of the next. Rule 3. Each
step is one write, and the next follows from what is found in the cluster alone; so whoever leads
next goes on where the last one fell.

Never makes a certificate, never calls, never sees a key: `controller.serving` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

AUTHORITY_LIFE: Final = timedelta(days=365)
# Longer than a leaf's life, so that no leaf outlives its authority or is cut short by it.
AUTHORITY_MARGIN: Final = timedelta(days=90)
LEAF_LIFE: Final = timedelta(days=30)
# For so long nothing that makes certificates need work.
LEAF_MARGIN: Final = timedelta(days=10)
# Both begin in the past, for machines whose clocks are behind.
BACKDATED: Final = timedelta(hours=1)
# API servers hear of a configuration by a watch: within a second, when they are well.
SETTLING: Final = timedelta(seconds=15)
# Should something delete our Secret again and again, the configuration does not grow for ever.
MOST_AUTHORITIES: Final = 8


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as PEM, and the times between which it is good."""

    pem: str
    starts: datetime
    ends: datetime

    def is_good(self, at: datetime) -> bool:
        """Whether ``at`` is within its life."""
        return self.starts <= at < self.ends


@dataclass(frozen=True, slots=True)
class Leaf:
    """What the webhook serves: for which ``hosts``, and who signed it, if that is one of ours."""

    certificate: Certificate
    hosts: frozenset[str]
    issuer: Certificate | None


@dataclass(frozen=True, slots=True)
class Found:
    """What is in the cluster; ``known`` has every authority of ours, wherever it was found.

    ``authority`` is the one whose key is at hand. ``trusted`` is what each webhook of the
    configuration has the API server trust, as it is written there.
    """

    authority: Certificate | None
    known: frozenset[Certificate]
    leaf: Leaf | None
    trusted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewAuthority:
    """Make one and keep it in the Secret beside ``others``; it signs nothing yet."""

    others: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """Write ``bundle`` into the configuration."""

    bundle: str


@dataclass(frozen=True, slots=True)
class NewLeaf:
    """Have the authority sign a leaf, good until ``ends``, and keep both beside ``others``."""

    others: tuple[Certificate, ...]
    ends: datetime


Step = NewAuthority | Trust | NewLeaf


def next_step(
    found: Found, *, hosts: frozenset[str], at: datetime, trusted_for: timedelta
) -> Step | None:
    """What to do at ``at`` so that the webhook is trusted as ``hosts``; None when all is well.

    ``trusted_for`` is how long the authority has been seen in the configuration without a break;
    too short is always safe.
    """
    authority = found.authority
    if authority is None or not _may_sign(authority, at):
        return NewAuthority(_others(found, authority=None, at=at))
    others = _others(found, authority=authority, at=at)
    bundle = "".join(one.pem for one in (authority, *others))
    if any(text != bundle for text in found.trusted):
        return Trust(bundle)
    if _is_wanted(found.leaf, authority=authority, hosts=hosts, at=at) and (
        trusted_for >= SETTLING or not _may_be_serving(found, others)
    ):
        return NewLeaf(others, ends=min(at + LEAF_LIFE, authority.ends))
    return None


def is_trusted(found: Found) -> bool:
    """Whether every webhook of the configuration trusts the authority that signs."""
    authority = found.authority
    return authority is not None and all(authority.pem in text for text in found.trusted)


def _may_sign(authority: Certificate, at: datetime) -> bool:
    return authority.is_good(at) and authority.ends - at > AUTHORITY_MARGIN


def _others(
    found: Found, *, authority: Certificate | None, at: datetime
) -> tuple[Certificate, ...]:
    """The authorities that count beside ``authority``: the leaf's own, then the latest first."""
    issuer = found.leaf.issuer if found.leaf else None
    rest = (one for one in found.known - {authority} if at < one.ends)
    ordered = sorted(rest, key=lambda one: (one == issuer, one.starts, one.pem), reverse=True)
    return tuple(ordered[: MOST_AUTHORITIES - 1])


def _is_wanted(
    leaf: Leaf | None, *, authority: Certificate, hosts: frozenset[str], at: datetime
) -> bool:
    """Whether it is time for another leaf than ``leaf``."""
    return (
        leaf is None
        or leaf.hosts != hosts
        or leaf.issuer != authority
        or not leaf.certificate.is_good(at + LEAF_MARGIN)
    )


def _may_be_serving(found: Found, others: Sequence[Certificate]) -> bool:
    """Whether a webhook could hold something good, also where the Secret has been deleted."""
    return found.leaf is not None or len(others) > 0
