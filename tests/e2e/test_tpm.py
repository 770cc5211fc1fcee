"""A key in a node's TPM: pods are given the device by a device plugin of the kubelet.

The TPM is swtpm, and its device a stand-in too: `tests.e2e.tpms` says in what it differs.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from rolesanywhere_contract.names import IDENTITY_DIRECTORY, SIDECAR_CONTAINER
from tests.cluster.kubectl import KubectlFailed
from tests.e2e import tokens, tpms
from tests.e2e.aws import Aws
from tests.e2e.harness.cluster import Cluster
from tests.e2e.hsms import GROUP
from tests.e2e.installation import Installation
from tests.e2e.teams import Team, a_namespace, restarts
from tests.e2e.tpms import NodeTpm
from tests.e2e.workloads import EVERY_OTHER_SECOND
from tests.support.tools import build_or_skip
from tests.support.waiting import eventually

PATIENCE_SECONDS = 180.0
# What was granted to the certificates of the token, by their subject.
SUBJECT = "hardware"
# Three wrong PINs lock a TPM as it comes.
STARTS = 3
SIDECAR = f"--container={SIDECAR_CONTAINER}"
END = "import os; os.kill(1, 15)"

_LOOK = f"""
import json, os, stat
mode = lambda path: os.stat(path).st_mode if os.path.exists(path) else 0
print(json.dumps({{
    "user": [os.getuid(), os.getgid()],
    "device": stat.S_ISCHR(mode({tpms.DEVICE!r})),
    "store": os.path.exists({tpms.STORE!r}),
    "identity": os.path.exists({IDENTITY_DIRECTORY!r}),
    "told": sorted(name for name in os.environ if name.startswith(("TPM2_", "PKCS11_"))),
}}))
"""


@pytest.fixture(scope="module")
def tpm(cluster: Cluster, installed: Installation, aws_services: Aws) -> Iterator[NodeTpm]:
    """A TPM of the node, its device offered, and the chart's server before it."""
    with tpms.on_the_node(installed, aws_services, build_or_skip(tpms.prepare)) as made:
        yield made


@pytest.fixture(scope="module")
def restricted(cluster: Cluster, tpm: NodeTpm, aws_services: Aws, app_image: str) -> Iterator[Team]:
    """A restricted namespace whose pod ``report`` asks again and again, by the TPM's key.

    Its certificate is in a Secret; the plugin gives the store along with the device.
    """
    with a_namespace(cluster, enforce="restricted") as name:
        team = Team(cluster, aws_services, name, app_image)
        team.apply(tokens.pin(tpm.chip.token), tokens.certificate(tpm.chip.token, "reports"))
        secret = {"certificateSecretRef": {"name": "reports"}}
        bind(team, "reports", tpm.identity(tpms.WITH_STORE, tpms.STORE, **secret))
        asking = team.app("app", *EVERY_OTHER_SECOND)
        team.apply(team.pod("report", asking, binding="reports"))
        yield team


@pytest.fixture(scope="module")
def privileged(cluster: Cluster, tpm: NodeTpm, aws_services: Aws, app_image: str) -> Iterator[Team]:
    """A namespace whose pods may have folders of the node."""
    with a_namespace(cluster, enforce="privileged") as name:
        team = Team(cluster, aws_services, name, app_image)
        team.apply(tokens.pin(tpm.chip.token))
        yield team


def bind(team: Team, name: str, identity: Mapping[str, Any]) -> None:
    """A binding whose sessions tell which pod they are of."""
    team.bind(name, identity, roleSessionName="{namespace}.{pod}")


def granted(team: Team) -> list[str]:
    """The keys of sessions of a team's pods by the token's certificates, oldest first."""
    of_team = f"{team.namespace}."
    return [
        one.access_key_id
        for one in team.aws.sessions(SUBJECT)
        if one.session.session_name.startswith(of_team)
    ]


def in_container(team: Team, pod: str, container: str, program: str) -> str:
    """What a Python ``program`` says there."""
    return team.cluster.execute(
        pod, "python3", "-c", program, namespace=team.namespace, container=container
    )


def log(team: Team, pod: str) -> str:
    """What the sidecar's container of now has said so far."""
    return team.kubectl("logs", pod, SIDECAR, "--ignore-errors")


