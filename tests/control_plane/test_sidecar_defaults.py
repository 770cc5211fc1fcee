"""What a release says of sidecars reaches the pods, through the webhook that it was said to.

The webhook runs with the environment that the chart gives it, values other than the chart's own.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chart.helm import Manifest, render
from tests.cluster.release import Release
from tests.control_plane.conftest import MakeRelease
from tests.operator.builders import a_pod, a_raw_binding
from tests.support.waiting import eventually

RESOURCES: Final = {
    "requests": {"cpu": "15m", "memory": "80Mi"},
    "limits": {"cpu": "2", "memory": "200Mi"},
}
VALUES: Final[dict[str, Any]] = {
    "images": {"registry": "mirror.example", "sidecar": "aws/sidecar", "tag": "9"},
    "sidecar": {
        "resources": RESOURCES,
        "logLevel": "warning",
        "proxy": {"url": "http://proxy.example:3128", "noProxy": [".corp.example", "10.0.0.0/8"]},
        "caBundle": {"configMap": {"name": "corp-authorities"}},
    },
}
# What the tests say themselves: where the webhook listens, and where its certificate is.
PREFIX: Final = "ROLESANYWHERE_OPERATOR_"
OURS: Final = frozenset({"port", "probe_port", "certificate", "private_key", "sidecar_image"})


@pytest.fixture(scope="module")
def release(releases: MakeRelease, helm: Path) -> Iterator[Release]:
    """A release by those values."""
    there = releases("defaults-tests", VALUES)
    told = environment(render(helm, namespace=there.namespace, values=VALUES))
    besides: dict[str, Any] = {name: text for name, text in told.items() if name not in OURS}
    with there.serving(sidecar_image=told["sidecar_image"], **besides):
        yield there


def environment(manifests: list[Manifest]) -> dict[str, str]:
    """What the chart tells its webhook, by the names of settings."""
    [container, *_] = [
        container
        for manifest in manifests
        if manifest["kind"] == "Deployment"
        for container in manifest["spec"]["template"]["spec"]["containers"]
        if container["name"] == "webhook"
    ]
    return {one["name"].removeprefix(PREFIX).lower(): one["value"] for one in container["env"]}


def sidecar_of(release: Release, namespace: str, **binding: Any) -> Manifest:
    """The sidecar of a pod that asks, in ``namespace``, by a binding that says ``binding``."""
    bound = a_raw_binding("reports", namespace, **binding)
    del bound["metadata"]["generation"]
    release.control_plane.apply(json.dumps(bound), namespace=namespace)

    def made() -> list[Manifest]:
        pod = json.loads(
            release.control_plane.kubectl(
                "create", "--filename=-", "--dry-run=server", "--output=json",
                f"--namespace={namespace}", input=json.dumps(a_pod()),
            )
        )  # fmt: skip
        found: list[Manifest] = pod["spec"].get("initContainers", [])
        return found

    # The API server takes a moment to hear of a webhook.
    [sidecar] = eventually("pods are injected", made)
    assert sidecar["name"] == "rolesanywhere-sidecar"
    return dict(sidecar)


def level(sidecar: Manifest) -> str:
    """The log level that it is told; its own default where it is told none."""
    told = {one["name"]: one.get("value", "") for one in sidecar["env"]}
    return str(told.get("ROLESANYWHERE_LOG_LEVEL", "info"))


def test_what_the_release_says_of_sidecars_reaches_a_pod(release: Release, namespace: str) -> None:
    sidecar = sidecar_of(release, namespace)
    assert sidecar["image"] == "mirror.example/aws/sidecar:9"
    assert sidecar["resources"] == RESOURCES
    assert level(sidecar) == "warning"
    told = {one["name"]: one.get("value") for one in sidecar["env"]}
    assert told["https_proxy"] == "http://proxy.example:3128"
    assert told["no_proxy"] == ".corp.example,10.0.0.0/8"
    mounted = [one["mountPath"] for one in sidecar["volumeMounts"]]
    assert told["ROLESANYWHERE_CA_BUNDLE"].rpartition("/")[0] in mounted


def test_what_a_binding_says_itself_wins(release: Release, namespace: str) -> None:
    own = {
        "image": "team.example/sidecar:1",
        "resources": {"requests": {"cpu": "20m"}},
        "logLevel": "debug",
    }
    sidecar = sidecar_of(release, namespace, sidecar=own)
    assert sidecar["image"] == own["image"]
    assert sidecar["resources"] == own["resources"], "not mixed with the release's"
    assert level(sidecar) == own["logLevel"]


@pytest.mark.parametrize("said", ["info", "debug"])
def test_each_word_of_a_binding_wins_by_itself(release: Release, namespace: str, said: str) -> None:
    """Also one that is the default of a chart with other values."""
    sidecar = sidecar_of(release, namespace, sidecar={"logLevel": said})
    assert level(sidecar) == said
    assert sidecar["image"] == "mirror.example/aws/sidecar:9"
    assert sidecar["resources"] == RESOURCES


def test_a_key_in_a_token_has_the_releases_image_for_those(
    release: Release, namespace: str
) -> None:
    in_token = {"pkcs11": {"uri": "pkcs11:token=node;object=workload"}}
    sidecar = sidecar_of(release, namespace, identity=in_token)
    assert sidecar["image"] == "mirror.example/rolesanywhere-sidecar-pkcs11:9"
