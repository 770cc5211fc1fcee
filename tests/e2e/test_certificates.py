"""Certificates from those who make them in clusters: cert-manager itself, and the kubelet."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.e2e import aws, cert_manager, podcertificates
from tests.e2e.harness.cluster import Cluster
from tests.e2e.teams import Team, restarts
from tests.fakes.pki import Authority, Identity, new_key
from tests.support.tools import build_or_skip
from tests.support.waiting import NeverHappened, eventually

ISSUER: Final = "workloads"
SIGNER: Final = "example.com/workloads"
# The shortest life that cert-manager gives, renewed half a minute after it began.
SHORT: Final = {"duration": "1h", "renewBefore": "59m30s"}
# A renewal, what a kubelet takes to bring it to a volume, and a sidecar to take it up.
RENEWAL_SECONDS: Final = 240.0


@pytest.fixture(scope="session")
def with_cert_manager(cluster: Cluster) -> None:
    """cert-manager, in the cluster of this run."""
    cert_manager.install(cluster, build_or_skip(cert_manager.find_or_build))


def asking(team: Team, name: str, **more: Any) -> dict[str, Any]:
    """The identity of a binding that asks cert-manager for a certificate of the team's ``name``."""
    issuer = {"name": ISSUER}
    return {"certManager": {"issuerRef": issuer, "commonName": team.subject(name), **more}}


def standing(team: Team, binding: str, *expected: str) -> None:
    """Return once the binding's Ready is ``expected``: status and reason."""
    try:
        eventually(
            f"{binding} is {expected}",
            lambda: team.conditions(binding).get("Ready") == expected,
            within=RENEWAL_SECONDS,
        )
    except NeverHappened as never:
        raise AssertionError(f"{never}; it is {team.conditions(binding)}") from None


@pytest.mark.usefixtures("with_cert_manager")
def test_a_certificate_is_renewed_under_a_running_pod_without_a_restart_or_a_failed_call(
    team: Team,
) -> None:
    team.apply(*cert_manager.issuer(ISSUER, team.aws.workloads))
    team.bind("renewed", asking(team, "renewed", **SHORT))
    standing(team, "renewed", "True", "CertificateIssued")
    team.apply(team.pod("app", binding="renewed"))
    team.ready("app")
    first = team.answers("app")[0]
    assert "arn" in first, first

    eventually(
        "the app is another session's, of another certificate",
        lambda: team.said("app")[-1].get("arn") != first["arn"],
        within=RENEWAL_SECONDS,
    )

    told = team.said("app")
    assert [one["error"] for one in told if "error" in one] == []
    granted = team.sessions("renewed")
    assert told[-1]["arn"] in {one.session.assumed_role_arn for one in granted[1:]}
    assert len({one.session.serial_number for one in granted}) >= 2
    assert restarts(team.get("pod/app")) == 0
    first_serial = str(granted[0].session.serial_number)
    eventually(
        "the binding tells of another certificate",
        lambda: team.get("rab/renewed")["status"]["identity"]["serialNumber"] != first_serial,
    )


@pytest.mark.usefixtures("with_cert_manager")
def test_an_issuer_that_breaks_and_is_mended_shows_in_the_bindings_conditions(
    team: Team,
) -> None:
    whole = team.aws.workloads
    torn = Authority(new_key("p256"), whole.certificate)
    team.apply(*cert_manager.issuer(ISSUER, torn))
    team.bind("mended", asking(team, "mended", **SHORT))
    standing(team, "mended", "False", "CertificateFailed")

    keep(team, whole)
    standing(team, "mended", "True", "CertificateIssued")

    keep(team, torn)
    standing(team, "mended", "True", "CertificateRenewalFailed")

    keep(team, whole)
    standing(team, "mended", "True", "CertificateIssued")


def keep(team: Team, authority: Identity) -> None:
    """Replace the issuer's authority."""
    team.apply(aws.tls_secret(f"{ISSUER}-ca", authority))


@pytest.fixture
def signer(cluster: Cluster, team: Team) -> Iterator[None]:
    """Somebody who signs pod certificates that AWS trusts."""
    with podcertificates.signing(cluster, SIGNER, team.aws.workloads):
        yield


@pytest.mark.usefixtures("signer")
def test_a_pods_own_certificate_from_the_kubelet_is_its_way_to_aws(team: Team) -> None:
    team.bind("each", {"podCertificate": {"signerName": SIGNER, "keyType": "ECDSAP256"}})
    team.apply(team.pod("one", binding="each"), team.pod("two", binding="each"))
    for name in ("one", "two"):
        team.ready(name)
        [session] = team.sessions(name)
        first = team.answers(name)[0]
        assert first == {**first, "arn": session.session.assumed_role_arn}