def has_restarted(pod: Mapping[str, Any], *, times: int) -> bool:
    """Whether the sidecar runs for the time after so many."""
    [sidecar] = pod["status"].get("initContainerStatuses") or [{}]
    return sidecar.get("restartCount") == times and "running" in sidecar["state"]


def test_a_restricted_pod_calls_aws_by_the_device(restricted: Team) -> None:
    restricted.ready("report", within=PATIENCE_SECONDS)
    assert restricted.answers("report")[0]["key"] in granted(restricted)


def test_the_sidecar_alone_has_device_store_and_pin(restricted: Team) -> None:
    restricted.ready("report", within=PATIENCE_SECONDS)

    def seen(container: str) -> Any:
        return json.loads(in_container(restricted, "report", container, _LOOK))

    assert seen(SIDECAR_CONTAINER) == {
        "user": [65532, GROUP],
        "device": True,
        "store": True,
        "identity": True,
        "told": ["PKCS11_SQL_LOCK", "TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI"],
    }
    app = seen("app")
    assert app.pop("user") != [65532, GROUP]
    assert app == {"device": False, "store": False, "identity": False, "told": []}


def test_credentials_stay_while_the_tpm_hangs_and_it_signs_when_it_is_back(
    restricted: Team, tpm: NodeTpm
) -> None:
    restricted.ready("report", within=PATIENCE_SECONDS)
    restricted.answers("report")
    before = len(granted(restricted))
    tpm.chip.freeze()
    try:
        restricted.apply(tokens.certificate(tpm.chip.token, "reports"))
        failed = '"session renewal failed"'
        eventually(
            "the sidecar misses the TPM",
            lambda: failed in log(restricted, "report"),
            within=PATIENCE_SECONDS,
        )
        so_far = len(restricted.said("report"))
        restricted.answers("report", more_than=so_far)
        assert len(granted(restricted)) == before
    finally:
        tpm.chip.thaw()

    def has_the_next() -> bool:
        new = granted(restricted)[before:]
        return bool(new) and restricted.said("report")[-1].get("key") == new[-1]

    eventually("the app has the next session", has_the_next, within=PATIENCE_SECONDS)
    assert [one for one in restricted.said("report") if "error" in one] == []
    assert restarts(restricted.get("pod/report")) == 0


def test_a_wrong_pin_costs_the_tpm_one_try_however_often_the_sidecar_starts(
    restricted: Team, tpm: NodeTpm
) -> None:
    before = tpm.chip.lockout_counter()
    restricted.apply(tokens.secret("wrong", {"pin": "4711"}))
    wrong = {"pinSecretRef": {"name": "wrong", "key": "pin"}}
    bind(restricted, "guessing", tpm.identity(tpms.WITH_STORE, tpms.STORE, **wrong))
    restricted.apply(restricted.pod("guess", binding="guessing"))
    for started in range(STARTS):
        if started:
            with suppress(KubectlFailed):  # The command may die with its container.
                in_container(restricted, "guess", SIDECAR_CONTAINER, END)
        restricted.when(
            "guess", partial(has_restarted, times=started), f"restarted {started} times"
        )
        eventually(
            "the sidecar says what is wrong",
            lambda: "PinIncorrect" in log(restricted, "guess"),
            within=PATIENCE_SECONDS,
        )
    assert tpm.chip.lockout_counter() == before + 1
    restricted.kubectl("delete", "pod/guess", "--wait=false")


def test_a_pod_calls_aws_by_the_device_and_a_store_of_the_node(
    privileged: Team, tpm: NodeTpm
) -> None:
    store = str(tpm.store)
    bind(privileged, "by-path", tpm.identity(tpms.RESOURCE, store, hostPaths=[store]))
    asking = privileged.app("app", *EVERY_OTHER_SECOND)
    privileged.apply(privileged.pod("path", asking, binding="by-path"))
    privileged.ready("path", within=PATIENCE_SECONDS)
    assert privileged.answers("path")[0]["key"] in granted(privileged)


def test_a_pod_calls_aws_by_the_charts_server_which_has_the_tpm(
    privileged: Team, tpm: NodeTpm
) -> None:
    bind(privileged, "by-server", tpm.hsm.identity())
    asking = privileged.app("app", *EVERY_OTHER_SECOND)
    privileged.apply(privileged.pod("server", asking, binding="by-server"))
    privileged.ready("server", within=PATIENCE_SECONDS)
    assert privileged.answers("server")[0]["key"] in granted(privileged)
