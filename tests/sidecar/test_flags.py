"""Words become flags and values, and what may be a secret is never repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_sidecar.commands.flags import Given, read

VALUES = {
    "--port": "port",
    "--name": "name",
    "--alias": "name",
    "--cert-selector": "cert_selector",
}
SWITCHES = {"--once": "once"}
VALUELESS = (
    "expected a value after it; one that begins with a dash is joined to the flag by ="
    " (see serve --help)"
)


def given_by(*words: str) -> Given:
    return read(words, values=VALUES, switches=SWITCHES, command="serve")


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--port", "1"], {"port": ("--port", "1")}),
        (["--port=1"], {"port": ("--port", "1")}),
        (["--port="], {"port": ("--port", "")}),
        (["--port", ""], {"port": ("--port", "")}),
        (["--name=--once"], {"name": ("--name", "--once")}),
        (["--name=a=b"], {"name": ("--name", "a=b")}),
        (["--name", "a", "--alias", "b"], {"name": ("--alias", "b")}),
        (["--once"], {"once": ("--once", "true")}),
        (["--once", "false"], {"once": ("--once", "false")}),
        (["--once=false"], {"once": ("--once", "false")}),
        (["--cert-selector", "Key=a", "Key=b", "--port", "1"],
         {"cert_selector": ("--cert-selector", "Key=a Key=b"), "port": ("--port", "1")}),
        (["--once", "--port", "1"], {"once": ("--once", "true"), "port": ("--port", "1")}),
    ],
)  # fmt: skip
def test_a_flag_and_its_value(words: list[str], texts: dict[str, tuple[str, str]]) -> None:
    assert given_by(*words) == Given(texts)


@pytest.mark.parametrize(
    ("words", "mistakes"),
    [
        (["--port"], [f"--port: {VALUELESS}"]),
        (["--port", "--once"], [f"--port: {VALUELESS}"]),
        (["--prt", "hunter2"], ["--prt: is not a flag of serve (see serve --help)"]),
        (["--prt=hunter2", "hunter2"], ["--prt: is not a flag of serve (see serve --help)"]),
        (["now", "then"], ["word 1 after serve: serve takes flags only (see serve --help)"]),
        (["--name", "hunter2", "horse"],
         ["word 3 after serve: serve takes flags only (see serve --help)"]),
        (["--name", "-hunter2"], [f"--name: {VALUELESS}"]),
        (["--name", "--hunter2"], [f"--name: {VALUELESS}"]),
        (["--name", "--hunter2=x"], [f"--name: {VALUELESS}"]),
        (["-hunter2"], ["word 1 after serve: is not a flag of serve (see serve --help)"]),
        (["--Hunter2!"], ["word 1 after serve: is not a flag of serve (see serve --help)"]),
        (["--system-store-name", "MY"],
         ["--system-store-name: there is no operating system store here; name a file"]),
    ],
)  # fmt: skip
def test_what_is_none_is_told(words: list[str], mistakes: list[str]) -> None:
    assert list(given_by(*words).mistakes) == mistakes


@given(st.lists(st.sampled_from([*VALUES, *SWITCHES, "--strange", "x", "--port=1", "-", "--", ""])))
def test_no_words_crash_it(words: list[str]) -> None:
    found = given_by(*words)
    assert found.texts or found.mistakes or not words


def test_what_was_given_is_not_shown() -> None:
    assert "hunter2" not in repr(given_by("--name", "hunter2"))
