"""Admission over HTTP, with aiohttp's own client."""

import asyncio
import base64
import gzip
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jsonpatch
import pytest
from aiohttp import ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_operator.domain.bindings import Entry
from rolesanywhere_operator.kube.errors import Unavailable
from rolesanywhere_operator.webhook import server
from rolesanywhere_operator.webhook.admission import Admission
from rolesanywhere_operator.webhook.desk import Desk
from tests.operator.builders import DEFAULTS, IMAGE, a_binding, a_pod, a_review
from tests.support.sites import called


@dataclass
class ScriptedCatalog:
    """A catalog whose copy may lag behind what the API server would say."""

    held: dict[str, Entry] = field(default_factory=dict)
    current: dict[str, Entry] | Exception = field(default_factory=dict)
    asked_times: int = 0
    hangs: bool = False

    def at_hand(self, namespace: str) -> Mapping[str, Entry]:
        return self.held if namespace == "team-a" else {}

    async def asked(self, namespace: str) -> Mapping[str, Entry]:
        self.asked_times += 1
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.current, Exception):
            raise self.current
        return self.current if namespace == "team-a" else {}


Client = ClientSession
JSON = {"Content-Type": "application/json"}
KEYS = st.sampled_from(
    ["apiVersion", "kind", "request", "uid", "object", "namespace", "operation", "resource",
     "metadata", "spec", "containers", "annotations", "name", "dryRun", "subResource", "env"]
)  # fmt: skip


@pytest.fixture
def catalog() -> ScriptedCatalog:
    return ScriptedCatalog(held={"reports": a_binding()})


@pytest.fixture
async def client(catalog: ScriptedCatalog) -> AsyncIterator[Client]:
    site = server.reviewer(Admission(catalog, DEFAULTS))
    async with called(site) as started:
        yield started


async def response_to(client: Client, review: Any) -> Any:
    body = io.BytesIO(json.dumps(review).encode())
    async with client.post("/inject", data=body, headers=JSON) as answer:
        assert answer.status == 200
        document = await answer.json()
    assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert document["response"]["uid"] == "0f3c"
    return document["response"]


async def test_a_pod_that_asks_is_injected(client: Client) -> None:
    response = await response_to(client, a_review(a_pod()))
    assert response["allowed"] is True
    patched = jsonpatch.apply_patch(a_pod(), json.loads(base64.b64decode(response["patch"])))
    assert patched["spec"]["initContainers"][0]["image"] == IMAGE


async def test_a_pod_that_does_not_ask_is_let_in_untouched(client: Client) -> None:
    assert await response_to(client, a_review(a_pod(inject=None))) == {
        "uid": "0f3c", "allowed": True,
    }  # fmt: skip


async def test_a_refusal_carries_its_sentence_and_its_word(client: Client) -> None:
    response = await response_to(client, a_review(a_pod(hostNetwork=True)))
    assert response["allowed"] is False
    assert response["status"]["reason"] == "HostNetwork"
    assert "run it without hostNetwork" in response["status"]["message"]


async def test_a_binding_that_the_copy_has_not_heard_of_is_read_before_a_refusal(
    client: Client, catalog: ScriptedCatalog
) -> None:
    catalog.held, catalog.current = {}, {"reports": a_binding()}
    assert (await response_to(client, a_review(a_pod())))["allowed"] is True


async def test_a_binding_mended_a_moment_ago_does_not_refuse(
    client: Client, catalog: ScriptedCatalog
) -> None:
    catalog.held = {"reports": a_binding(serviceAccountNames=["somebody"])}
    catalog.current = {"reports": a_binding()}
    assert (await response_to(client, a_review(a_pod())))["allowed"] is True


async def test_the_api_server_is_not_asked_where_the_copy_suffices(
    client: Client, catalog: ScriptedCatalog
) -> None:
    await response_to(client, a_review(a_pod()))
    await response_to(client, a_review(a_pod(inject="maybe")))
    await response_to(client, a_review(a_pod(inject=None)))
    assert catalog.asked_times == 0


