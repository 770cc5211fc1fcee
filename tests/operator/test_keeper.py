"""The keeper of bindings against an API server in memory: what it asks, and how often."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rolesanywhere_operator.controller.keeper import Keeper
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import (
    Conflict,
    Forbidden,
    KubeError,
    NotFound,
    Unavailable,
)
from rolesanywhere_operator.kube.reflector import Chance
from tests.operator.builders import a_raw_binding
from tests.operator.test_requests import a_chain, a_request

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ASKING = {"certManager": {"issuerRef": {"name": "ca"}}}
BINDING = "/apis/rolesanywhere.dev/v1alpha1/namespaces/team-a/rolesanywherebindings/reports"
STATUS = f"{BINDING}/status"
CERTIFICATES = "/apis/cert-manager.io/v1/certificates"
CERTIFICATE = "/apis/cert-manager.io/v1/namespaces/team-a/certificates/rolesanywhere-reports"
EVENTS = "/api/v1/namespaces/team-a/events"


class Api:
    """As much of an API server as one binding needs. ``trouble`` answers instead, by call."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.trouble: dict[str, list[KubeError]] = {}
        self.calls: Counter[str] = Counter()
        self.events: list[Json] = []
        self.applied: list[tuple[bool, str | None]] = []
        self.watched: asyncio.Queue[Json] = asyncio.Queue()
        self.watching = asyncio.Event()
        self.version = 1
        self.shows_at_once = True

    async def get(self, path: str, *, query: Mapping[str, str] | None = None) -> Json:
        self._called(f"GET {path}")
        if path == CERTIFICATES:
            assert query == {"labelSelector": "rolesanywhere.dev/binding"}
            held = self.objects.get(CERTIFICATE)
            labelled = held is not None and "labels" in held["metadata"]
            return {
                "items": [deepcopy(held)] if labelled else [],
                "metadata": {"resourceVersion": "1"},
            }
        return self._held(path)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "",
    ) -> Json:
        self._called(f"{method} {path}")
        if method == "POST":
            self.events.append(body or {})
            return {}
        if method == "DELETE":
            gone = self.objects.pop(path)
            self.shows("DELETED", gone)
            return {}
        if path == STATUS:
            return self._write_status(body or {})
        return self._apply(body or {}, query or {})

    async def watch(
        self,
        path: str,
        *,
        resource_version: str,
        seconds: int,
        query: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Json]:
        self.watching.set()
        while True:
            event = await self.watched.get()
            if event["type"] == "END":
                return
            yield event

    def shows(self, kind: str, certificate: Json) -> None:
        self.watched.put_nowait({"type": kind, "object": deepcopy(certificate)})

    def binding(self, **spec: Any) -> Json:
        """The binding with another spec, as the API server then holds it."""
        held = self.objects.get(BINDING)
        raw = a_raw_binding(**spec)
        self.version += 1
        raw["metadata"] |= {
            "uid": held["metadata"]["uid"] if held else "uid-1",
            "generation": held["metadata"]["generation"] + 1 if held else 1,
            "resourceVersion": str(self.version),
        }
        if held and "status" in held:
            raw["status"] = held["status"]
        self.objects[BINDING] = raw
        return deepcopy(raw)

    def reasons(self) -> dict[str, tuple[str, str]]:
        conditions = self.objects[BINDING].get("status", {}).get("conditions", [])
        return {one["type"]: (one["status"], one["reason"]) for one in conditions}

    def says(self, *conditions: tuple[str, str], **status: Any) -> None:
        """cert-manager's word on the Certificate."""
        certificate = self.objects[CERTIFICATE]
        told = [{"type": kind, "status": truth, "reason": kind} for kind, truth in conditions]
        certificate["status"] = {"conditions": told, **status}
        self.shows("MODIFIED", certificate)

    def _called(self, call: str) -> None:
        self.calls[call] += 1
        if waiting := self.trouble.get(call):
            raise waiting.pop(0)

    def _held(self, path: str) -> Json:
        if path not in self.objects:
            raise NotFound(f"{path} is not there", status=404)
        return deepcopy(self.objects[path])

    def _write_status(self, body: Json) -> Json:
        held = self._held(BINDING)
        if body["metadata"]["resourceVersion"] != held["metadata"]["resourceVersion"]:
            raise Conflict("changed", status=409)
        self.version += 1
        held["status"] = _merged(held.get("status", {}), body["status"])
        held["metadata"]["resourceVersion"] = str(self.version)
        self.objects[BINDING] = held
        return deepcopy(held)

    def _apply(self, body: Json, query: Mapping[str, str]) -> Json:
        assert query["fieldManager"] == "rolesanywhere-controller"
        self.applied.append((query.get("force") == "true", body["metadata"].get("uid")))
        held = self.objects.get(CERTIFICATE)
        generation = 1 if held is None else held["metadata"]["generation"] + 1
        applied = deepcopy(body)
        applied["metadata"] |= {"uid": "cert-1", "generation": generation}
        self.objects[CERTIFICATE] = applied
        if self.shows_at_once:
            self.shows("ADDED" if held is None else "MODIFIED", applied)
        return deepcopy(applied)


