"""What the event loop complains of, and how loudly."""

import asyncio
import errno
import logging
import os

import pytest

from rolesanywhere_sidecar import running

ACCEPT = "socket.accept() out of system resource"


async def test_a_thousand_refused_connections_are_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    now = [0.0]
    running.complain_briefly(loop, monotonic=lambda: now[0])
    too_many = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    for _ in range(1000):
        loop.call_exception_handler({"message": ACCEPT, "exception": too_many})
    now[0] = running.COMPLAINT_SECONDS
    loop.call_exception_handler({"message": ACCEPT, "exception": too_many})
    assert caplog.messages == ["connections refused"] * 2
    assert [vars(record)["times"] for record in caplog.records] == [1, 1000]
    assert vars(caplog.records[0])["problem"] == "Too many open files"
    assert all(record.exc_info is None for record in caplog.records)


async def test_anything_else_is_told_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    running.complain_briefly(loop)
    loop.call_exception_handler({"message": "odd", "exception": ValueError()})
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("asyncio", logging.ERROR)
    ]
