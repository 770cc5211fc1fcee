"""The command line, and what a process loads."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest


def operator(
    *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rolesanywhere_operator", *arguments],
        env=env or {},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_command_that_is_not_one_is_told_what_there_is() -> None:
    done = operator("webhok")
    assert done.returncode == 2
    assert "invalid choice: 'webhok' (choose from" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_tells_the_two_programs_apart() -> None:
    done = operator("--help")
    assert done.returncode == 0
    words = " ".join(done.stdout.split())
    assert "webhook give pods" in words
    assert "controller keep the status" in words


def test_every_wrong_setting_has_its_line() -> None:
    done = operator("webhook", env={"ROLESANYWHERE_OPERATOR_PORT": "x"})
    assert done.returncode == 2
    image, port = done.stderr.splitlines()
    assert image.startswith("rolesanywhere-operator: ROLESANYWHERE_OPERATOR_SIDECAR_IMAGE: is not")
    assert port.startswith("rolesanywhere-operator: ROLESANYWHERE_OPERATOR_PORT: 'x' is not a port")


def test_outside_a_cluster_and_without_a_kubeconfig_the_webhook_says_so() -> None:
    done = operator("webhook", env={"ROLESANYWHERE_OPERATOR_SIDECAR_IMAGE": "x"})
    assert done.returncode == 1
    assert "name a kubeconfig" in done.stderr


@pytest.mark.parametrize(
    "unwanted",
    [
        "kopf",
        # A seventh of its memory; only who makes certificates needs it.
        "cryptography",
        # Its reviews need no framework; the client's half of aiohttp is the API client's.
        "aiohttp.web",
        # An eighth: the API client's synchronous half, and what that needs.
        "kubernetes.client",
        "requests",
        "rolesanywhere_operator.cli",
    ],
)
def test_the_webhook_never_loads_what_it_does_not_need(unwanted: str) -> None:
    code = (
        "import sys, rolesanywhere_operator.__main__, rolesanywhere_operator.webhook.app;"
        f"sys.exit({unwanted!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_port_that_is_taken_is_named_in_one_line(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}],"
        " clusters: [{name: x, cluster: {server: 'http://127.0.0.1:9'}}],"
        " users: [{name: x, user: {}}]}"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = operator(
            "webhook",
            env={
                "KUBECONFIG": str(kubeconfig),
                "ROLESANYWHERE_OPERATOR_SIDECAR_IMAGE": "x",
                "ROLESANYWHERE_OPERATOR_ADDRESS": "127.0.0.1",
                "ROLESANYWHERE_OPERATOR_PROBE_PORT": str(port),
            },
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "address already in use" in line
    assert str(port) in line