def _merged(held: Json, patch: Json) -> Json:
    merged = dict(held)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merged(merged.get(name) or {}, value)
        else:
            merged[name] = value
    return merged


async def soon(seconds: float) -> None:
    """What is tried again soon is tried at once; what is long off never comes."""
    await asyncio.sleep(0 if seconds < 60 else 3600)


@asynccontextmanager
async def keeping(
    api: Api,
    *,
    now: Callable[[], datetime] = lambda: NOON,
    sleep: Callable[[float], Awaitable[object]] = soon,
) -> AsyncIterator[Keeper]:
    """A keeper at work; ``sleep`` is how it waits."""

    async def slept(seconds: float) -> None:
        await sleep(seconds)

    keeper = Keeper(
        api, reporter="controller-0", now=now, chance=Chance(lambda: 0.5, slept),
        trust_domain="cluster.local", looked=lambda _: None,
    )  # fmt: skip
    running = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_a_new_binding_costs_five_calls_and_an_event() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
    assert api.reasons()["IdentityReady"] == ("False", "CertificatePending")
    assert api.calls == {
        f"GET {CERTIFICATES}": 1,
        # Whether it lives, and whether somebody else's Certificate is in the way.
        f"GET {BINDING}": 1, f"GET {CERTIFICATE}": 1, f"PATCH {CERTIFICATE}": 1,
        f"PATCH {STATUS}": 1, f"POST {EVENTS}": 1,
    }  # fmt: skip
    assert [(one["type"], one["reason"]) for one in api.events] == [
        ("Normal", "CertificatePending")
    ]
    assert api.events[0]["reportingInstance"] == "controller-0"


async def test_a_change_costs_three_calls_and_one_that_the_certificate_ignores_costs_one() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        api.says(("Ready", "True"))
        await settled()
        api.calls.clear()

        keeper.saw(api.binding(identity=ASKING, durationSeconds=1800))
        await settled()
        assert api.calls == {f"PATCH {STATUS}": 1}
        api.calls.clear()

        asking = {"certManager": {**ASKING["certManager"], "duration": "24h"}}
        keeper.saw(api.binding(identity=asking))
        await settled()
        assert api.calls == {
            f"PATCH {CERTIFICATE}": 1, f"PATCH {STATUS}": 1, f"POST {EVENTS}": 1,
        }  # fmt: skip


async def test_nothing_is_asked_while_nothing_changes() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        api.calls.clear()
        for _ in range(10):
            keeper.saw(deepcopy(api.objects[BINDING]))
            api.shows("MODIFIED", api.objects[CERTIFICATE])
            await settled()
    assert not api.calls


