"""A key that stays in a node's HSM: pods without a key call AWS, whatever becomes of the server."""

from collections.abc import Callable, Iterator

import pytest

from rolesanywhere_contract.names import IDENTITY_DIRECTORY, SIDECAR_CONTAINER
from tests.cluster.kubectl import KubectlFailed
from tests.e2e import hsms
from tests.e2e.aws import Aws
from tests.e2e.harness.cluster import Cluster
from tests.e2e.hsms import Hsm
from tests.e2e.installation import Installation
from tests.e2e.teams import Team, a_namespace, restarts
from tests.e2e.workloads import EVERY_OTHER_SECOND
from tests.fakes.sessions import Issued
from tests.support.tools import build_or_skip
from tests.support.waiting import eventually

PATIENCE_SECONDS = 180.0
# What was granted to the certificates of the token, by their subject.
SUBJECT = "hardware"


@pytest.fixture(scope="module")
def hsm(cluster: Cluster, installed: Installation, aws_services: Aws) -> Iterator[Hsm]:
    """An HSM of the node, with the chart's server before it."""
    image = cluster.load(build_or_skip(hsms.vendors_image))
    with hsms.before_a_token(installed, aws_services, image) as made:
        yield made


@pytest.fixture(scope="module")
def served(cluster: Cluster, hsm: Hsm, aws_services: Aws, app_image: str) -> Iterator[Team]:
    """A privileged namespace whose pods ask AWS again and again, by the HSM's key.

    The certificate of ``report`` is in a Secret, that of ``token`` beside its key.
    """
    with a_namespace(cluster, enforce="privileged") as name:
        team = Team(cluster, aws_services, name, app_image)
        team.apply(hsm.pin(), hsm.certificate("reports"))
        # Its sessions tell which pod they are of.
        secret = {"certificateSecretRef": {"name": "reports"}}
        team.bind("reports", hsm.identity(**secret), roleSessionName="{namespace}.{pod}")
        team.bind("by-token", hsm.identity())
        asking = team.app("app", *EVERY_OTHER_SECOND)
        team.apply(
            team.pod("report", asking, binding="reports"),
            team.pod("token", asking, binding="by-token"),
        )
        yield team


@pytest.mark.parametrize("pod", ["report", "token"])
def test_a_pod_without_a_key_calls_aws(served: Team, pod: str) -> None:
    served.ready(pod, within=PATIENCE_SECONDS)
    first = served.answers(pod)[0]
    assert first["arn"] in [one.session.assumed_role_arn for one in served.aws.sessions(SUBJECT)]


def granted(served: Team, pod: str) -> list[Issued]:
    """The sessions of that pod alone, oldest first."""
    name = f"{served.namespace}.{pod}"
    return [one for one in served.aws.sessions(SUBJECT) if one.session.session_name == name]


def test_the_sidecar_has_the_pin_and_the_certificate_alone(served: Team, hsm: Hsm) -> None:
    served.ready("report", within=PATIENCE_SECONDS)
    look = f"import os; print(sorted(n for n in os.listdir('{IDENTITY_DIRECTORY}') if n[0] != '.'))"
    who = "import os; print(os.getuid(), os.getgid())"

    def told(code: str, container: str) -> str:
        return served.cluster.execute(
            "report", "python3", "-c", code, namespace=served.namespace, container=container
        ).strip()

    assert told(look, SIDECAR_CONTAINER) == "['pin', 'tls.crt']"
    assert told(who, SIDECAR_CONTAINER) == f"65532 {hsms.GROUP}"
    assert told(f"import os; print(os.path.exists('{IDENTITY_DIRECTORY}'))", "app") == "False"
    mounts = told("print(open('/proc/self/mounts').read())", "app")
    assert str(hsm.sockets) not in mounts
    assert "pkcs11" not in mounts


def test_credentials_stay_while_the_server_dies_and_the_next_one_signs(
    served: Team, hsm: Hsm
) -> None:
    served.ready("report", within=PATIENCE_SECONDS)
    served.answers("report")
    before = hsm.restarts()
    hsm.kill_the_server()
    eventually("the server is back", lambda: hsm.restarts() > before, within=PATIENCE_SECONDS)
    known = granted(served, "report")
    served.apply(hsm.certificate("reports"))

    def new_ones() -> list[Issued]:
        return granted(served, "report")[len(known) :]

    [new] = eventually("a session of the new certificate", new_ones, within=PATIENCE_SECONDS)
    eventually("the app has it", lambda: served.said("report")[-1].get("key") == new.access_key_id)
    assert [one for one in served.said("report") if "error" in one] == []
    assert restarts(served.get("pod/report")) == 0


def test_a_pod_that_comes_after_the_server_died_is_served(served: Team, hsm: Hsm) -> None:
    before = hsm.restarts()
    hsm.kill_the_server()
    eventually("the server is back", lambda: hsm.restarts() > before, within=PATIENCE_SECONDS)
    served.apply(served.pod("late", served.app("app", *EVERY_OTHER_SECOND), binding="by-token"))
    served.ready("late", within=PATIENCE_SECONDS)
    assert "arn" in served.answers("late")[0]


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_a_namespace_without_host_paths_is_told_what_it_lacks(
    hsm: Hsm, teams: Callable[..., Team], level: str
) -> None:
    team = teams(enforce=level)
    team.apply(hsm.pin())
    team.bind("reports", hsm.identity())
    with pytest.raises(KubectlFailed) as refused:
        team.apply(team.pod("report", binding="reports"))
    assert (
        f"identity.pkcs11 needs {hsm.sockets} of the node as a hostPath volume, which Pod Security"
        f" {level} of namespace {team.namespace} refuses" in str(refused.value)
    )


def test_a_folder_that_is_not_on_the_operators_list_is_given_to_nobody(
    served: Team, hsm: Hsm
) -> None:
    served.bind("vendor", hsm.identity(hostPaths=["/opt/vendor"]))
    with pytest.raises(
        KubectlFailed, match="needs /opt/vendor of the node, and the operator does not allow that"
    ):
        served.apply(served.pod("curious", binding="vendor"))
