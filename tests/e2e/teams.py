"""A namespace as the people have it for whom the operator is: bindings, identities and pods.

Its pods pass Pod Security "restricted", unless a test says otherwise; their apps speak to AWS by an
SDK of AWS's own.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from rolesanywhere_contract.names import SIDECAR_CONTAINER
from tests.cluster.kubectl import PATIENCE, KubectlFailed
from tests.e2e import aws, pods
from tests.e2e.aws import Aws
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster
from tests.e2e.harness.images import Image
from tests.fakes.pki import Identity
from tests.fakes.sessions import Issued
from tests.support.waiting import eventually

# What Pod Security "restricted" asks of a container.
RESTRICTED: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
ONCE: Final = ("python3", "/app/whoami.py")
# As an application that starts anew each time, so that each call takes credentials of the sidecar.
ALWAYS: Final = ("python3", "/app/whoami.py", "0.3", "anew")
PATIENT: Final = (*ALWAYS, "patiently")
IDLE: Final = ("sleep", "infinity")

# Another cluster and another tier of tests may share two cores with this one.
READY_SECONDS: Final = 180.0

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Team:
    """``namespace`` in ``cluster``; ``image`` is on the node and has the apps' program."""

    cluster: Cluster
    aws: Aws
    namespace: str
    image: str

    # What a team writes.

    def subject(self, name: str) -> str:
        """The common name in certificates of this team's ``name``; no other team has it."""
        return f"{name}.{self.namespace}"

    def identity(self, name: str) -> Identity:
        """A new key and certificate of the `subject` ``name``, which AWS trusts."""
        return self.aws.identity(self.subject(name))

    def keep(self, name: str, identity: Identity) -> None:
        """Write a Secret with a certificate and its key."""
        self.apply(aws.tls_secret(name, identity))

    def bind(self, name: str, identity: Mapping[str, Any] | None = None, **spec: Any) -> None:
        """Write a binding; without ``identity`` with a new one, its own, in a Secret."""
        if identity is None:
            self.keep(f"{name}-tls", self.identity(name))
            identity = {"secret": {"name": f"{name}-tls"}}
        self.apply(self.aws.binding(name, identity, **spec))

    def report(self, command: Sequence[str] = ALWAYS, **spec: Any) -> None:
        """Have the app of a pod ``report`` call AWS from now on, by a binding ``reports``."""
        self.bind("reports", **spec)
        self.apply(self.pod("report", self.app("app", *command), binding="reports"))
        self.ready("report")
        self.answers("report")

    def app(self, name: str = "app", *command: str, **more: Any) -> Manifest:
        """A container that asks AWS who it is, again and again unless told another ``command``."""
        return pods.container(
            name, self.image, *(command or ALWAYS),
            env=[*self.aws.environment(), {"name": "AWS_MAX_ATTEMPTS", "value": "1"}],
            securityContext=dict(RESTRICTED), **more,
        )  # fmt: skip

    def pod(self, name: str, *containers: Manifest, binding: str, **more: Any) -> Manifest:
        """A pod that asks for credentials of ``binding``; of one app unless told otherwise."""
        made = pods.pod(name, *(containers or [self.app()]), **more)
        made["metadata"]["annotations"] = {"rolesanywhere.dev/binding": binding}
        return made

    def apply(self, *manifests: Manifest) -> None:
        """Write objects into the namespace. Raises `KubectlFailed` where they are refused."""
        for manifest in manifests:
            self.cluster.apply(json.dumps(manifest), namespace=self.namespace)

    # What it looks at.

    def get(self, what: str, *more: str) -> Any:
        """``kubectl get`` of the namespace, parsed."""
        return self.cluster.kubectl.get(what, f"--namespace={self.namespace}", *more)

    def kubectl(self, *arguments: str) -> str:
        """``kubectl`` in the namespace."""
        return self.cluster.kubectl(*arguments, f"--namespace={self.namespace}")

    def ready(self, pod: str, *, within: float = READY_SECONDS) -> Manifest:
        """The pod, once it is Ready. Raises `NeverHappened`, with why."""
        return self.when(pod, lambda seen: _condition(seen, "Ready") == "True", "Ready", within)

    def ended(self, pod: str, *, within: float = READY_SECONDS) -> Manifest:
        """The pod, once all of its containers have ended well."""
        return self.when(
            pod, lambda seen: seen["status"].get("phase") == "Succeeded", "ended", within
        )

    def when(self, pod: str, holds: Any, what: str, within: float = READY_SECONDS) -> Manifest:
        """The pod, once ``holds`` is true of it."""

        def look() -> Manifest | None:
            seen: Manifest = self.get(f"pod/{pod}")
            return seen if holds(seen) else None

        try:
            found: Manifest = eventually(f"pod {pod} is {what}", look, within=within)
        except AssertionError as never:
            raise AssertionError(f"{never}\n{self.story(pod)}") from None
        return found

    def story(self, pod: str) -> str:
        """What is known of a pod, for the reader of a failure."""
        log = f"--container={SIDECAR_CONTAINER}"
        asked: Sequence[Sequence[str]] = (
            ("get", f"pod/{pod}", "--output=jsonpath={.status}"),
            ("events", f"--for=pod/{pod}"),
            ("logs", pod, log, "--tail=20", "--ignore-errors"),
        )
        return "\n".join(self._asked(*words) for words in asked)

    def said(self, pod: str, container: str = "app") -> list[dict[str, Any]]:
        """What an app has told so far, an entry for each call of AWS; none before it has begun."""
        try:
            return aws.said(self.kubectl("logs", pod, f"--container={container}"))
        except KubectlFailed as failed:
            if "is waiting to start" not in str(failed):
                raise
            return []

    def answers(self, pod: str, container: str = "app", *, more_than: int = 0) -> Any:
        """What an app has told, once there is more of it than that."""
        return eventually(
            f"{pod} has called AWS more than {more_than} times",
            lambda: len(told := self.said(pod, container)) > more_than and told,
            within=READY_SECONDS,
        )

    def sessions(self, name: str) -> list[Issued]:
        """What AWS has granted to certificates of the `subject` ``name``, oldest first."""
        return self.aws.sessions(self.subject(name))

    def conditions(self, binding: str) -> dict[str, tuple[str, str]]:
        """Status and reason of each condition of a binding, by its type."""
        status = self.get(f"rab/{binding}").get("status", {})
        return {one["type"]: (one["status"], one["reason"]) for one in status.get("conditions", [])}

    def bound(self, binding: str, *, within: float = READY_SECONDS) -> None:
        """Return once the binding is Ready, which a controller says. Raises `NeverHappened`."""
        eventually(
            f"binding {binding} is Ready",
            lambda: self.conditions(binding).get("Ready", ("",))[0] == "True",
            within=within,
        )

    def _asked(self, *words: str) -> str:
        try:
            return self.kubectl(*words)
        except Exception as failed:  # A story is told as far as it is known.
            return str(failed)


@contextmanager
def a_namespace(cluster: Cluster, *, enforce: str) -> Iterator[str]:
    """A new one's name, in which pods can be made; it may enforce a level of Pod Security."""
    name = f"e2e-{uuid4().hex[:8]}"
    cluster.apply(json.dumps(pods.namespace(name, enforce=enforce)))
    try:
        cluster.kubectl(
            "wait", "--for=create", "serviceaccount/default", f"--namespace={name}", PATIENCE
        )
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def build_app() -> Image:
    """The image of the apps: AWS's SDK for Python and command line. Raises `ToolMissing`."""
    return images.build(Path(__file__).with_name("app"), name="e2e-app")


def restarts(pod: Manifest, container: str = SIDECAR_CONTAINER) -> int:
    """How often a container of the pod was started again."""
    status = pod["status"]
    every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return next(int(one["restartCount"]) for one in every if one["name"] == container)


def _condition(pod: Manifest, kind: str) -> str:
    conditions = pod["status"].get("conditions", [])
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "")
