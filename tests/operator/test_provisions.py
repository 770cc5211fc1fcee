"""What a kind of identity needs of the cluster: looked for once, and again until it is there."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from rolesanywhere_operator.controller.provisions import ABSENCE, PRESENCE, Provisions
from rolesanywhere_operator.domain.conditions import Reason
from rolesanywhere_operator.domain.identities import (
    CsiIdentity,
    Identity,
    IssuerRef,
    PerPodIdentity,
    PodCertificateIdentity,
    SecretIdentity,
    WantedCertificate,
)
from rolesanywhere_operator.domain.issuance import Obstacle
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Forbidden, KubeError, NotFound, Unavailable

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DRIVERS = "/apis/storage.k8s.io/v1/csidrivers"
GROUP = "/apis/certificates.k8s.io"

THEIRS = CsiIdentity(driver="certificates.example.com")
PER_POD = PerPodIdentity(wanted=WantedCertificate(issuer=IssuerRef(name="ca"), uris=("x:y",)))
PROJECTED = PodCertificateIdentity(signer_name="example.com/workloads", key_type="ECDSAP256")


class Cluster:
    """An API server that has ``objects`` by path; ``trouble`` is what it raises once."""

    def __init__(self, **objects: Json) -> None:
        self.objects: dict[str, Json] = dict(objects)
        self.trouble: list[KubeError] = []
        self.asked: Counter[str] = Counter()
        self.now = NOON

    async def get(self, path: str, *, query: Mapping[str, str] | None = None) -> Json:
        assert query is None
        self.asked[path] += 1
        await asyncio.sleep(0)
        if self.trouble:
            raise self.trouble.pop()
        if path not in self.objects:
            raise NotFound(f"GET {path}: not there", status=404)
        return self.objects[path]

    def provisions(self) -> Provisions:
        return Provisions(self, now=lambda: self.now)

    def has_driver(self, name: str, *modes: str) -> None:
        self.objects[f"{DRIVERS}/{name}"] = {"spec": {"volumeLifecycleModes": list(modes)}}

    def serves(self, **resources: list[str]) -> None:
        self.objects[GROUP] = {"versions": [{"version": version} for version in resources]}
        for version, names in resources.items():
            listed = {"resources": [{"name": name} for name in names]}
            self.objects[f"{GROUP}/{version}"] = listed


def reason(obstacle: Obstacle | None) -> str:
    return "" if obstacle is None else str(obstacle.reason)


async def test_an_identity_from_a_secret_needs_nothing_that_could_be_seen() -> None:
    cluster = Cluster()
    assert await cluster.provisions().obstacle(SecretIdentity(name="mine")) is None
    assert not cluster.asked


@pytest.mark.parametrize(
    ("identity", "named"),
    [(THEIRS, "certificates.example.com"), (PER_POD, "csi.cert-manager.io")],
)
async def test_a_driver_that_is_missing_is_named_and_picked_up_when_it_comes(
    identity: Identity, named: str
) -> None:
    cluster = Cluster()
    provisions = cluster.provisions()
    missing = await provisions.obstacle(identity)
    assert missing is not None
    assert missing.reason == Reason.DRIVER_MISSING
    assert f"CSIDriver {named}" in missing.message
    assert "install" in missing.message

    cluster.has_driver(named, "Persistent", "Ephemeral")
    assert await provisions.obstacle(identity) == missing
    cluster.now += ABSENCE
    assert await provisions.obstacle(identity) is None


async def test_a_driver_without_inline_volumes_is_told_with_what_it_has() -> None:
    cluster = Cluster()
    cluster.has_driver("certificates.example.com", "Persistent")
    unfit = await cluster.provisions().obstacle(THEIRS)
    assert unfit is not None
    assert unfit.reason == Reason.DRIVER_UNFIT
    assert "Persistent" in unfit.message
    assert "expected Ephemeral" in unfit.message


async def test_a_driver_that_is_removed_is_missed() -> None:
    cluster = Cluster()
    cluster.has_driver("certificates.example.com", "Ephemeral")
    provisions = cluster.provisions()
    assert await provisions.obstacle(THEIRS) is None
    cluster.objects.clear()
    assert await provisions.obstacle(THEIRS) is None
    cluster.now += PRESENCE
    assert reason(await provisions.obstacle(THEIRS)) == "DriverMissing"


async def test_drivers_that_nobody_names_any_more_are_forgotten() -> None:
    cluster = Cluster()
    cluster.has_driver("certificates.example.com", "Ephemeral")
    provisions = cluster.provisions()
    await provisions.obstacle(THEIRS)
    for number in range(100):
        await provisions.obstacle(CsiIdentity(driver=f"number-{number}.example.com"))
        cluster.now += ABSENCE / 10
    assert provisions.size < 15
    cluster.now += PRESENCE
    await provisions.obstacle(PROJECTED)
    assert provisions.size == 1


async def test_pod_certificates_are_looked_for_in_every_version_of_their_group() -> None:
    cluster = Cluster()
    cluster.serves(v1=["certificatesigningrequests"])
    provisions = cluster.provisions()
    missing = await provisions.obstacle(PROJECTED)
    assert reason(missing) == "PodCertificatesNotServed"
    assert missing is not None
    assert "feature gate PodCertificateRequest" in missing.message

    cluster.serves(
        v1=["certificatesigningrequests"], v1beta1=["clustertrustbundles", "podcertificaterequests"]
    )
    cluster.now += ABSENCE
    assert await provisions.obstacle(PROJECTED) is None


async def test_a_group_that_is_not_served_at_all_serves_no_pod_certificates() -> None:
    assert reason(await Cluster().provisions().obstacle(PROJECTED)) == "PodCertificatesNotServed"


async def test_five_hundred_bindings_of_one_driver_ask_once() -> None:
    cluster = Cluster()
    provisions = cluster.provisions()
    found = await asyncio.gather(*[provisions.obstacle(THEIRS) for _ in range(500)])
    assert {reason(one) for one in found} == {"DriverMissing"}
    assert cluster.asked.total() == 1


async def test_what_may_not_be_seen_is_not_doubted(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    cluster.trouble = [Forbidden("no rights", status=403)]
    assert await cluster.provisions().obstacle(THEIRS) is None
    assert "cannot see what an identity needs" in caplog.text


async def test_an_outage_is_tried_again_and_not_remembered() -> None:
    cluster = Cluster()
    cluster.trouble = [Unavailable("away", status=503)]
    provisions = cluster.provisions()
    with pytest.raises(Unavailable):
        await provisions.obstacle(THEIRS)
    assert reason(await provisions.obstacle(THEIRS)) == "DriverMissing"


async def test_a_clock_that_is_set_back_does_not_make_an_answer_last() -> None:
    cluster = Cluster()
    provisions = cluster.provisions()
    await provisions.obstacle(THEIRS)
    cluster.has_driver("certificates.example.com", "Ephemeral")
    cluster.now -= timedelta(days=1)
    assert await provisions.obstacle(THEIRS) is None
