"""Two guides followed to the letter, in a cluster with nothing else: install, first credentials.

What stands in for what cannot be had here is in `standins` and `accounts`.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from rolesanywhere_contract.names import SIDECAR_CONTAINER
from tests.cluster.binaries import find_or_build_helm
from tests.cluster.kubectl import PATIENCE, KubectlFailed
from tests.e2e import accounts, aws, pods, standins
from tests.e2e.accounts import Beginning
from tests.e2e.conftest import NAME
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster, Programs
from tests.e2e.reading import Reader
from tests.e2e.teams import ALWAYS, build_app
from tests.hardware import packages
from tests.support import debian, guides
from tests.support.cache import cache_dir
from tests.support.clients import python
from tests.support.guides import Block
from tests.support.tools import build_or_skip
from tests.support.waiting import eventually

INSTALL: Final = guides.blocks("install-on-a-cluster.md")
FIRST: Final = guides.blocks("first-credentials.md")
AFTERWARDS: Final = ("Upgrade", "Uninstall")
WAYS: Final = ("By CloudFormation", "By aws commands")
TEAM: Final = "team-a"
# The image that the guide's pod names, and which has the program of that name here.
IMAGE: Final = "docker.io/amazon/aws-cli:2.31.0"

# Shorter than a profile can have it, so that a renewal is soon.
SESSION_SECONDS: Final = 60
RENEWS_SECONDS: Final = 180
# A pod in it may take its grace period, and its namespace what a busy machine takes.
GONE_SECONDS: Final = 240


@pytest.fixture(scope="module")
def alone(programs: Programs) -> Iterator[Cluster]:
    """A cluster of this module's own: what is installed into it is the guide's doing."""
    app = build_or_skip(build_app)
    with Cluster.running(f"{NAME}-guides", programs) as started:
        started.load(app, IMAGE)
        yield started


@pytest.fixture(scope="module")
def beginning(alone: Cluster) -> Iterator[Beginning]:
    """AWS with nothing in it."""
    with accounts.beginning(alone) as made:
        yield made


@pytest.fixture(scope="module")
def reader(
    alone: Cluster,
    programs: Programs,
    beginning: Beginning,
    tmp_path_factory: pytest.TempPathFactory,
) -> Reader:
    """Somebody in a checkout, with all that the guides say they take."""
    build_or_skip(lambda: debian.packages(*packages.GUIDES))
    for target in standins.TARGETS:
        build_or_skip(lambda target=target: images.project(target))  # type: ignore[misc]  # mypy has no type for it
    aws_clients = Path(build_or_skip(lambda: python("boto3"))[0])
    installed = Path(sys.executable)
    programs_folder = standins.lay_out(
        tmp_path_factory.mktemp("reader") / "bin", alone.sandbox.name,
        {
            "kubectl": programs.control_plane.kubectl,
            "helm": build_or_skip(find_or_build_helm),
            "aws": aws_clients.with_name("aws"),
            "rolesanywhere-operator": installed.with_name("rolesanywhere-operator"),
        },
    )  # fmt: skip
    environment = {
        "AWS_ENDPOINT_URL": beginning.url,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "of an administrator",
        "ROLESANYWHERE_CACHE": str(cache_dir()),
    }
    return Reader(alone, standins.ROOT, programs_folder, environment)


@pytest.fixture(scope="module")
def installed_by_guide(reader: Reader) -> str:
    """What the guide said while it was followed up to where it is about later days."""
    return reader.follow(guides.without(INSTALL, *AFTERWARDS))


@pytest.fixture
def bound(installed_by_guide: str, reader: Reader, beginning: Beginning, tmp_path: Path) -> Cluster:
    """The cluster, with the binding that the guide makes, whichever test has made it."""
    if not beginning.administration.policies:
        replace(reader, folder=tmp_path).follow(guides.without(FIRST, WAYS[0]))
    return reader.cluster


def test_the_operator_is_installed_as_the_guide_says(
    installed_by_guide: str, alone: Cluster
) -> None:
    assert "MalformedAnnotation" in installed_by_guide
    found = alone.kubectl.get("deployments", "--namespace=rolesanywhere")["items"]
    assert len(found) >= 2
    ready = {one["metadata"]["name"]: one["status"].get("readyReplicas") for one in found}
    assert ready == {one["metadata"]["name"]: one["spec"]["replicas"] for one in found}


def test_what_helm_prints_in_the_end_can_be_run_as_it_stands(
    installed_by_guide: str, reader: Reader
) -> None:
    _, _, notes = installed_by_guide.partition("\nNOTES:\n")
    commands = [Block("", found) for found in re.findall(r"^  (kubectl .+)$", notes, re.MULTILINE)]
    [probe] = [command for command in commands if "=perhaps" in command.shell]
    commands.remove(probe)

    assert len(commands) >= 4
    reader.follow(commands)
    with pytest.raises(AssertionError, match="MalformedAnnotation"):
        reader.follow([probe])


@pytest.mark.parametrize("way", WAYS)
def test_a_pod_has_its_first_credentials_as_the_guide_says(
    way: str, installed_by_guide: str, reader: Reader, beginning: Beginning, tmp_path: Path
) -> None:
    [other] = set(WAYS) - {way}
    policies = beginning.administration.policies
    if policies:
        _start_over(reader.cluster)
        policies.clear()
    granted = len(beginning.sessions)

    said = replace(reader, folder=tmp_path).follow(guides.without(FIRST, other))

    assert "assumed-role/reports/" in said
    [session] = beginning.sessions[granted:]
    assert session.session.source_identity == "reports"
    told = policies["reports"]
    assert told[-1]["Statement"][0]["Condition"] == {
        "ArnEquals": {"aws:SourceArn": _binding(reader.cluster)["spec"]["trustAnchorArn"]},
        "StringEquals": {"aws:PrincipalTag/x509Subject/CN": "reports"},
    }
    if way == "By CloudFormation":
        assert told[0] == told[-1], "the template trusts others than trust-policy prints"


def test_pods_keep_and_renew_their_credentials_after_upgrade_and_uninstall(
    bound: Cluster, reader: Reader, beginning: Beginning
) -> None:
    upgrade, uninstall, end = [one for one in INSTALL if one.heading in AFTERWARDS]
    beginning.shorten_sessions(SESSION_SECONDS)
    bound.apply(json.dumps(_caller("running")), namespace=TEAM)
    bound.kubectl("wait", "--for=condition=Ready", "pod/running", f"--namespace={TEAM}", PATIENCE)

    reader.follow([upgrade])
    reader.follow([uninstall])

    _renews(bound, beginning)
    assert _binding(bound)["metadata"]["name"] == "reports"
    bound.apply(json.dumps(_caller("later")), namespace=TEAM)
    later = bound.kubectl.get("pod/later", f"--namespace={TEAM}")
    assert SIDECAR_CONTAINER not in json.dumps(later["spec"])

    reader.follow([end])

    # A kubectl that knew the kind asks for it still, and one that has looked again does not.
    with pytest.raises(KubectlFailed, match=r"NotFound|doesn't have a resource type"):
        _binding(bound)
    _renews(bound, beginning)


def _start_over(cluster: Cluster) -> None:
    """What an earlier reader has made is taken away."""
    cluster.kubectl("delete", "namespace", TEAM, "--wait=false")
    eventually(
        "the namespace is gone",
        lambda: not cluster.kubectl("get", "namespace", TEAM, "--ignore-not-found"),
        within=GONE_SECONDS,
    )


def _binding(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.kubectl.get("rab/reports", f"--namespace={TEAM}")
    return found


def _caller(name: str) -> dict[str, Any]:
    made = pods.pod(name, pods.container("app", IMAGE, *ALWAYS))
    made["metadata"]["annotations"] = {"rolesanywhere.dev/binding": "reports"}
    return made


def _renews(cluster: Cluster, beginning: Beginning) -> None:
    """The pod that runs comes to call AWS by a session of later than now, and no call fails."""
    known = len(beginning.sessions)

    def told() -> list[dict[str, Any]]:
        log = cluster.kubectl("logs", "running", "--container=app", f"--namespace={TEAM}")
        return aws.said(log)

    eventually(
        "the app calls AWS by a later session",
        lambda: told()[-1].get("key") in {one.access_key_id for one in beginning.sessions[known:]},
        within=RENEWS_SECONDS,
    )
    assert [one for one in told() if "error" in one] == []