async def test_a_refusal_that_could_not_be_confirmed_says_so(
    client: Client, catalog: ScriptedCatalog
) -> None:
    catalog.held, catalog.current = {}, Unavailable("GET: no answer")
    response = await response_to(client, a_review(a_pod()))
    assert response["allowed"] is False
    assert "could not be asked" in response["status"]["message"]


async def test_a_mistake_of_ours_refuses_with_a_reference_that_the_log_has_too(
    client: Client, catalog: ScriptedCatalog, caplog: pytest.LogCaptureFixture
) -> None:
    catalog.held, catalog.current = {}, RuntimeError("the secret inner workings")
    response = await response_to(client, a_review(a_pod()))
    assert response["allowed"] is False
    assert (response["status"]["code"], response["status"]["reason"]) == (500, "InternalError")
    [record] = [one for one in caplog.records if one.getMessage() == "admission failed"]
    assert vars(record)["reference"] in response["status"]["message"]
    assert "inner workings" not in json.dumps(response)
    assert "inner workings" in caplog.text


async def test_a_pod_that_makes_no_sense_is_refused_and_not_let_in(client: Client) -> None:
    pod = a_pod()
    pod["spec"]["containers"] = "none"
    assert (await response_to(client, a_review(pod)))["allowed"] is False


async def test_every_admission_is_one_line_with_its_facts(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    pod = a_pod()
    pod["metadata"] |= {"name": None, "generateName": "reports-"}
    with caplog.at_level(logging.INFO):
        await response_to(client, a_review(pod, dryRun=True))
    [line] = [vars(one) for one in caplog.records if one.getMessage() == "admission"]
    facts = ("decision", "reason", "namespace", "pod", "binding", "dry_run")
    assert [line[fact] for fact in facts] == [
        "inject", "BindingSelected", "team-a", "reports-*", "reports", True,
    ]  # fmt: skip


async def test_a_review_of_something_else_is_refused_with_what_to_mend(client: Client) -> None:
    response = await response_to(client, a_review(a_pod(), operation="UPDATE"))
    assert response["allowed"] is False
    assert "MutatingWebhookConfiguration" in response["status"]["message"]


async def test_garbage_is_a_bad_request_with_a_reason(client: Client) -> None:
    async with client.post("/inject", data=b"{", headers=JSON) as answer:
        assert answer.status == 400
        assert "not JSON" in await answer.text()


async def test_another_content_type_is_unsupported(client: Client) -> None:
    async with client.post("/inject", data=b"{}", headers={"Content-Type": "text/yaml"}) as answer:
        assert answer.status == 415
        assert "expected application/json" in await answer.text()


async def test_a_review_of_more_than_eight_mebibytes_is_too_large(client: Client) -> None:
    body = io.BytesIO(b" " * (8 * 2**20 + 1))
    async with client.post("/inject", data=body, headers=JSON) as answer:
        assert answer.status == 413


async def test_a_review_of_almost_eight_mebibytes_is_answered(client: Client) -> None:
    review = a_review(a_pod(annotations={"padding": "x" * (8 * 2**20 - 4096)}))
    assert (await response_to(client, review))["allowed"] is True


@pytest.mark.parametrize("path", ["/", "/inject/", "/inject-pod", "/livez"])
async def test_a_path_we_do_not_have_is_not_found(client: Client, path: str) -> None:
    async with client.post(path, json=a_review(a_pod())) as answer:
        assert answer.status == 404


async def test_a_probe_of_the_method_is_told_that_it_is_wrong(client: Client) -> None:
    async with client.get("/inject") as answer:
        assert answer.status == 405


async def test_a_body_that_would_have_to_be_unpacked_is_unsupported(client: Client) -> None:
    """No API server packs one, and what unpacks to gigabytes is never unpacked here."""
    packed = gzip.compress(b" " * (16 * 2**20))
    headers = JSON | {"Content-Encoding": "gzip"}
    async with client.post("/inject", data=packed, headers=headers) as answer:
        assert answer.status == 415
        assert "content encoding gzip, expected none" in await answer.text()


async def test_an_api_server_that_hangs_costs_no_more_than_the_caller_has(
    client: Client, catalog: ScriptedCatalog
) -> None:
    catalog.held, catalog.hangs = {}, True
    body = json.dumps(a_review(a_pod())).encode()
    since = time.monotonic()
    # A fifth of it is left for the way: of three seconds more than a busy machine is late.
    async with client.post("/inject?timeout=3s", data=body, headers=JSON) as answer:
        response = (await answer.json())["response"]
    assert time.monotonic() - since < 3
    assert response["allowed"] is False
    assert response["status"]["reason"] == "NoBindingMatches"
    assert "could not be asked" in response["status"]["message"]


async def test_a_body_that_does_not_come_is_not_waited_for(client: Client) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    async with client.post("/inject?timeout=200ms", data=trickle(), headers=JSON) as answer:
        assert answer.status == 408


async def test_a_webhook_that_is_about_to_end_answers_and_asks_for_another_connection(
    catalog: ScriptedCatalog,
) -> None:
    ending = False
    admission = Admission(catalog, DEFAULTS)
    site = server.reviewer(admission, closing=lambda: ending)
    async with called(site) as client:
        for ending in (False, True):
            async with client.post("/inject", json=a_review(a_pod())) as answer:
                assert (await answer.json())["response"]["allowed"] is True
                assert (answer.headers.get("Connection") == "close") is ending


async def test_no_body_is_too_strange_for_an_answer(client: Client) -> None:
    """Neither is one let in for being strange, nor does it cost more than its answer."""
    kinds = st.none() | st.booleans() | st.floats() | st.text(max_size=5)
    anything = st.recursive(kinds, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))
    bodies: list[bytes] = []

    @settings(max_examples=30, deadline=None)
    @given(st.binary(max_size=40) | anything.map(lambda value: json.dumps(value).encode()))
    def collect(body: bytes) -> None:
        bodies.append(body)

    @settings(max_examples=30, deadline=None)
    @given(st.dictionaries(KEYS, anything))
    def collect_reviews(request: dict[str, Any]) -> None:
        bodies.append(json.dumps(a_review(a_pod(), **request)).encode())

    collect()
    collect_reviews()
    for body in bodies:
        async with client.post("/inject", data=body, headers=JSON) as answer:
            assert answer.status in {200, 400}, body
            if answer.status == 200:
                assert "response" in await answer.json(), body


