"""Pod Security of a namespace: asked for where it matters, by the webhook and by the controller."""

import asyncio
import json
from collections.abc import AsyncIterator
from inspect import isawaitable
from typing import Any, Final

import pytest

from rolesanywhere_operator.controller.provisions import Provisions
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Forbidden, KubeError, NotFound, Unavailable
from rolesanywhere_operator.webhook import levels, reviews
from rolesanywhere_operator.webhook.admission import Admission
from tests.operator.builders import DEFAULTS, a_binding, a_pod, a_review
from tests.operator.test_provisions import NOON

SERVER: Final = {"uri": "pkcs11:token=node", "server": {"socketDirectory": "/run/node-pkcs11"}}
LABEL: Final = "pod-security.kubernetes.io/enforce"


class Cluster:
    """An API server with one namespace, team-a, of ``level``; ``trouble`` is what it raises."""

    def __init__(self, level: str | None = None, trouble: KubeError | None = None) -> None:
        self.labels = {} if level is None else {LABEL: level}
        self.trouble = trouble
        self.asked: list[str] = []

    async def get(self, path: str, **_: Any) -> Json:
        self.asked.append(path)
        if self.trouble:
            raise self.trouble
        return {"metadata": {"name": "team-a", "labels": self.labels}}

    async def watch(self, path: str, **_: Any) -> AsyncIterator[Json]:
        raise AssertionError(f"nobody watches {path}")
        yield {}


class Catalog:
    """One binding, as admission sees it."""

    def __init__(self, binding: Binding) -> None:
        self.there = {binding.name: binding}

    def at_hand(self, namespace: str) -> Any:
        return self.there if namespace == "team-a" else {}

    async def asked(self, namespace: str) -> Any:
        return self.at_hand(namespace)


async def answer(cluster: Cluster, binding: Binding) -> Any:
    admission = Admission(
        Catalog(binding),
        DEFAULTS,
        level_of=levels.asking(cluster),
    )
    review = reviews.read(json.dumps(a_review(a_pod())).encode())
    given = admission.answer(review)
    return json.loads(await given if isawaitable(given) else given)["response"]


@pytest.mark.parametrize("level", ["baseline", "restricted"])
async def test_a_pod_that_pod_security_would_refuse_is_refused_by_us(level: str) -> None:
    response = await answer(Cluster(level), a_binding(identity={"pkcs11": SERVER}))
    assert response["allowed"] is False
    assert "PodSecurityForbids" in json.dumps(response["status"])
    assert f"Pod Security {level} of namespace team-a" in response["status"]["message"]


@pytest.mark.parametrize("level", ["privileged", None])
async def test_any_other_pod_gets_its_folder(level: str | None) -> None:
    cluster = Cluster(level)
    response = await answer(cluster, a_binding(identity={"pkcs11": SERVER}))
    assert response["allowed"] is True
    assert cluster.asked == ["/api/v1/namespaces/team-a"]


async def test_nobody_is_asked_where_no_folder_is_given() -> None:
    cluster = Cluster("restricted")
    assert (await answer(cluster, a_binding()))["allowed"] is True
    assert cluster.asked == []


@pytest.mark.parametrize("trouble", [Forbidden("no"), Unavailable("away"), NotFound("gone")])
async def test_what_cannot_be_asked_is_left_to_the_api_server(trouble: KubeError) -> None:
    cluster = Cluster("restricted", trouble)
    assert (await answer(cluster, a_binding(identity={"pkcs11": SERVER})))["allowed"] is True


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    class Slow(Cluster):
        async def get(self, path: str, **_: Any) -> Json:
            await asyncio.Event().wait()
            raise AssertionError(path)

    now = asyncio.get_running_loop().time()
    assert await levels.asking(Slow())("team-a", now) is None


@pytest.mark.parametrize("level", ["baseline", "restricted", "privileged", None])
async def test_a_binding_is_told_what_its_namespace_forbids(level: str | None) -> None:
    provisions = Provisions(Cluster(level), now=lambda: NOON)
    found = await provisions.pod_security(a_binding(identity={"pkcs11": SERVER}))
    forbidden = level in ("baseline", "restricted")
    assert (str(found.reason) if found else None) == ("PodSecurityForbids" if forbidden else None)
    assert await provisions.pod_security(a_binding()) is None


@pytest.mark.parametrize("trouble", [Forbidden("no"), NotFound("gone")])
async def test_what_the_controller_may_not_see_it_does_not_hold_against_a_binding(
    trouble: KubeError,
) -> None:
    provisions = Provisions(Cluster("restricted", trouble), now=lambda: NOON)
    assert await provisions.pod_security(a_binding(identity={"pkcs11": SERVER})) is None
