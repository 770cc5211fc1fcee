"""Pods as people have them call AWS from their first moment, under Pod Security "restricted".

All are made at once; each case then waits for its own.
"""

from collections.abc import Iterator

import pytest

from rolesanywhere_contract.names import IDENTITY_DIRECTORY, SIDECAR_CONTAINER
from tests.cluster.kubectl import KubectlFailed
from tests.e2e import pods
from tests.e2e.aws import Aws
from tests.e2e.harness.cluster import Cluster
from tests.e2e.installation import Installation
from tests.e2e.teams import Team, a_namespace, restarts
from tests.e2e.workloads import (
    BINDING,
    BY_ENDPOINT,
    EVERY_OTHER_SECOND,
    PATIENCE_SECONDS,
    WORKLOADS,
    Workload,
    as_root,
    deployment,
    heard,
    pods_of,
)
from tests.fakes.world import ACCOUNT
from tests.support.waiting import eventually

ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/reports"
ROTATED = "rotated"


@pytest.fixture(scope="module")
def town(
    cluster: Cluster, installed: Installation, aws_services: Aws, app_image: str
) -> Iterator[Team]:
    """A restricted namespace in which every workload has been made."""
    with a_namespace(cluster, enforce="restricted") as name:
        team = Team(cluster, aws_services, name, app_image)
        team.bind(BINDING)
        team.bind(ROTATED)
        everything = [one.write(team, one.name) for one in WORKLOADS]
        refused = deployment(team, "host-network", hostNetwork=True)
        rotated = team.pod("rotated", team.app("app", *EVERY_OTHER_SECOND), binding=ROTATED)
        team.apply(pods.items(*everything, refused, rotated))
        yield team


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one.name)
def test_an_app_calls_aws_at_its_first_try(town: Team, workload: Workload) -> None:
    for container in workload.speaking:
        told = heard(town, workload.name, container, pods=workload.pods)
        seen = [{**one, "arn": (one["arn"] or "").rpartition("/")[0]} for one in told]
        way = {} if workload.by is None else {"by": workload.by}
        assert seen == [{"arn": ROLE, **way}] * workload.pods


@pytest.mark.parametrize("name", ["job", "cron-job", "aws-cli"])
def test_a_job_completes_though_its_sidecar_would_run_on(town: Team, name: str) -> None:
    def completed() -> list[str]:
        return [
            job["metadata"]["name"]
            for job in town.get("jobs")["items"]
            if job["metadata"]["name"].startswith(name)
            and any(
                one["type"] == "Complete" and one["status"] == "True"
                for one in job["status"].get("conditions", [])
            )
        ]

    # A CronJob's oldest ones are taken away.
    [*_, last] = eventually(f"{name} is complete", completed, within=PATIENCE_SECONDS)
    [pod] = town.get("pods", f"--selector=batch.kubernetes.io/job-name={last}")["items"]
    [sidecar] = pod["status"]["initContainerStatuses"]
    assert sidecar["state"]["terminated"]["exitCode"] == 0


def test_a_container_that_was_not_chosen_is_nobody(town: Team) -> None:
    [told] = heard(town, "one-of-several", "other")
    assert told == {"arn": None, "by": None}


def test_no_app_and_no_sidecar_has_had_to_start_twice(town: Team) -> None:
    for workload in WORKLOADS:
        heard(town, workload.name, pods=workload.pods)
    running = [one for workload in WORKLOADS for one in pods_of(town, workload.name)]
    containers = [
        (pod["metadata"]["name"], container["name"], container["restartCount"])
        for pod in running
        for part in ("initContainerStatuses", "containerStatuses")
        for container in pod["status"].get(part, [])
    ]
    assert len(containers) >= 2 * len(WORKLOADS)
    assert [one for one in containers if one[2]] == []


def test_the_key_is_in_the_sidecar_alone(town: Team) -> None:
    heard(town, "fs-group")
    names = f"import os; print(os.path.exists('{IDENTITY_DIRECTORY}/tls.key'), os.getuid())"

    def looked(container: str) -> str:
        return town.cluster.execute(
            "fs-group", "python3", "-c", names, namespace=town.namespace, container=container
        )

    assert looked("app") == "False 1000660000\n"
    assert looked(SIDECAR_CONTAINER) == "True 65532\n"


def test_the_namespace_would_have_refused_what_is_not_restricted(town: Team) -> None:
    careless = pods.pod("careless", pods.container("app", town.image, "true"))
    with pytest.raises(KubectlFailed, match='violates PodSecurity "restricted'):
        town.apply(careless)


def test_a_deployment_with_host_network_is_told_why_it_gets_no_pods(town: Team) -> None:
    def events() -> list[str]:
        return [
            one["message"]
            for one in town.get("events", "--field-selector=reason=FailedCreate")["items"]
            if one["involvedObject"]["kind"] == "ReplicaSet"
            and one["involvedObject"]["name"].startswith("host-network-")
        ]

    told = eventually("an Event tells it", events, within=PATIENCE_SECONDS)
    for message in told:
        assert (
            "the pod has hostNetwork, so every process of the node could reach its credentials;"
            " run it without hostNetwork" in message
        )
    assert pods_of(town, "host-network") == []


def test_a_running_sidecar_takes_a_new_certificate_from_its_secret(town: Team) -> None:
    town.ready("rotated", within=PATIENCE_SECONDS)
    town.answers("rotated")
    fresh = town.identity(ROTATED)
    town.keep(f"{ROTATED}-tls", fresh)

    def of_the_new_one() -> list[str]:
        return [
            one.session.assumed_role_arn
            for one in town.sessions(ROTATED)
            if one.session.serial_number == fresh.certificate.serial_number
        ]

    [arn, *_] = eventually(
        "a session of the new certificate", of_the_new_one, within=PATIENCE_SECONDS
    )
    eventually("the app has it", lambda: town.said("rotated")[-1].get("arn") == arn)
    told = town.said("rotated")
    assert [one for one in told if "error" in one] == []
    assert told[0]["arn"] != arn
    assert restarts(town.get("pod/rotated")) == 0


def test_an_app_that_is_root_is_served_where_root_may_run(cluster: Cluster, town: Team) -> None:
    with a_namespace(cluster, enforce="privileged") as name:
        team = Team(cluster, town.aws, name, town.image)
        team.bind(BINDING)
        team.apply(as_root(team, "root"))
        [told] = heard(team, "root")
        assert (told["arn"].rpartition("/")[0], told["by"]) == (ROLE, BY_ENDPOINT)
