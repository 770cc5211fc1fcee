"""What a kubelet does with one container, done here to a plain process.

The container's own command, arguments and environment, its volumes at their mount paths, its
startup probe and its SIGTERM. What needs a container runtime (images, other users, cgroups) is
left out; where mounts are not permitted, the mount paths are moved to a folder, and `Node.moved`
says so.
"""

import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_REFERENCE: Final = re.compile(r"\$(\$)?\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")

# A pod waits for its turn in a fleet for an hour; nobody at a demo does.
PATIENCE_ATTEMPTS: Final = 12


class KubeletError(Exception):
    """What a kubelet would put into the pod's Events."""


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by what is known of it, as Kubernetes documents for ``env`` and ``args``.

    ``$$(NAME)`` is the escaped form, and an unknown name is left as it stands.
    """

    def value(reference: re.Match[str]) -> str:
        escaped, name = reference.groups()
        whole = reference.group()
        return whole[1:] if escaped else known.get(name, whole)

    return _REFERENCE.sub(value, text)


def environment(container: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, str]:
    """The container's ``env`` with references to the pod's own fields and variables resolved."""
    found: dict[str, str] = {}
    for variable in container.get("env") or []:
        reference = variable.get("valueFrom", {}).get("fieldRef")
        text = (
            _field(pod, reference["fieldPath"])
            if reference
            else expand(variable.get("value", ""), found)
        )
        found[variable["name"]] = text
    return found


def _field(pod: Mapping[str, Any], path: str) -> str:
    value: Any = pod
    for key in path.split("."):
        if key not in value:
            raise KubeletError(f"the pod has no {path}")
        value = value[key]
    return str(value)


def write_secret(folder: Path, data: Mapping[str, bytes]) -> None:
    """Put a Secret's content into a volume as a kubelet does: at once, by swapping ``..data``."""
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    fresh.chmod(0o755)
    for name, content in data.items():
        (fresh / name).write_bytes(content)
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    swap = folder / "..data_tmp"
    swap.symlink_to(fresh.name)
    swap.replace(folder / "..data")


@dataclass(frozen=True, slots=True)
class Node:
    """A folder that plays the node: the volumes of one pod, and how containers come to see them."""

    folder: Path
    moved: bool
    _namespaces: Sequence[str] = field(default=())

    @classmethod
    def at(cls, folder: Path) -> "Node":
        """A node in ``folder``, with real mounts where this user may make them."""
        for namespaces in (("--mount",), ("--mount", "--user", "--map-root-user")):
            if _may_mount(namespaces):
                return cls(folder, moved=False, _namespaces=namespaces)
        return cls(folder, moved=True)

    def volume(self, name: str) -> Path:
        """The folder of the pod's volume ``name``, made when it is not there."""
        path = self.folder / "volumes" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def run(
        self,
        container: Mapping[str, Any],
        pod: Mapping[str, Any],
        *,
        entrypoint: Sequence[str],
        image_env: Mapping[str, str],
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a container for the length of the block; it is killed if it is still there after.

        ``entrypoint`` and ``image_env`` are what its image would bring.
        """
        known = environment(container, pod)
        command = [*(container.get("command") or entrypoint)]
        command += [expand(text, known) for text in container.get("args") or []]
        mounts = {
            mount["mountPath"]: self.volume(mount["name"])
            for mount in container.get("volumeMounts") or []
        }
        log = self.log(container)
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._seeing(mounts, command),
                env={**image_env, **self._moved(known, mounts)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def log(self, container: Mapping[str, Any]) -> Path:
        """Where the container's output goes: one file, the newest run alone."""
        return self.folder / f"{container['name']}.log"

    def _seeing(self, mounts: Mapping[str, Path], command: Sequence[str]) -> list[str]:
        if self.moved:
            return list(command)
        # An empty /var/run of its own first, so that nothing is made on this machine's.
        run = Path("/var/run").resolve()
        steps = [f"mount -t tmpfs tmpfs {run}"]
        for target, volume in mounts.items():
            steps.append(f"mkdir -p {shlex.quote(target)}")
            steps.append(f"mount --bind {shlex.quote(str(volume))} {shlex.quote(target)}")
        script = " && ".join([*steps, 'exec "$@"'])
        return ["unshare", *self._namespaces, "sh", "-ec", script, "container", *command]

    def _moved(self, env: Mapping[str, str], mounts: Mapping[str, Path]) -> dict[str, str]:
        if not self.moved:
            return dict(env)
        # Longest first: one mount path may be the beginning of another.
        for target in sorted(mounts, key=len, reverse=True):
            env = {name: _relocated(text, target, mounts[target]) for name, text in env.items()}
        return dict(env)


def _relocated(text: str, target: str, volume: Path) -> str:
    if text != target and not text.startswith(f"{target}/"):
        return text
    return f"{volume}{text.removeprefix(target)}"


def _may_mount(namespaces: Sequence[str]) -> bool:
    attempt = ["unshare", *namespaces, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(attempt, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def await_startup(
    container: Mapping[str, Any], process: subprocess.Popen[bytes], *, env: Mapping[str, str]
) -> int:
    """Run the container's startup probe as its own fields say; the number of attempts it took.

    Its command runs with the container's ``env``. Raises `KubeletError` when the container ends or
    its patience (``failureThreshold``, or ours) does.
    """
    probe = container["startupProbe"]
    time.sleep(probe.get("initialDelaySeconds", 0))
    said = "nothing"
    for attempt in range(1, min(probe.get("failureThreshold", 3), PATIENCE_ATTEMPTS) + 1):
        if process.poll() is not None:
            raise KubeletError(f"the container ended with {process.returncode} before it was ready")
        succeeded, said = _probed(probe, env)
        if succeeded:
            return attempt
        time.sleep(probe.get("periodSeconds", 10))
    raise KubeletError(f"Startup probe failed: {said}")


def _probed(probe: Mapping[str, Any], env: Mapping[str, str]) -> tuple[bool, str]:
    command = probe["exec"]["command"]
    try:
        done = subprocess.run(
            command,
            env=env,
            capture_output=True,
            timeout=probe.get("timeoutSeconds", 1),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"command timed out: {shlex.join(command)}"
    return done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace").strip()
