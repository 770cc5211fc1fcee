"""Applications of every kind that Kubernetes runs, as a team writes them.

Each asks AWS who it is the moment it starts, and only once: what is not there then is missed, and
no restart of an app gets a second try.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster.kubectl import KubectlFailed
from tests.e2e import aws
from tests.e2e.teams import IDLE, RESTRICTED, Team
from tests.support.waiting import eventually

BINDING: Final = "reports"
# What boto3 calls its two ways to the sidecar.
BY_ENDPOINT: Final = "container-role"
BY_IMDS: Final = "iam-role"

# Many pods start at once, on a machine that may be busy with other things.
PATIENCE_SECONDS: Final = 300.0

# An app that takes credentials of the sidecar again and again, and leaves others their turn.
EVERY_OTHER_SECOND: Final = ("python3", "/app/whoami.py", "2", "anew")

# As users and groups of a shop that gives each namespace a range of its own.
ODD_USER: Final = 1000660000
LARGEST_ID: Final = 2**31 - 1

Manifest = dict[str, Any]

_ASK: Final = """
import json, os, signal, sys
if "imds" in sys.argv:
    for name in [name for name in os.environ if name.startswith("AWS_CONTAINER_")]:
        del os.environ[name]
import boto3, botocore.utils
botocore.utils.ContainerMetadataFetcher.RETRY_ATTEMPTS = 1
said = {"arn": None, "by": None}
try:
    session = boto3.Session()
    if found := session.get_credentials():
        said["by"] = found.method
        said["arn"] = session.client("sts").get_caller_identity()["Arn"]
except Exception as failed:
    said["error"] = f"{type(failed).__name__}: {failed}"
print(json.dumps(said), flush=True)
if "stay" in sys.argv:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.sigwait({signal.SIGTERM})
    sys.exit(0)
sys.exit(said["arn"] is None)
"""
_CLI: Final = """
arn=$(aws sts get-caller-identity --query Arn --output text)
echo "{\\"arn\\": \\"$arn\\"}"
test -n "$arn"
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """``write`` makes what is applied, under ``name``, which is also its pods' label.

    In each of its ``pods`` the containers ``speaking`` ask AWS, ``by`` the way that boto3 names.
    """

    name: str
    write: Callable[[Team, str], Manifest]
    speaking: Sequence[str] = ("app",)
    pods: int = 1
    by: str | None = BY_ENDPOINT


def staying(team: Team, name: str = "app", *how: str, **more: Any) -> Manifest:
    """A container that asks at once, and then runs until it is told to end."""
    return team.app(name, "python3", "-c", _ASK, "stay", *how, **more)


def ending(team: Team, name: str = "app") -> Manifest:
    """A container that asks at once and ends, well or not as the answer is."""
    return team.app(name, "python3", "-c", _ASK)


def pod(team: Team, name: str, *containers: Manifest, **spec: Any) -> Manifest:
    """A pod that asks for credentials, of one app unless told otherwise."""
    return team.pod(name, *(containers or [staying(team)]), binding=BINDING, **spec)


def template(team: Team, name: str, *containers: Manifest, **spec: Any) -> Manifest:
    """The same, as what makes pods has it."""
    made = pod(team, name, *containers, **spec)
    del made["metadata"]["name"]
    return {"metadata": made["metadata"], "spec": made["spec"]}


def deployment(team: Team, name: str, *, replicas: int = 1, **spec: Any) -> Manifest:
    """A Deployment of one app."""
    return _made("apps/v1", "Deployment", name, {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": template(team, name, **spec),
    })  # fmt: skip


def _stateful_set(team: Team, name: str) -> Manifest:
    return _made("apps/v1", "StatefulSet", name, {
        "serviceName": name,
        "selector": {"matchLabels": {"app": name}},
        "template": template(team, name),
    })  # fmt: skip


def _daemon_set(team: Team, name: str) -> Manifest:
    return _made("apps/v1", "DaemonSet", name, {
        "selector": {"matchLabels": {"app": name}},
        "template": template(team, name),
    })  # fmt: skip


def _once(team: Team, name: str, app: Manifest | None = None) -> Manifest:
    """What a Job is: nobody tries again. Its sidecar has the usual time to end."""
    made = template(
        team, name, app or ending(team), restartPolicy="Never", terminationGracePeriodSeconds=30
    )
    return {"backoffLimit": 0, "template": made}


