"""What the operator's programs show a scraper, read by Prometheus' own client library."""

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from rolesanywhere_contract.exposition import Family, exposition
from rolesanywhere_operator.controller.metrics import Account
from rolesanywhere_operator.domain.bindings import Entry
from rolesanywhere_operator.domain.census import Count
from rolesanywhere_operator.domain.decisions import Reason
from rolesanywhere_operator.domain.turns import Quota
from rolesanywhere_operator.kube.calls import Call
from rolesanywhere_operator.metrics import ApiCalls
from rolesanywhere_operator.probes import prober
from rolesanywhere_operator.version import VERSION
from rolesanywhere_operator.webhook import metrics, server
from rolesanywhere_operator.webhook.admission import Admission
from rolesanywhere_operator.webhook.desk import Desk
from rolesanywhere_operator.webhook.tally import Tally, Unusable
from rolesanywhere_operator.webhook.tls import ServingCertificate
from tests.operator.builders import DEFAULTS, a_binding, a_pod, a_raw_binding, a_review
from tests.operator.certificates import a_pair
from tests.operator.test_webhook import JSON, ScriptedCatalog
from tests.support.logs import written
from tests.support.sites import called

NOW = datetime(2026, 11, 22, tzinfo=UTC)

Read = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Copy:
    """A reflector's account of itself."""

    synced = True
    objects = 3
    heard: float | None = 100.0


def read(families: Iterable[Family]) -> Read:
    """Every sample, by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition(families))
        for sample in family.samples
    }


def value(found: Read, name: str, **labels: str) -> float:
    return found[f"rolesanywhere_operator_{name}", frozenset(labels.items())]


def of_the_webhook(tally: Tally, *, copy: metrics.Copy, ends: datetime | None = None) -> Read:
    return read(
        metrics.families(
            tally=tally,
            calls=ApiCalls("webhook"),
            copy=copy,
            now=lambda: 107.5,
            certificate_ends=ends,
            longest_wait=timedelta(seconds=2),
        )
    )


async def counted(
    catalog: ScriptedCatalog, *bodies: bytes, kind: str = JSON["Content-Type"]
) -> Read:
    """What is counted after these were sent."""
    admission = Admission(catalog, DEFAULTS)
    async with called(server.reviewer(admission)) as client:
        for body in bodies:
            headers = {"Content-Type": kind}
            async with client.post("/inject", data=io.BytesIO(body), headers=headers) as answer:
                await answer.read()
    return of_the_webhook(admission.tally, copy=Copy())


def a_body(**pod: Any) -> bytes:
    return json.dumps(a_review(a_pod(**pod))).encode()


async def test_every_review_is_counted_by_what_became_of_it() -> None:
    catalog = ScriptedCatalog(held={"reports": a_binding()})
    found = await counted(
        catalog, a_body(), a_body(), a_body(inject=None), a_body(hostNetwork=True), b"nonsense",
        json.dumps(a_review(a_pod(), operation="UPDATE")).encode(),
    )  # fmt: skip
    reviews = {
        tuple(sorted(dict(labels).values())): count
        for (name, labels), count in found.items()
        if name == "rolesanywhere_operator_admission_reviews_total"
    }
    assert {words: count for words, count in reviews.items() if count} == {
        ("BindingSelected", "inject"): 2,
        ("NotAsked", "leave"): 1,
        ("HostNetwork", "refuse"): 1,
        ("NotAReview", "unusable"): 1,
        ("UnexpectedReview", "unusable"): 1,
    }
    assert value(found, "admission_duration_seconds_count") == 6
    assert value(found, "admission_duration_seconds_bucket", le="+Inf") == 6
    assert value(found, "admission_duration_seconds_sum") > 0


async def test_times_are_told_in_parts_of_a_millisecond() -> None:
    """Most reviews take one or less, and not every loop's clock is so fine."""
    catalog = ScriptedCatalog(held={"reports": a_binding()})
    found = [await counted(catalog, a_body()) for _ in range(3)]
    times = [1000 * value(one, "admission_duration_seconds_sum") for one in found]
    assert any(abs(milliseconds - round(milliseconds)) > 0.001 for milliseconds in times)