async def test_what_was_applied_is_known_before_the_watch_shows_it() -> None:
    api = Api()
    api.shows_at_once = False
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        api.calls.clear()
        keeper.saw(api.binding(identity=ASKING, durationSeconds=1800))
        await settled()
        assert api.calls == {f"PATCH {STATUS}": 1}
        api.shows("ADDED", api.objects[CERTIFICATE])
        api.says(("Ready", "True"))
        await settled()
    assert api.reasons()["Ready"] == ("True", "CertificateIssued")


async def test_before_certificates_are_known_a_binding_that_asks_for_one_waits() -> None:
    api = Api()
    api.trouble[f"GET {CERTIFICATES}"] = [Unavailable("away", status=503)]
    hold = asyncio.Event()
    async with keeping(api, sleep=lambda _: hold.wait()) as keeper:
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        assert not api.reasons()
        assert api.calls == {f"GET {CERTIFICATES}": 1}
        hold.set()
        await settled()
    assert api.reasons()["Ready"] == ("False", "CertificatePending")


@pytest.mark.parametrize("call", [f"PATCH {CERTIFICATE}", f"GET {CERTIFICATE}", f"GET {BINDING}"])
async def test_a_passing_error_is_retried_and_leaves_the_conditions_alone(call: str) -> None:
    api = Api()
    api.trouble[call] = [Unavailable("away", status=503), Unavailable("away", status=0)]
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
    assert api.calls[f"PATCH {STATUS}"] == 1
    assert [one["reason"] for one in api.events] == ["CertificatePending"]


async def test_an_outage_later_keeps_a_binding_ready() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        api.says(("Ready", "True"))
        await settled()
        api.trouble[f"GET {CERTIFICATES}"] = [Unavailable("away", status=503)] * 5
        api.watched.put_nowait({"type": "END"})
        api.trouble[f"PATCH {STATUS}"] = [Unavailable("away", status=503)] * 5
        keeper.saw(api.binding(identity=ASKING, durationSeconds=1800))
        await settled()
    assert api.reasons()["Ready"] == ("True", "CertificateIssued")
    assert api.objects[BINDING]["status"]["observedGeneration"] == 2
    assert [one["reason"] for one in api.events] == ["CertificatePending", "CertificateIssued"]


async def test_a_binding_that_changed_meanwhile_is_never_written_to() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        stale = api.binding(identity=ASKING)
        fresh = api.binding(identity=ASKING, durationSeconds=1800)
        keeper.saw(stale)
        await settled()
        assert not api.reasons()
        keeper.saw(fresh)
        await settled()
    assert api.objects[BINDING]["status"]["observedGeneration"] == 2
    assert len(api.events) == 1


async def test_a_binding_whose_deletion_was_missed_is_asked_nothing_for() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        ghost = api.binding(identity=ASKING)
        del api.objects[BINDING]
        keeper.saw(ghost)
        await settled()
        assert CERTIFICATE not in api.objects
        # One of the same name is another.
        api.objects[BINDING] = {**ghost, "metadata": {**ghost["metadata"], "uid": "uid-2"}}
        keeper.saw(ghost)
        await settled()
    assert CERTIFICATE not in api.objects
    assert not api.events


async def test_a_late_word_of_a_deletion_does_not_hide_the_next_of_that_name() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        old = api.binding()
        del api.objects[BINDING]
        new = api.binding()
        new["metadata"]["uid"] = api.objects[BINDING]["metadata"]["uid"] = "uid-2"
        keeper.saw(new)
        keeper.lost(old)
        await settled()
    assert api.reasons()["Ready"] == ("True", "Accepted")


async def test_a_binding_on_its_way_out_is_left_alone() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        leaving = api.binding(identity=ASKING)
        leaving["metadata"]["deletionTimestamp"] = "2026-03-01T11:59:00Z"
        keeper.saw(leaving)
        await settled()
    assert api.calls == {f"GET {CERTIFICATES}": 1}


