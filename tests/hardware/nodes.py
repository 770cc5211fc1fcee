"""A node, as far as the chart's p11-kit server and an injected sidecar see one.

Runs what the rendered DaemonSet and the injected pod say, word by word, as the users that they
name, with the mounts that they name. Never runs a container: what an image has is this machine's.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rolesanywhere_operator.domain.identities import CLIENT_MODULE
from tests.chart.helm import render
from tests.cluster.processes import Process, running
from tests.hardware.p11kit import CLIENT
from tests.hardware.tokens import Token

SERVER_USER: Final = 65532
GROUP: Final = 2323
_TIMEOUT_SECONDS: Final = 60


def as_user(user: int, group: int, *supplementary: int) -> tuple[str, ...]:
    """As a kubelet starts a container with runAsUser and runAsGroup."""
    groups = f"--groups={','.join(map(str, supplementary))}" if supplementary else "--clear-groups"
    return ("setpriv", f"--reuid={user}", f"--regid={group}", groups)


def with_mounts(mounts: Mapping[str, Path], *, read_only: Sequence[str] = ()) -> tuple[str, ...]:
    """In a mount namespace whose /run has nothing but ``mounts``, folders by where they appear."""
    lines = ["mount --make-rprivate /", "mount -t tmpfs none /run", *_python_for_all()]
    for inside, folder in mounts.items():
        lines += [f"mkdir -p {inside}", f"mount --bind {folder} {inside}"]
        if inside in read_only:
            lines += [f"mount -o remount,bind,ro {inside}"]
    return ("unshare", "--mount", "sh", "-c", " && ".join([*lines, 'exec "$@"']), "sh")


def _python_for_all() -> list[str]:
    """What lets other users reach this Python, which may lie where only root is let in."""
    home, aside = Path(sys.base_prefix), "/run/python"
    closed = next((one for one in reversed(home.parents) if not one.stat().st_mode & 0o001), None)
    if closed is None:
        return []
    return [
        f"mkdir {aside}", f"mount --bind {home} {aside}",
        f"mount -t tmpfs -o mode=755 none {closed}",
        f"mkdir -p {home}", f"mount --bind {aside} {home}",
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """One that ``pod``, of the chart's p11-kit server, is scheduled to."""

    folder: Path
    pod: Any
    config: Mapping[str, str]

    @property
    def container(self) -> Any:
        return self.pod["containers"][0]

    @property
    def sockets(self) -> Path:
        """The folder that the server's socket is in."""
        [path] = [one["hostPath"]["path"] for one in self.pod["volumes"] if one["name"] == "socket"]
        return Path(path)

    @property
    def environment(self) -> dict[str, str]:
        told = {one["name"]: one["value"] for one in self.container["env"]}
        return {"PATH": os.environ["PATH"], **told}

    def prepare(self) -> None:
        """What the kubelet does for a hostPath, and then the init container."""
        self.sockets.mkdir(exist_ok=True)
        [first] = self.pod["initContainers"]
        context = first["securityContext"]
        kept = ",".join(f"+{name.lower()}" for name in context["capabilities"]["add"])
        root = ("setpriv", f"--bounding-set=-all,{kept}", f"--inh-caps=-all,{kept}")
        subprocess.run(
            [*root, *first["command"], *first["args"]], check=True, timeout=_TIMEOUT_SECONDS
        )

    @contextmanager
    def served(self) -> Iterator[Process]:
        """The server, up to the end of its postStart hook."""
        context = self.pod["securityContext"]
        by = as_user(context["runAsUser"], context["runAsGroup"])
        command = [*self.container["command"], *self.container["args"]]
        with running(
            [*self._with_groups(), *by, *command], logs=self.folder, env=self.environment
        ) as process:
            hook = self.container["lifecycle"]["postStart"]["exec"]["command"]
            subprocess.run([*by, *hook], check=True, timeout=_TIMEOUT_SECONDS)
            yield process

    def _with_groups(self) -> tuple[str, ...]:
        [mount] = [one for one in self.container["volumeMounts"] if one["name"] == "groups"]
        file = self.folder / mount["subPath"]
        file.write_text(self.config[mount["subPath"]])
        script = f'mount --make-rprivate / && mount --bind {file} {mount["mountPath"]} && exec "$@"'
        return ("unshare", "--mount", "sh", "-c", script, "sh")

    def probed(self) -> subprocess.CompletedProcess[str]:
        """What the liveness probe says."""
        context = self.pod["securityContext"]
        python, *rest = self.container["livenessProbe"]["exec"]["command"]
        assert python == "python3"
        assert self.container["readinessProbe"]["exec"] == self.container["livenessProbe"]["exec"]
        here = [word.replace(CLIENT_MODULE, str(CLIENT)) for word in rest]
        by = as_user(context["runAsUser"], context["runAsGroup"])
        return subprocess.run(
            [*with_mounts({}), *by, sys.executable, *here], env=self.environment,
            capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip


def node(helm: Path, token: Token, folder: Path) -> Node:
    """A node with ``token``, which the chart is told of in its values."""
    values = {
        "enabled": True,
        "token": f"pkcs11:token={token.label}",
        "module": str(token.module),
        "socketDirectory": str(folder / "sockets"),
        "user": SERVER_USER,
        "group": GROUP,
        "env": [{"name": name, "value": value} for name, value in token.env.items()],
    }
    made = render(
        helm, namespace="hsm", values={"pkcs11Server": values}, only=["pkcs11/server.yaml"]
    )
    kinds = {one["kind"]: one for one in made}
    pod = kinds["DaemonSet"]["spec"]["template"]["spec"]
    return Node(folder, pod, kinds["ConfigMap"]["data"])
