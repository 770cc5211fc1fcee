"""What is said of each step to the endpoint."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from rolesanywhere_sidecar.doctor.findings import Finding
from rolesanywhere_sidecar.doctor.network import Connected, Resolved, Shaken, Timed
from rolesanywhere_sidecar.doctor.reachability import clock, dns, tcp, tls
from rolesanywhere_sidecar.service.dialing import Way
from rolesanywhere_sidecar.service.proxies import Proxy
from tests.fakes import pki
from tests.fakes.pki import Authority
from tests.support.examined import FAILURE, OK, WARNING

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
HOST = "rolesanywhere.eu-west-1.amazonaws.com"
WAY = Way(HOST, 443, ssl.create_default_context(), None)
PROXY = Proxy("http://svc:hunter2@proxy.corp:3128", "proxy.corp:3128")


def served_by(issuer: x509.Name, *, lives: timedelta = timedelta(days=30)) -> x509.Certificate:
    key = pki.new_key("p256")
    template = replace(pki.SERVER, issuer=issuer, lives=lives)
    return Authority.root(at=NOW).leaf(at=NOW, key=key, template=template).certificate


AMAZON = served_by(pki.named("Amazon RSA 2048 M03", organization_name="Amazon"))
CORP = served_by(pki.named("Corp Inspection CA", organization_name="Corp IT"))


def test_a_name_is_told_with_its_addresses_and_how_long_that_took() -> None:
    found = dns(WAY, Resolved(("192.0.2.1", "2001:db8::1"), 0.0123))
    assert (found.verdict, found.sentence) == (OK, f"{HOST} is 192.0.2.1, 2001:db8::1 (12 ms)")


def test_many_addresses_are_counted() -> None:
    found = dns(WAY, Resolved(tuple(f"192.0.2.{n}" for n in range(6)), 0.001))
    assert found.sentence.endswith("192.0.2.3 and 2 more (1 ms)")


def test_through_a_proxy_it_is_the_proxy_that_is_looked_up_and_connected_to() -> None:
    way = replace(WAY, proxy=PROXY)
    assert dns(way, Resolved(("10.0.0.1",), 0)).sentence.startswith("the proxy proxy.corp is")
    assert "the proxy proxy.corp port 3128" in tcp(way, Connected(0.001)).sentence
    refused = tcp(way, Connected(problem="Connection refused"))
    assert refused.verdict is FAILURE
    assert "proxy.corp port 3128" in refused.remedy
    assert "hunter2" not in f"{refused}"


def test_a_name_that_does_not_resolve_is_a_failure() -> None:
    found = dns(WAY, Resolved(problem="Name or service not known"))
    assert (found.verdict, found.sentence) == (
        FAILURE, f"{HOST} does not resolve: Name or service not known",
    )  # fmt: skip


def test_a_closed_port_says_who_may_be_in_the_way() -> None:
    found = tcp(WAY, Connected(problem="Connection refused"))
    assert found.verdict is FAILURE
    assert "or set https_proxy if a proxy leads out" in found.remedy


def shaken(seen: Shaken, *, way: Way = WAY, ca_bundle: str | None = None) -> Finding:
    return tls(way, seen, ca_bundle=ca_bundle, at=NOW)


def test_amazons_certificate_is_well() -> None:
    found = shaken(Shaken(AMAZON, "TLSv1.3"))
    assert (found.verdict, found.sentence) == (
        OK, f"{HOST} is trusted by 'Amazon', until 2026-04-13 (TLSv1.3)",
    )  # fmt: skip


def test_a_certificate_in_its_last_day_is_a_warning() -> None:
    last = served_by(pki.named("x", organization_name="Amazon"), lives=timedelta(hours=9))
    assert shaken(Shaken(last, "TLSv1.3")).verdict is WARNING


def test_a_trusted_inspector_between_us_and_aws_is_a_warning() -> None:
    found = shaken(Shaken(CORP, "TLSv1.3"), ca_bundle="/ca.pem")
    assert found.verdict is WARNING
    assert "by 'Corp IT' instead of Amazon" in found.sentence
    assert f"exempt {HOST}" in found.remedy


def test_elsewhere_than_at_aws_any_issuer_is_well() -> None:
    assert shaken(Shaken(CORP, "TLSv1.3"), way=replace(WAY, host="vpce.corp")).verdict is OK


@pytest.mark.parametrize(
    ("served", "ca_bundle", "remedy"),
    [
        (CORP, None, "something in between inspects TLS"),
        (CORP, "/ca.pem", "put its authority into /ca.pem"),
        (AMAZON, "/ca.pem", "leave --ca-bundle out for public ones"),
        (AMAZON, None, "name its authority's PEM file with --ca-bundle"),
        (None, None, "name its authority's PEM file with --ca-bundle"),
    ],
)
def test_who_is_not_trusted_is_named_with_what_to_do(
    served: x509.Certificate | None, ca_bundle: str | None, remedy: str
) -> None:
    seen = Shaken(served, untrusted="self-signed certificate in certificate chain")
    found = shaken(seen, ca_bundle=ca_bundle)
    assert found.verdict is FAILURE
    assert "not trusted (self-signed certificate in certificate chain)" in found.sentence
    assert remedy in found.remedy


def test_no_tls_at_all_is_a_failure() -> None:
    assert shaken(Shaken(problem="TLS failed")).verdict is FAILURE


@pytest.mark.parametrize(
    ("seconds", "verdict", "said"),
    [
        (0, OK, "agrees"),
        (0.9, OK, "agrees"),
        (59, OK, "59 seconds ahead of"),
        (-59, OK, "59 seconds behind"),
        (61, WARNING, "61 seconds ahead of"),
        (-299, WARNING, "299 seconds behind"),
        (301, FAILURE, "301 seconds ahead of"),
        (-3600, FAILURE, "3600 seconds behind"),
    ],
)
def test_the_clock_is_measured(seconds: float, verdict: str, said: str) -> None:
    ours = NOW + timedelta(seconds=seconds + (0.5 if abs(seconds) >= 1 else 0))
    found = clock(Timed(theirs=NOW, sent=ours, received=ours))
    assert found.verdict is verdict
    assert said in found.sentence
    assert bool(found.remedy) is (verdict is not OK)


def test_an_unknown_time_is_a_warning() -> None:
    found = clock(Timed(problem="its answer has no Date"))
    assert found.verdict is WARNING
    assert "its answer has no Date" in found.sentence
