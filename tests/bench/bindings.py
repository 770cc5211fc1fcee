"""The controller in a full cluster: many bindings, many pods that were injected, plain objects all.

No kubelet runs them and no controller made them; the controller cannot tell.
"""

import asyncio
import json
import re
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import yaml

from rolesanywhere_contract.names import BINDING_LABEL, INJECTED_ANNOTATION
from tests.bench.processes import Memory, memory
from tests.cluster import programs
from tests.cluster.control_plane import ControlPlane
from tests.cluster.programs import Program
from tests.operator.builders import IMAGE, a_container, a_pod, a_raw_binding
from tests.support.waiting import eventually

NAMESPACES: Final = 10
_GROUP: Final = "/apis/rolesanywhere.dev/v1alpha1"
# Requests on their way at once while the cluster is filled.
_AT_ONCE: Final = 32
_PATIENCE_SECONDS: Final = 180.0
_COUNTED: Final = re.compile(
    r'^rolesanywhere_operator_api_requests_total\{verb="(?P<verb>\w+)",'
    r'resource="(?P<resource>[\w/]+)",code="(?P<code>\d+)"\} (?P<count>\d+)$',
    re.MULTILINE,
)

Json = dict[str, Any]
Calls = Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Settled:
    """``all_of_them`` and ``changes`` are seconds; ``calls`` is what each change cost."""

    all_of_them: float
    memory: Memory
    changes: Sequence[float]
    calls: Sequence[Calls]


async def settled(
    control_plane: ControlPlane, *, bindings: int, pods: int, changes: int
) -> Settled:
    """A cluster of so many, the controller's first look at it, and ``changes`` after that."""
    async with _client(control_plane) as http:
        await _fill(http, bindings=bindings, pods=pods)
        log = control_plane.folder / "controller.log"
        since = time.perf_counter()
        with programs.running(
            "controller",
            kubeconfig=control_plane.admin_kubeconfig,
            log=log,
            settings={"namespace": "default", "lease_name": "bench"},
        ) as controller:
            await _until(lambda: _all_settled(http), every=0.5)
            took = time.perf_counter() - since
            await _at_rest(controller)
            held = memory(controller.popen.pid)
            seen = [await _change(http, controller, number) for number in range(changes)]
    return Settled(took, held, [one for one, _ in seen], [calls for _, calls in seen])


@asynccontextmanager
async def _client(control_plane: ControlPlane) -> AsyncIterator[aiohttp.ClientSession]:
    config = yaml.safe_load(control_plane.admin_kubeconfig.read_text())
    token = config["users"][0]["user"]["token"]
    trust = ssl.create_default_context(cafile=str(control_plane.ca_file))
    async with aiohttp.ClientSession(
        control_plane.url,
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(ssl=trust, limit=_AT_ONCE),
        raise_for_status=True,
    ) as http:
        yield http


async def _fill(http: aiohttp.ClientSession, *, bindings: int, pods: int) -> None:
    """Namespaces with their account, bindings, and pods as the webhook would have left them."""
    names = [f"bench-{number}" for number in range(NAMESPACES)]
    for name in names:
        await _create(http, "/api/v1/namespaces", {"metadata": {"name": name}})
        account = {"metadata": {"name": "default"}}
        await _create(http, f"/api/v1/namespaces/{name}/serviceaccounts", account)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def create(path: str, body: Json) -> None:
        async with gate:
            await _create(http, path, body)

    await asyncio.gather(*[create(*one) for one in _bindings(names, bindings)])
    await asyncio.gather(*[create(*one) for one in _pods(names, pods, bindings=bindings)])


def _bindings(namespaces: Sequence[str], count: int) -> Iterator[tuple[str, Json]]:
    for number in range(count):
        namespace = namespaces[number % len(namespaces)]
        binding = a_raw_binding(f"binding-{number}", namespace)
        del binding["metadata"]["generation"]
        yield f"{_GROUP}/namespaces/{namespace}/rolesanywherebindings", binding


def _pods(namespaces: Sequence[str], count: int, *, bindings: int) -> Iterator[tuple[str, Json]]:
    for number in range(count):
        binding = number % bindings
        namespace = namespaces[binding % len(namespaces)]
        name = f"binding-{binding}"
        mark = {"binding": name, "generation": 1, "image": IMAGE, "containers": ["app"]}
        pod = a_pod(
            labels={BINDING_LABEL: name},
            annotations={INJECTED_ANNOTATION: json.dumps(mark)},
            initContainers=[a_container("rolesanywhere-sidecar", restartPolicy="Always")],
        )
        pod["metadata"]["name"] = f"pod-{number}"
        yield f"/api/v1/namespaces/{namespace}/pods", pod


async def _create(http: aiohttp.ClientSession, path: str, body: Json) -> None:
    async with http.post(path, json=body):
        pass


async def _until(look: Callable[[], Awaitable[bool]], *, every: float) -> None:
    """Raises ``TimeoutError`` when it does not come true in time."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not await look():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(every)


async def _all_settled(http: aiohttp.ClientSession) -> bool:
    async with http.get(f"{_GROUP}/rolesanywherebindings?limit=1000") as answer:
        items = (await answer.json())["items"]
    return all(map(_is_settled, items))


def _is_settled(binding: Json) -> bool:
    status = binding.get("status") or {}
    return bool(status.get("observedGeneration") == binding["metadata"]["generation"])


async def _at_rest(controller: Program) -> None:
    """Until it has asked nothing but its Lease for two seconds: the census takes its time."""
    before = _asked(controller)
    for _ in range(30):
        await asyncio.sleep(2)
        now = _asked(controller)
        if now == before:
            return
        before = now


async def _change(
    http: aiohttp.ClientSession, controller: Program, number: int
) -> tuple[float, Calls]:
    """One binding's spec changes: seconds until its status says so, and what that took."""
    path = f"{_GROUP}/namespaces/bench-0/rolesanywherebindings/binding-0"
    before = _asked(controller)
    patch = {"spec": {"durationSeconds": 1800 + number}}
    since = time.perf_counter()
    async with http.patch(
        path, json=patch, headers={"Content-Type": "application/merge-patch+json"}
    ):
        pass

    async def followed() -> bool:
        async with http.get(path) as answer:
            return _is_settled(await answer.json())

    await _until(followed, every=0.01)
    took = time.perf_counter() - since
    # What comes after it, such as a look at what was just written, is counted too.
    await asyncio.sleep(1)
    return took, _asked(controller) - before


def _asked(controller: Program) -> Calls:
    """The calls so far, but for those that keep the Lease and begin watches."""
    text = eventually("metrics", lambda: controller.probe("/metrics")[1])
    calls: Calls = Counter()
    for one in _COUNTED.finditer(text):
        if one["resource"] != "leases" and one["verb"] != "watch":
            # Whatever came of them: a call that was refused is one, too.
            calls[one["verb"], one["resource"]] += int(one["count"])
    return calls