def test_every_reason_is_counted_from_zero_on() -> None:
    """Prometheus sees no increase in a series that begins at 1."""
    found = of_the_webhook(Tally(), copy=Copy())
    counted = {
        dict(labels)["reason"]: (dict(labels)["outcome"], count)
        for (name, labels), count in found.items()
        if name == "rolesanywhere_operator_admission_reviews_total"
    }
    assert counted.keys() == {*Reason, *Unusable, "InternalError"}
    assert {count for _, count in counted.values()} == {0}
    assert counted["BindingNamed"][0] == "inject"
    assert counted["OptedOut"][0] == "leave"
    assert counted["NameTaken"][0] == "refuse"
    assert counted["TooLarge"][0] == "unusable"


async def test_what_is_too_large_or_too_slow_is_counted() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    admission = Admission(ScriptedCatalog(), DEFAULTS)
    async with called(server.reviewer(admission)) as client:
        body = io.BytesIO(b" " * (server.LARGEST_REVIEW + 1))
        async with client.post("/inject", data=body, headers=JSON) as answer:
            assert answer.status == 413
        async with client.post("/inject?timeout=100ms", data=trickle(), headers=JSON) as answer:
            assert answer.status == 408
    found = of_the_webhook(admission.tally, copy=Copy())
    for reason in ("TooLarge", "Slow"):
        assert value(found, "admission_reviews_total", outcome="unusable", reason=reason) == 1


async def test_a_mistake_of_ours_is_counted_as_one() -> None:
    class Broken(ScriptedCatalog):
        def at_hand(self, namespace: str) -> Mapping[str, Entry]:
            raise RuntimeError("oops")

    with written():
        found = await counted(Broken(), a_body())
    counts = {"outcome": "fail", "reason": "InternalError"}
    assert value(found, "admission_reviews_total", **counts) == 1


async def test_another_content_type_is_counted() -> None:
    found = await counted(ScriptedCatalog(), b"{}", kind="text/plain")
    counts = {"outcome": "unusable", "reason": "ContentType"}
    assert value(found, "admission_reviews_total", **counts) == 1


async def test_a_decision_is_one_line_of_json_without_the_pod() -> None:
    secret = {"name": "PASSWORD", "value": "hunter2"}
    container = {"name": "app", "image": "x", "env": [secret], "command": ["/from-the-body"]}
    with written("info") as log:
        await counted(
            ScriptedCatalog(held={"reports": a_binding()}), a_body(containers=[container])
        )
    [line] = [one for one in log.lines() if one["event"] == "admission"]
    assert {name: line[name] for name in ("decision", "reason", "binding", "namespace", "pod")} == {
        "decision": "inject",
        "reason": "BindingSelected",
        "binding": "reports",
        "namespace": "team-a",
        "pod": "reports-0",
    }
    assert "hunter2" not in log.text()
    assert "from-the-body" not in log.text()
    assert [one["event"] for one in log.lines()] == ["listening", "admission"]


def test_the_copy_says_how_old_it_is() -> None:
    found = of_the_webhook(Tally(), copy=Copy())
    assert value(found, "cache_synced") == 1
    assert value(found, "cache_age_seconds") == 7.5
    assert value(found, "cache_objects") == 3
    assert value(found, "turns_wait_seconds") == 2


def test_a_copy_that_has_heard_nothing_is_not_synced() -> None:
    class Deaf(Copy):
        synced = False
        heard = None

    found = of_the_webhook(Tally(), copy=Deaf())
    assert (value(found, "cache_synced"), value(found, "cache_age_seconds")) == (0, 0)


