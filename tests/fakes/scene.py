"""The usual cast for a test: an authority, a workload's identity, the world that trusts it.

Everything happens at ``NOW`` unless a test says otherwise.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from tests.fakes import rolesanywhere, signer
from tests.fakes.pki import Authority, Identity, KeyKind, PrivateKey
from tests.fakes.sessions import Session
from tests.fakes.wire import ServiceError, WireRequest
from tests.fakes.world import (
    PROFILE_ARN,
    REGION,
    ROLE_ARN,
    TRUST_ANCHOR_ARN,
    Profile,
    World,
    small_world,
)

NOW: Final = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
PROFILE: Final = Profile(frozenset({ROLE_ARN}))
HOST: Final = f"rolesanywhere.{REGION}.amazonaws.com"
ARNS: Final[Mapping[str, str]] = {
    "profileArn": PROFILE_ARN,
    "roleArn": ROLE_ARN,
    "trustAnchorArn": TRUST_ANCHOR_ARN,
}


@dataclass(frozen=True, slots=True)
class Scene:
    """``identity`` asks, ``world`` knows ``root`` as its trust anchor."""

    root: Authority
    identity: Identity
    world: World

    def as_(self, identity: Identity) -> "Scene":
        """The same world, asked by another."""
        return replace(self, identity=identity)

    def within(self, world: World) -> "Scene":
        """The same asker in another world."""
        return replace(self, world=world)

    def request(
        self,
        *,
        at: datetime = NOW,
        region: str = REGION,
        arns: Mapping[str, str] = ARNS,
        body: bytes | Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        unsigned: Mapping[str, str] | None = None,
        method: str = "POST",
        path: str = "/sessions",
        key: PrivateKey | None = None,
        algorithm: str | None = None,
        serial: str | None = None,
        scope: str | None = None,
        leave_out: Sequence[str] = (),
    ) -> WireRequest:
        """A valid CreateSession request, but for what a test overrides."""
        document = {"durationSeconds": 3600} if body is None else body
        draft = signer.Draft(
            method=method,
            path=path,
            query=arns,
            headers={"Content-Type": "application/json", **(headers or {})},
            unsigned={"User-Agent": "test", **(unsigned or {})},
            body=document if isinstance(document, bytes) else json.dumps(document).encode(),
        )
        return signer.with_certificate(
            draft, self.identity, at=at, region=region, host=HOST, key=key,
            algorithm=algorithm, serial=serial, scope=scope, leave_out=leave_out,
        )  # fmt: skip

    def ask(self, request: WireRequest, *, at: datetime = NOW) -> Session | ServiceError:
        """The service's verdict."""
        return rolesanywhere.verify(request, self.world, at)

    def refusal(self, request: WireRequest, *, at: datetime = NOW) -> tuple[int, str, str]:
        """Status, error type and sentence; a test that expected a refusal fails otherwise."""
        verdict = self.ask(request, at=at)
        assert isinstance(verdict, ServiceError), f"accepted: {verdict}"
        return verdict.status, verdict.code, verdict.message

    def granted(self, request: WireRequest, *, at: datetime = NOW) -> Session:
        """The session; a test that expected one fails otherwise."""
        verdict = self.ask(request, at=at)
        assert isinstance(verdict, Session), f"refused: {verdict}"
        return verdict


def a_scene(kind: KeyKind = "p256", *, root_kind: KeyKind = "p256") -> Scene:
    """A root, a leaf of ``kind`` directly below it, and a small world that trusts the root."""
    root = Authority.root(at=NOW, kind=root_kind)
    return Scene(root, root.leaf(at=NOW, kind=kind), small_world(root.certificate))


def trusting(world: World, *anchors: x509.Certificate) -> World:
    """``world`` with other certificates in its trust anchor."""
    anchor = replace(world.trust_anchors[TRUST_ANCHOR_ARN], certificates=anchors)
    return replace(world, trust_anchors={TRUST_ANCHOR_ARN: anchor})


def with_profile(world: World, profile: Profile) -> World:
    """``world`` with another profile under the same ARN."""
    return replace(world, profiles={PROFILE_ARN: profile})