async def test_without_cert_manager_only_those_who_need_it_are_told() -> None:
    api = Api()
    api.trouble[f"GET {CERTIFICATES}"] = [NotFound("no such resource", status=404)]
    hold = asyncio.Event()
    async with keeping(api, sleep=lambda _: hold.wait()) as keeper:
        keeper.saw(api.binding())
        await settled()
        assert api.reasons()["Ready"] == ("True", "Accepted")
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        assert api.reasons()["Ready"] == ("False", "CertManagerMissing")
        assert not api.calls[f"GET {BINDING}"]
        hold.set()
        await settled()
        assert api.reasons()["Ready"] == ("False", "CertificatePending")


async def test_a_missing_permission_is_told_and_not_hammered() -> None:
    api = Api()
    api.trouble[f"GET {CERTIFICATES}"] = [Forbidden("RBAC: no", status=403)] * 2
    api.trouble[f"PATCH {CERTIFICATE}"] = [Forbidden("denied by policy", status=403)]
    async with keeping(api) as keeper:
        keeper.saw(api.binding(identity=ASKING))
        await settled()
    assert api.reasons()["IdentityReady"] == ("False", "CertificateRefused")
    assert api.calls[f"PATCH {CERTIFICATE}"] == 1


async def test_a_certificate_that_comes_between_is_a_conflict_and_not_forced() -> None:
    """Somebody creates it after we have looked: without force, the API server says so."""
    api = Api()
    api.trouble[f"PATCH {CERTIFICATE}"] = [Conflict("conflict with kubectl", status=409)]
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
    assert api.reasons()["Ready"] == ("False", "CertificateConflict")


def a_foreign_certificate(**metadata: Any) -> Json:
    labels = {"rolesanywhere.dev/binding": "reports"}
    named = {"name": "rolesanywhere-reports", "namespace": "team-a", "uid": "cert-9"}
    return {"metadata": {**named, "labels": labels, **metadata}, "spec": {}}


@pytest.mark.parametrize("labelled", [True, False])
async def test_a_strangers_certificate_is_left_alone_with_our_label_and_without(
    labelled: bool,
) -> None:
    api = Api()
    foreign = a_foreign_certificate()
    if not labelled:
        del foreign["metadata"]["labels"]
    api.objects[CERTIFICATE] = foreign
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        assert api.reasons()["Ready"] == ("False", "CertificateConflict")
        keeper.saw(api.binding())
        await settled()
    assert api.objects[CERTIFICATE] == foreign
    assert api.events[0]["type"] == "Warning"


async def test_the_certificate_of_a_deleted_binding_is_waited_for() -> None:
    api = Api()
    owner = {
        "apiVersion": "rolesanywhere.dev/v1alpha1", "kind": "RolesAnywhereBinding",
        "name": "reports", "uid": "uid-0", "controller": True,
    }  # fmt: skip
    api.objects[CERTIFICATE] = a_foreign_certificate(ownerReferences=[owner])
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        assert api.reasons()["Ready"] == ("False", "CertificatePending")
        assert not api.applied
        api.shows("DELETED", api.objects.pop(CERTIFICATE))
        await settled()
    assert len(api.applied) == 1


async def test_force_is_for_what_is_ours_and_for_that_very_one() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        api.objects[CERTIFICATE]["spec"]["issuerRef"]["name"] = "evil"
        api.shows("MODIFIED", api.objects[CERTIFICATE])
        await settled()
    assert api.applied == [(False, None), (True, "cert-1")]
    assert api.objects[CERTIFICATE]["spec"]["issuerRef"]["name"] == "ca"


async def test_a_certificate_expires_though_nobody_says_so() -> None:
    api = Api()
    clock = [NOON]
    async with keeping(api, now=lambda: clock[0]) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        api.says(("Ready", "True"), notAfter="2026-03-01T13:00:00Z")
        await settled()
        assert api.reasons()["Ready"] == ("True", "CertificateIssued")
        clock[0] = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)
        keeper.saw(deepcopy(api.objects[BINDING]))
        await settled()
    assert api.reasons()["Ready"] == ("False", "CertificateExpired")