def test_the_certificates_end_is_what_is_served(tmp_path: Path) -> None:
    pair = a_pair("webhook")
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    serving = ServingCertificate(*files)
    assert serving.ends is None
    files[0].write_bytes(pair.certificate)
    files[1].write_bytes(pair.private_key)
    assert serving.refresh()
    assert serving.ends is not None
    told = value(of_the_webhook(Tally(), copy=Copy(), ends=serving.ends),
                 "certificate_expiry_timestamp_seconds")  # fmt: skip
    [known] = _known_to_openssl(pair.certificate)
    assert told == ssl.cert_time_to_seconds(known)
    # A half-written file takes nothing away, nor its date.
    before = serving.ends
    files[0].write_bytes(a_pair("another").certificate)
    assert not serving.refresh()
    assert serving.ends == before


def _known_to_openssl(pem: bytes) -> list[str]:
    context = ssl.create_default_context(cadata=pem.decode())
    return [str(one["notAfter"]) for one in context.get_ca_certs() if _is_ours(one)]


def _is_ours(certificate: object) -> bool:
    return "webhook" in str(certificate)


def test_a_queue_says_how_long_it_is() -> None:
    clock = [NOW]
    desk = Desk(60, now=lambda: clock[0])
    quota = Quota("aws", "111122223333", "eu-west-1")
    assert desk.longest_wait == timedelta()
    for _ in range(5):
        desk.take(quota)
    assert desk.longest_wait == timedelta(seconds=5)
    clock[0] += timedelta(minutes=1)
    assert desk.longest_wait == timedelta()


def test_calls_on_the_api_server_are_counted_by_what_they_asked() -> None:
    calls = ApiCalls("controller")
    for status in (200, 200, 409, 0):
        calls.observe(Call("patch", "leases", status, 0.02))
    found = read(calls.families())
    asked = {"verb": "patch", "resource": "leases"}
    assert value(found, "api_requests_total", **asked, code="200") == 2
    assert value(found, "api_requests_total", **asked, code="0") == 1
    assert value(found, "api_request_duration_seconds_count", verb="patch") == 4
    assert value(found, "api_request_duration_seconds_bucket", verb="patch", le="0.025") == 4
    [info] = [dict(labels) for name, labels in found if name.endswith("build_info")]
    assert (info["program"], info["version"]) == ("controller", VERSION)


async def test_a_scraper_is_told_the_format() -> None:
    site = prober(lambda: None, metrics=ApiCalls("webhook").families)
    async with called(site) as client, client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert list(text_string_to_metric_families(await answer.text()))


def a_judged_binding(ready: str, reason: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "reason": reason}
    return {**a_raw_binding(), "status": {"conditions": [condition]}}


def test_bindings_are_counted_by_how_they_stand() -> None:
    account = Account(ApiCalls("controller"))
    account.bindings = lambda: [
        a_judged_binding("True", "Accepted"),
        a_judged_binding("True", "Accepted"),
        a_judged_binding("False", "InvalidBinding"),
        a_raw_binding(),
    ]
    found = read(account.families())
    assert value(found, "bindings", ready="True", reason="Accepted") == 2
    assert value(found, "bindings", ready="False", reason="InvalidBinding") == 1
    assert value(found, "bindings", ready="Unknown", reason="") == 1


def test_a_leader_says_so_and_what_came_of_its_looks() -> None:
    account = Account(ApiCalls("controller"))
    assert value(read(account.families()), "leader") == 0
    account.leads = True
    account.looked()
    account.looked()
    account.looked("KubernetesForbidden")
    found = read(account.families())
    assert value(found, "leader") == 1
    assert value(found, "reconciles_total", outcome="success", code="") == 2
    assert value(found, "reconciles_total", outcome="failure", code="KubernetesForbidden") == 1


def test_pods_are_summed_over_all_bindings() -> None:
    account = Account(ApiCalls("controller"))
    found = read(account.families())
    assert value(found, "pods", state="injected") == 0
    account.counts = lambda: [Count(3, 2, 1), Count(4, 1, 0)]
    account.not_injected = lambda: 5
    found = read(account.families())
    states = ("injected", "ready", "outdated")
    assert [value(found, "pods", state=one) for one in states] == [7, 3, 1]
    assert value(found, "pods_not_injected") == 5
