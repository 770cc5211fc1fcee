"""Words become flags and values, and what may be a secret is never repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_sidecar.commands.flags import Given, read

VALUES = {"--port": "port", "--name": "name", "--alias": "name"}
SWITCHES = {"--once": "once"}


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
        (["--once", "--port", "1"], {"once": ("--once", "true"), "port": ("--port", "1")}),
    ],
)
def test_a_flag_and_its_value(words: list[str], texts: dict[str, tuple[str, str]]) -> None:
    assert given_by(*words) == Given(texts)


@pytest.mark.parametrize(
    ("words", "mistakes"),
    [
        (["--port"], ["--port: expected a value after it (see serve --help)"]),
        (["--port", "--once"], ["--port: expected a value after it (see serve --help)"]),
        (["--prt", "hunter2"], ["--prt: is not a flag of serve (see serve --help)"]),
        (["--prt=hunter2", "hunter2"], ["--prt: is not a flag of serve (see serve --help)"]),
        (["now", "then"], ["'now': serve takes flags only (see serve --help)"]),
        (["--no-verify-ssl"], ["--no-verify-ssl: TLS is always verified: credentials are not taken"
                               " from whoever answers; name your authority with --ca-bundle"]),
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