def _job(team: Team, name: str) -> Manifest:
    return _made("batch/v1", "Job", name, _once(team, name))


def _cron_job(team: Team, name: str) -> Manifest:
    spec = {"schedule": "* * * * *", "jobTemplate": {"spec": _once(team, name)}}
    return _made("batch/v1", "CronJob", name, {**spec, "concurrencyPolicy": "Forbid"})


def _aws_cli(team: Team, name: str) -> Manifest:
    return _made("batch/v1", "Job", name, _once(team, name, team.app("app", "sh", "-c", _CLI)))


def _imds(team: Team, name: str) -> Manifest:
    return pod(team, name, staying(team, "app", "imds"))


def _init_container(team: Team, name: str) -> Manifest:
    return pod(team, name, initContainers=[ending(team, "first")])


def _own_sidecars(team: Team, name: str) -> Manifest:
    mesh = staying(team, "mesh", restartPolicy="Always")
    logs = {**team.app("logs", *IDLE), "restartPolicy": "Always"}
    return pod(team, name, initContainers=[mesh, logs])


def _one_of_several(team: Team, name: str) -> Manifest:
    made = pod(team, name, staying(team, "other"), staying(team, "app"), team.app("idle", *IDLE))
    made["metadata"]["annotations"]["rolesanywhere.dev/containers"] = "app"
    return made


def _fs_group(team: Team, name: str) -> Manifest:
    who = {"runAsUser": ODD_USER, "runAsGroup": ODD_USER, "fsGroup": ODD_USER}
    return pod(team, name, securityContext={**who, "supplementalGroups": [5000]})


def _largest_ids(team: Team, name: str) -> Manifest:
    who = {"runAsUser": LARGEST_ID, "runAsGroup": LARGEST_ID, "fsGroup": LARGEST_ID}
    return pod(team, name, securityContext=who)


def _read_only(team: Team, name: str) -> Manifest:
    context = {**RESTRICTED, "readOnlyRootFilesystem": True}
    return pod(team, name, {**staying(team), "securityContext": context})


def as_root(team: Team, name: str) -> Manifest:
    """An app that is root, which no restricted namespace takes."""
    return pod(team, name, {**staying(team), "securityContext": {"runAsUser": 0}})


WORKLOADS: Final[Sequence[Workload]] = (
    Workload("deployment", lambda team, name: deployment(team, name, replicas=2), pods=2),
    Workload("stateful-set", _stateful_set),
    Workload("daemon-set", _daemon_set),
    Workload("job", _job),
    Workload("cron-job", _cron_job),
    Workload("aws-cli", _aws_cli, by=None),
    Workload("imds", _imds, by=BY_IMDS),
    Workload("init-container", _init_container, speaking=("first", "app")),
    Workload("own-sidecars", _own_sidecars, speaking=("mesh", "app")),
    Workload("one-of-several", _one_of_several),
    Workload("fs-group", _fs_group),
    Workload("largest-ids", _largest_ids),
    Workload("read-only-root", _read_only),
)


def pods_of(team: Team, name: str) -> list[Manifest]:
    """The pods that there are of a workload."""
    found: list[Manifest] = team.get("pods", f"--selector=app={name}")["items"]
    return found


def heard(team: Team, name: str, container: str = "app", *, pods: int = 1) -> list[dict[str, Any]]:
    """What that container of so many pods has said. Raises `NeverHappened`, with why."""

    def look() -> list[dict[str, Any]] | None:
        try:
            log = team.kubectl(
                "logs", f"--selector=app={name}", f"--container={container}", "--tail=-1"
            )
        except KubectlFailed:  # It has not started.
            return None
        told = aws.said(log)
        return told if len(told) >= pods else None

    try:
        found: list[dict[str, Any]] = eventually(
            f"{container} of {pods} pods {name} has called AWS", look, within=PATIENCE_SECONDS
        )
    except AssertionError as never:
        stories = [team.story(one["metadata"]["name"]) for one in pods_of(team, name)]
        raise AssertionError("\n".join([str(never), *stories])) from None
    return found[:pods]


def _made(version: str, kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