# Turns


def turn_of(response: Any, pod: Any) -> str | None:
    patched = jsonpatch.apply_patch(pod, json.loads(base64.b64decode(response["patch"])))
    environment = patched["spec"]["initContainers"][0]["env"]
    found = [one["value"] for one in environment if one["name"] == "ROLESANYWHERE_START_AFTER"]
    return found[0] if found else None


@pytest.fixture
async def busy(catalog: ScriptedCatalog) -> AsyncIterator[Client]:
    """A webhook that hands out a turn a second."""
    desk = Desk(60, now=lambda: datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    admission = Admission(catalog, DEFAULTS, take_turn=desk.take)
    async with called(server.reviewer(admission)) as started:
        yield started


async def test_pods_of_one_moment_get_turns_and_the_first_gets_none(busy: Client) -> None:
    turns = [turn_of(await response_to(busy, a_review(a_pod())), a_pod()) for _ in range(3)]
    assert turns == [None, "2026-03-01T12:00:01Z", "2026-03-01T12:00:02Z"]


async def test_a_dry_run_takes_no_turn(busy: Client) -> None:
    for _ in range(3):
        assert turn_of(await response_to(busy, a_review(a_pod(), dryRun=True)), a_pod()) is None
    assert turn_of(await response_to(busy, a_review(a_pod())), a_pod()) is None


async def test_a_pod_that_comes_again_keeps_the_turn_it_has(busy: Client) -> None:
    await response_to(busy, a_review(a_pod()))
    response = await response_to(busy, a_review(a_pod()))
    queued = jsonpatch.apply_patch(a_pod(), json.loads(base64.b64decode(response["patch"])))
    again = await response_to(busy, a_review(queued))
    assert "patch" not in again
    assert turn_of(await response_to(busy, a_review(a_pod())), a_pod()) == "2026-03-01T12:00:02Z"
