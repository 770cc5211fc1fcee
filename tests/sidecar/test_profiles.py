"""A profile's three lines change, and not a byte of anything else."""

import configparser
import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from rolesanywhere_sidecar.commands.profiles import with_values

VALUES = {
    "aws_access_key_id": "ASIANEW",
    "aws_secret_access_key": "n=/:",
    "aws_session_token": "t",
}
OTHERS = {"aws_access_key_id": "ASIAOLD", "aws_secret_access_key": "o", "aws_session_token": "u=="}
OURS = """\
aws_access_key_id = ASIANEW
aws_secret_access_key = n=/:
aws_session_token = t
"""

# Everything that decides what a line means, in every combination.
words = st.sampled_from(
    [
        "[default]", "[team]", "[default] # note", "[]", "[[default]]", "aws_access_key_id",
        "AWS_Session_Token", "aws_secret_access_key", "region", "=", ":", " = ", "value", "",
        "# aws_session_token = x", "; note", "  ", "\t", "\u00a0", "\x0b", "\ufeff", "\udcff",
    ]
)  # fmt: skip
lines = st.lists(words, max_size=4).map("".join)
endings = st.sampled_from(["\n", "\n", "\r\n", "\r"])
any_text = st.lists(st.tuples(lines, endings).map("".join), max_size=12).map("".join) | st.tuples(
    st.lists(st.tuples(lines, endings).map("".join), max_size=8).map("".join), lines
).map("".join)

# Files that boto3 can read: sections and keys, some of them indented, no key twice.
spaces = st.sampled_from(["", "", "  ", "    ", "\t"])
entries = st.tuples(
    spaces,
    st.sampled_from(["aws_access_key_id", "aws_session_token", "Region", "s3", "x", "output"]),
    st.sampled_from(["=", " = ", ": "]),
    st.sampled_from(["", "value", "a=b", "[x]"]),
).map("".join)
noise = st.sampled_from(["", "  ", "# note", "  ; note"])


def parsed(text: str) -> dict[str, dict[str, str]] | None:
    """As botocore reads it; None for what it refuses."""
    parser = configparser.RawConfigParser(default_section=None)  # type: ignore[call-overload]  # as botocore does
    try:
        parser.read_string(re.sub(r"\r\n?", "\n", text))
    except configparser.Error:
        return None
    return {section: dict(parser.items(section)) for section in parser.sections()}


@st.composite
def readable_texts(draw: st.DrawFn) -> str:
    end = draw(st.sampled_from(["\n", "\r\n"]))
    found: list[str] = draw(st.lists(noise, max_size=2))
    names = draw(st.lists(st.sampled_from(["default", "team", "a b"]), unique=True, max_size=3))
    for name in names:
        found.append(f"{draw(spaces)}[{name}]")
        found += draw(st.lists(entries | noise, max_size=6))
    text = end.join(found) + draw(st.sampled_from([end, ""]))
    assume(parsed(text) is not None)
    return text


def foreign(text: str) -> list[str]:
    """The lines that are not our three keys, without the ends of lines."""
    own = re.compile(
        r"\s*(aws_access_key_id|aws_secret_access_key|aws_session_token)\s*[=:]", re.IGNORECASE
    )
    return [line for line in re.split(r"\r\n|\r|\n", text) if line and not own.match(line)]


@given(readable_texts())
@example("[default]\nregion = us-east-1")
@example("[default]\n  region = us-east-1\n")
@example("[default]\n\n  [team]\n    x = 1\n")
@example("[default]\naws_session_token = a\n  b\nregion = c\n")
def test_boto3_reads_our_values_and_all_else_as_before(text: str) -> None:
    before, after = parsed(text), parsed(with_values(text, "default", VALUES))
    assert before is not None
    assert after == {**before, "default": {**before.get("default", {}), **VALUES}}


@given(any_text)
def test_doing_it_twice_changes_nothing_more(text: str) -> None:
    once = with_values(text, "default", VALUES)
    assert with_values(once, "default", VALUES) == once


@given(any_text)
def test_the_last_to_write_decides(text: str) -> None:
    first = with_values(text, "default", OTHERS)
    assert with_values(first, "default", VALUES) == with_values(text, "default", VALUES)


@given(any_text)
def test_lines_that_are_not_ours_stay_in_order_and_to_the_byte(text: str) -> None:
    """Whatever there is: only our three keys differ, a further line of their values goes."""
    written = with_values(text, "default", VALUES)
    left = foreign(written)
    dropped = [line for line in foreign(text) if left[:1] != [line] or not left.pop(0)]
    assert all(line[:1].isspace() for line in dropped), dropped
    assert left in ([], ["[default]"])


@given(any_text, st.sampled_from(["default", "team", "new one"]))
def test_profiles_do_not_disturb_each_other(text: str, section: str) -> None:
    other = with_values(text, "other", OTHERS)
    both = with_values(other, section, VALUES)
    assert with_values(both, "other", OTHERS) == both


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"[default]\n{OURS}"),
        ("# mine\n", f"# mine\n\n[default]\n{OURS}"),
        ("[team]\nx = 1", f"[team]\nx = 1\n\n[default]\n{OURS}"),
        ("[team]\nx = 1\n\n", f"[team]\nx = 1\n\n[default]\n{OURS}"),
        ("[default]", f"[default]\n{OURS}"),
        # The helper drops this line: the file's last, of its profile.
        ("[default]\nregion = us-east-1", f"[default]\n{OURS}region = us-east-1"),
        (
            "[default]\n# who\naws_access_key_id=A\naws_secret_access_key : B\n\n"
            "AWS_SESSION_TOKEN =  C  \nregion = x\n[team]\naws_access_key_id = A\n",
            "[default]\n# who\naws_access_key_id=ASIANEW\naws_secret_access_key : n=/:\n\n"
            "AWS_SESSION_TOKEN =  t\nregion = x\n[team]\naws_access_key_id = A\n",
        ),
        (
            "[default]\r\naws_session_token=\r\nregion = x\r\n",
            "[default]\r\naws_access_key_id = ASIANEW\r\naws_secret_access_key = n=/:\r\n"
            "aws_session_token=t\r\nregion = x\r\n",
        ),
        (
            "[default]\n  region = x\n",
            "[default]\n" + "".join(f"  {line}\n" for line in OURS.splitlines()) + "  region = x\n",
        ),
        (
            "[default]\ns3 =\n  aws_session_token = not ours\n",
            f"[default]\n{OURS}s3 =\n  aws_session_token = not ours\n",
        ),
    ],
)
def test_a_profile_is_written_as_a_person_would(before: str, after: str) -> None:
    assert with_values(before, "default", VALUES) == after
