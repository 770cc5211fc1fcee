"""The operator's commands as processes: what goes to which stream, and how they end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.operator.builders import a_pod, a_raw_binding

COMMAND = [sys.executable, "-m", "rolesanywhere_operator"]


def run(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        env={"HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def manifests(*objects: object) -> str:
    return yaml.safe_dump_all(objects)


def test_a_pod_is_explained_from_standard_input() -> None:
    done = run("explain", "-f", "-", stdin=manifests(a_pod(), a_raw_binding(namespace="default")))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Pod default/reports-0: injected, BindingSelected\n")


def test_a_refusal_is_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(manifests(a_pod(hostNetwork=True)))
    (tmp_path / "binding.yaml").write_text(manifests(a_raw_binding()))
    files = ("-f", tmp_path / "pod.yaml", "-f", tmp_path / "binding.yaml", "-n", "team-a")
    done = run("explain", *files)
    assert (done.returncode, done.stderr) == (1, "")
    done = run("explain", *files, "-o", "patch")
    assert (done.returncode, done.stdout) == (1, "")
    assert "refused, HostNetwork" in done.stderr


def test_no_answer_is_another_exit_code_and_one_line() -> None:
    for arguments in (("explain",), ("explain", "-f", "absent.yaml"), ("trust-policy",)):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        [line] = done.stderr.splitlines()
        assert line.startswith("rolesanywhere-operator: ")


def test_a_flag_that_is_none_is_a_usage_error() -> None:
    done = run("explain", "-o", "xml")
    assert done.returncode == 2
    assert "invalid choice: 'xml'" in done.stderr


def test_the_policy_alone_goes_where_a_file_is_made_of_it() -> None:
    done = run("trust-policy", "-f", "-", stdin=manifests(a_raw_binding()))
    assert done.returncode == 0
    assert json.loads(done.stdout)["Version"] == "2012-10-17"
    assert "needs:" in done.stderr
    assert "warning: nothing is known" in done.stderr


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(
            [*COMMAND, "trust-policy", "-f", "-"],
            input=manifests(a_raw_binding()),
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0
    assert "Broken" not in done.stderr
    assert "Exception" not in done.stderr


def test_help_fits_a_terminal_and_tells_the_exit_codes() -> None:
    for command in ("explain", "trust-policy"):
        done = subprocess.run(
            [*COMMAND, command, "--help"],
            env={"COLUMNS": "80"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert "Exit codes: 0" in done.stdout


def test_without_a_cluster_no_client_is_loaded() -> None:
    """The client takes a second to load; files are explained before that."""
    code = (
        "import sys; sys.argv[1:] = ['explain', '-f', '-'];"
        "from rolesanywhere_operator.__main__ import main; ended = main();"
        "sys.exit(ended or bool({'kubernetes', 'aiohttp', 'kopf'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=manifests(a_pod(), a_raw_binding(namespace="default")),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
