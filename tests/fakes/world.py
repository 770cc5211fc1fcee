"""What exists in the pretended account: trust anchors, profiles, quota. Frozen, built by tests.

Holds no keys of workloads and no sessions; ``replace`` it to change the world.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509

from tests.fakes.policies import Policy

REGION: Final = "eu-west-1"
ACCOUNT: Final = "111122223333"
_PREFIX: Final = f"arn:aws:rolesanywhere:{REGION}:{ACCOUNT}"
TRUST_ANCHOR_ARN: Final = f"{_PREFIX}:trust-anchor/0e2d4b0c-1a7c-4a55-9d0e-6a1f3d2b7c11"
PROFILE_ARN: Final = f"{_PREFIX}:profile/5f1c9a6e-77b1-4c1e-8a51-2d9f0b8c4e22"
ROLE_ARN: Final = f"arn:aws:iam::{ACCOUNT}:role/reports"


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """A trust anchor of source type CERTIFICATE_BUNDLE."""

    certificates: tuple[x509.Certificate, ...]
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile: which roles, for how long (seconds), and whether sessions may be named."""

    role_arns: frozenset[str]
    duration_seconds: int = 3600
    accept_role_session_name: bool = False
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything the service knows, by ARN. ``create_session_rate``: requests a second, each
    account and region (AWS's default is 10). A role without a trust policy lets everybody in."""

    region: str = REGION
    trust_anchors: Mapping[str, TrustAnchor] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    trust_policies: Mapping[str, Policy] = field(default_factory=dict)
    create_session_rate: float = 10.0


def small_world(
    anchor: x509.Certificate,
    *,
    role_arns: Iterable[str] = (ROLE_ARN,),
    duration_seconds: int = 3600,
    accept_role_session_name: bool = False,
    create_session_rate: float = 10.0,
) -> World:
    """One trust anchor and one profile, under the ARNs that this module names."""
    profile = Profile(
        frozenset(role_arns),
        duration_seconds=duration_seconds,
        accept_role_session_name=accept_role_session_name,
    )
    return World(
        trust_anchors={TRUST_ANCHOR_ARN: TrustAnchor((anchor,))},
        profiles={PROFILE_ARN: profile},
        create_session_rate=create_session_rate,
    )


@dataclass(frozen=True, slots=True)
class Arn:
    """An ARN's parts; ``kind`` and ``name`` split the resource at its first slash."""

    partition: str
    service: str
    region: str
    account: str
    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Arn | None":
        """The parts, or ``None`` for what is not an ARN of an account's resource."""
        found = re.fullmatch(
            r"arn:(aws[a-z-]*):([a-z]+):([a-z0-9-]*):([0-9]{12}):([a-z-]+)/([\w+=,.@/-]+)", text
        )
        return cls(*found.groups()) if found else None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket that holds one second's worth of requests."""

    rate: float
    tokens: float
    at: datetime

    @classmethod
    def full(cls, rate: float, at: datetime) -> "Bucket":
        return cls(rate, rate, at)

    def take(self, now: datetime) -> "Bucket | None":
        """The bucket with one token less, or ``None`` when there is none to take."""
        filled = min(self.rate, self.tokens + (now - self.at).total_seconds() * self.rate)
        return Bucket(self.rate, filled - 1, now) if filled >= 1 else None
