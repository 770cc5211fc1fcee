"""One JSON object a line, whatever is logged."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract.logs import JsonLines
from tests.support import logs
from tests.support.logs import Written

log = logging.getLogger("rolesanywhere.test")


@pytest.fixture(params=[None, str], ids=["without secrets", "with secrets"])
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    """The log so far, at its most talkative; every text of it is looked at, or none is."""
    with logs.written(redact=request.param) as so_far:
        yield so_far


def test_a_line_is_an_event_with_its_fields(written: Written) -> None:
    log.warning("session renewal failed", extra={"code": "Throttled", "failures": 2, "held": True})
    [line] = written.lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "rolesanywhere.test",
        "event": "session renewal failed",
        "code": "Throttled",
        "failures": 2,
        "held": True,
    }


def test_times_are_utc_and_in_milliseconds(written: Written) -> None:
    log.info("x", extra={"expires": datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)})
    assert written.lines()[0]["expires"] == "2026-03-01T12:00:00.123Z"


def test_a_text_of_many_lines_is_still_one_line(written: Written) -> None:
    log.info("x", extra={"problem": 'a\nb\r\n"c"\u2028d'})
    [line] = written.text().split("\n")[:-1]
    assert json.loads(line)["problem"] == 'a\nb\r\n"c"\u2028d'


def test_a_traceback_is_a_field(written: Written) -> None:
    try:
        raise ValueError("surprise")
    except ValueError:
        log.exception("crashed")
    assert "ValueError: surprise" in written.lines()[0]["traceback"]


def test_bytes_are_counted_not_shown(written: Written) -> None:
    log.info("read", extra={"content": b"anything"})
    assert written.lines()[0]["content"] == "<8 bytes>"


def test_what_is_below_the_level_is_not_written() -> None:
    with logs.written("warning") as so_far:
        log.info("quiet")
        log.warning("loud")
    assert [line["event"] for line in so_far.lines()] == ["loud"]


def test_aiohttp_logs_no_access(written: Written) -> None:
    logging.getLogger("aiohttp.access").info("GET /v1/credentials")
    assert written.text() == ""


def test_every_text_of_a_line_is_written_as_the_program_wants_it() -> None:
    with logs.written(redact=lambda text: text.replace("s3cret", "?")) as so_far:
        log.info("a %s", "s3cret", extra={"b": "s3cret", "c": [("s3cret",)], "s3cret": {"s3cret"}})
        log.info("x", exc_info=ValueError("s3cret"))
    assert so_far.lines()[0]["?"] == ["?"]
    assert "s3cret" not in so_far.text()


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.binary() | st.none()))
def test_whatever_is_logged_is_one_line_of_json(fields: dict[str, object]) -> None:
    record = logging.LogRecord("a", logging.INFO, "f", 1, "event", None, None)
    record.fields = fields
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["event"] == "event"
