"""Pods whose way to AWS leads through a proxy, and past a firewall that looks into their TLS."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest

from rolesanywhere_contract.names import SIDECAR_CONTAINER
from tests.e2e import firewall
from tests.e2e.background import in_background
from tests.e2e.firewall import Firewall
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster
from tests.e2e.teams import ONCE, Team
from tests.fakes.pki import Authority
from tests.fakes.world import ACCOUNT
from tests.support.waiting import eventually

LOGIN: Final = "svc:p@ss/word"
BUNDLE: Final = {"configMap": {"name": "corp-authorities"}}
# A kubelet, and a startup probe, tell of what they wait for every other moment.
TOLD_SECONDS: Final = 60.0

Manifest = dict[str, Any]


@pytest.fixture
def open_firewall(cluster: Cluster) -> Iterator[Firewall]:
    """One that anybody may ask."""
    made = firewall.inspecting(cluster.sandbox, believing=images.trusted())
    with in_background(made) as there:
        yield there


@pytest.fixture
def closed_firewall(cluster: Cluster) -> Iterator[Firewall]:
    """One that asks for a password."""
    made = firewall.inspecting(cluster.sandbox, believing=images.trusted(), login=LOGIN)
    with in_background(made) as there:
        yield there


def authorities(authority: Authority) -> Manifest:
    """The ConfigMap that `BUNDLE` names, as trust-manager writes it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "corp-authorities"},
        "data": {"ca.crt": authority.certificate_pem.decode()},
    }


def ask_once(team: Team, **sidecar: Any) -> None:
    """Start a pod whose app asks AWS who it is, by a binding with that ``spec.sidecar``."""
    team.bind("reports", sidecar=sidecar)
    app = team.app("app", *ONCE)
    team.apply(team.pod("report", app, binding="reports", restartPolicy="Never"))


def answered(team: Team) -> None:
    """Return once the app has its answer."""
    team.ended("report")
    [told] = team.said("report")
    assert told["arn"].startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/reports/")


def endpoint_of(team: Team) -> str:
    """Host and port of the Roles Anywhere endpoint."""
    return urlsplit(team.aws.services.rolesanywhere_url).netloc


def spellings(login: str) -> set[str]:
    """What would give away its password: as it is, as URLs have it, and as a header has it."""
    password = login.partition(":")[2]
    header = b64encode(login.encode()).decode()
    return {password, quote(password), quote(password, safe=""), header.rstrip("=")}


def events(team: Team) -> str:
    """What the pod's Events say, on one line."""
    return " ".join(team.kubectl("events", "--for=pod/report").split())


def test_a_sidecar_goes_through_a_firewall_that_it_was_told_to_believe(
    team: Team, open_firewall: Firewall
) -> None:
    """The app's own calls of AWS go directly, as it says nothing of a proxy."""
    team.apply(authorities(open_firewall.authority))
    ask_once(team, proxy={"url": f"http://{open_firewall.address}"}, caBundle=BUNDLE)
    answered(team)
    assert open_firewall.asked == [endpoint_of(team)]
    assert len(team.sessions("reports")) == 1


def test_a_password_for_the_proxy_comes_from_a_secret(
    team: Team, closed_firewall: Firewall
) -> None:
    user, _, password = LOGIN.partition(":")
    url = f"http://{user}:{quote(password, safe='')}@{closed_firewall.address}"
    team.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "proxy"},
            "stringData": {"url": url},
        },
        authorities(closed_firewall.authority),
    )
    ask_once(team, proxy={"urlSecretRef": {"name": "proxy", "key": "url"}}, caBundle=BUNDLE)
    answered(team)
    assert closed_firewall.asked == [endpoint_of(team)]
    log = team.kubectl("logs", "report", f"--container={SIDECAR_CONTAINER}")
    happened = [one["message"] for one in team.get("events")["items"]]
    assert log
    assert happened
    told = "\n".join([log, team.kubectl("logs", "report"), *happened])
    assert [one for one in spellings(LOGIN) if one in told] == []


def test_what_is_excepted_from_the_proxy_is_reached_without_it(
    team: Team, closed_firewall: Firewall
) -> None:
    proxy = {"url": f"http://{closed_firewall.address}", "noProxy": ["198.51.100.0/24"]}
    ask_once(team, proxy=proxy)
    answered(team)
    assert closed_firewall.asked == []


def test_whom_nobody_said_to_believe_is_not_believed_and_the_pods_events_say_so(
    team: Team, open_firewall: Firewall
) -> None:
    ask_once(team, proxy={"url": f"http://{open_firewall.address}"})
    said = f"through the proxy {open_firewall.address}: its TLS certificate is not trusted"
    eventually("the Events tell", lambda: said in events(team), within=TOLD_SECONDS)
    assert set(open_firewall.asked) == {endpoint_of(team)}
    assert team.sessions("reports") == []


def test_a_pod_waits_for_the_authorities_and_its_events_name_them(
    team: Team, open_firewall: Firewall
) -> None:
    ask_once(team, proxy={"url": f"http://{open_firewall.address}"}, caBundle=BUNDLE)
    missing = 'configmap "corp-authorities" not found'
    eventually("the Events tell", lambda: missing in events(team), within=TOLD_SECONDS)
    assert open_firewall.asked == []
    team.apply(authorities(open_firewall.authority))
    answered(team)