async def test_a_binding_that_makes_no_sense_keeps_its_certificate() -> None:
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        keeper.saw(api.binding(identity=ASKING, roleArn="admin"))
        await settled()
        assert api.reasons()["Ready"] == ("False", "InvalidBinding")
        assert CERTIFICATE in api.objects
        keeper.saw(api.binding())
        await settled()
    assert CERTIFICATE not in api.objects


async def test_an_event_that_cannot_be_posted_costs_no_second_look() -> None:
    api = Api()
    api.trouble[f"POST {EVENTS}"] = [Unavailable("away", status=503)]
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding())
        await settled()
    assert api.calls[f"PATCH {STATUS}"] == 1
    assert api.reasons()["Ready"] == ("True", "Accepted")


async def test_no_status_waits_for_an_event() -> None:
    class Slow(Api):
        async def request(self, method: str, path: str, **more: Any) -> Json:
            if method == "POST":
                self.calls[f"POST {path}"] += 1
                await asyncio.Event().wait()
            return await super().request(method, path, **more)

    api = Slow()
    async with keeping(api) as keeper:
        await api.watching.wait()
        for wanted in ({"secret": {"name": "mine"}}, ASKING, {"secret": {"name": "mine"}}):
            keeper.saw(api.binding(identity=wanted))
            await settled()
    assert api.calls[f"POST {EVENTS}"] > 0
    assert api.calls[f"PATCH {STATUS}"] == 3
    assert api.reasons()["Ready"] == ("True", "Accepted")


async def test_a_driver_that_a_binding_needs_is_looked_for_and_picked_up() -> None:
    async def at_once(seconds: float) -> None:
        await asyncio.sleep(0 if seconds < 60 else 3600)

    driver = "/apis/storage.k8s.io/v1/csidrivers/certificates.example.com"
    api, at = Api(), [NOON]
    async with keeping(api, now=lambda: at[0], sleep=at_once) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity={"csi": {"driver": "certificates.example.com"}}))
        await settled()
        assert api.reasons() == {
            "Accepted": ("True", "Valid"),
            "IdentityReady": ("False", "DriverMissing"),
            "Ready": ("False", "DriverMissing"),
        }
        assert api.calls[f"GET {driver}"] == 1
        api.objects[driver] = {"spec": {"volumeLifecycleModes": ["Ephemeral"]}}
        at[0] += timedelta(seconds=11)
        await settled()
    assert api.reasons()["IdentityReady"] == ("Unknown", "PerPod")
    assert api.reasons()["Ready"] == ("True", "Accepted")
    assert [one["reason"] for one in api.events] == ["DriverMissing", "Accepted"]
    assert api.calls[f"PATCH {STATUS}"] == 2


async def test_what_was_issued_is_told_and_asked_for_once() -> None:
    request = f"{CERTIFICATE.replace('/certificates/', '/certificaterequests/')}-1"
    api = Api()
    async with keeping(api) as keeper:
        await api.watching.wait()
        keeper.saw(api.binding(identity=ASKING))
        await settled()
        api.objects[request] = a_request(a_chain(serial=7))
        api.says(("Ready", "True"), revision=1, notAfter="2026-03-02T11:00:00Z")
        await settled()
        api.says(("Ready", "True"), revision=1, notAfter="2026-03-02T11:00:00Z")
        await settled()
    assert api.objects[BINDING]["status"]["identity"] == {
        "source": "certificate/rolesanywhere-reports",
        "subject": "CN=reports,O=Example\\, Inc.",
        "serialNumber": "7",
        "notAfter": "2026-03-02T11:00:00Z",
        "algorithm": "ECDSA",
    }
    assert api.calls[f"GET {request}"] == 1
