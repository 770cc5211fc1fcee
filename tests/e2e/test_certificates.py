"""Certificates from who makes them in clusters: cert-manager itself."""

from typing import Any, Final

import pytest

from tests.e2e import aws, cert_manager
from tests.e2e.harness.cluster import Cluster
from tests.e2e.teams import Team
from tests.fakes.pki import Authority, Identity, new_key
from tests.support.tools import build_or_skip
from tests.support.waiting import eventually

ISSUER: Final = "workloads"


@pytest.fixture(scope="session")
def with_cert_manager(cluster: Cluster) -> None:
    """cert-manager, in the cluster of this run."""
    cert_manager.install(cluster, build_or_skip(cert_manager.find_or_build))


def asking(name: str, **more: Any) -> dict[str, Any]:
    """The identity of a binding that asks cert-manager for ``CN=name``."""
    return {"certManager": {"issuerRef": {"name": ISSUER}, "commonName": name, **more}}


def standing(team: Team, binding: str, *expected: str) -> None:
    """Return once the binding's Ready is ``expected``: status and reason."""
    eventually(
        f"{binding} is {expected}, not {team.conditions(binding)}",
        lambda: team.conditions(binding).get("Ready") == expected,
        within=60,
    )


@pytest.mark.usefixtures("with_cert_manager")
def test_an_issuer_that_breaks_and_is_mended_shows_in_the_bindings_conditions(
    team: Team,
) -> None:
    whole = team.aws.workloads
    torn = Authority(new_key("p256"), whole.certificate)
    team.apply(*cert_manager.issuer(ISSUER, torn))
    team.bind("mended", asking("mended"))
    standing(team, "mended", "False", "CertificateFailed")

    keep(team, whole)
    standing(team, "mended", "True", "CertificateIssued")

    keep(team, torn)
    cert_manager.renew(team, "rolesanywhere-mended")
    standing(team, "mended", "True", "CertificateRenewalFailed")

    keep(team, whole)
    standing(team, "mended", "True", "CertificateIssued")


def keep(team: Team, authority: Identity) -> None:
    """Replace the issuer's authority."""
    team.apply(aws.tls_secret(f"{ISSUER}-ca", authority))
