"""What ``serve`` joins together, in virtual time: what a process would show after hours."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import app, running
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.identities.identity import Identity
from rolesanywhere_sidecar.redaction import Redaction
from rolesanywhere_sidecar.renewal import keeping
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN
from tests.sidecar.test_metrics import an_identity
from tests.support.clocks import START, FakeClock
from tests.support.ports import free_port
from tests.support.sessions import (
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
    ScriptedSource,
    some_credentials,
)
from tests.support.sidecars import eventually


class Service(ScriptedSource):
    """Stands where ``serve`` puts the client of IAM Roles Anywhere."""

    unsettled = False
    identity: Identity | None = None
    accepted: Identity | None = None
    last_problem = None

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Composed:
    """A ``serve`` whose time, service and end are the test's."""

    clock: FakeClock
    service: Service
    redaction: Redaction


Composing: TypeAlias = Callable[[], AbstractAsyncContextManager[Composed]]


@pytest.fixture(autouse=True)
def _signals_are_left_as_they_were() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def composed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> Composing:
    @asynccontextmanager
    async def started() -> AsyncIterator[Composed]:
        clock, stop, redaction = FakeClock(), asyncio.Event(), Redaction()
        service = Service(clock.now)
        monkeypatch.setattr(app, "SystemClock", lambda: clock)
        monkeypatch.setattr(app, "RolesAnywhere", lambda *_, **__: service)
        # Its own would wait for a signal, and end this very process after one.
        monkeypatch.setattr(running, "stop_on_signals", lambda: stop)
        caplog.set_level(logging.INFO)
        serving = asyncio.create_task(app.serve(settings(tmp_path), env={}, redaction=redaction))

        async def listens() -> bool:
            assert not serving.done(), serving
            return "serving" in caplog.messages

        await eventually(listens)
        yield Composed(clock, service, redaction)
        stop.set()
        await serving

    return started


def settings(folder: Path) -> Settings:
    return Settings.from_env(
        {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_CERTIFICATE": str(folder / "tls.crt"),
            "ROLESANYWHERE_PRIVATE_KEY": str(folder / "tls.key"),
            "ROLESANYWHERE_PORT": str(free_port()),
            "ROLESANYWHERE_PROBE_PORT": str(free_port()),
        }
    )


async def test_while_a_new_identity_is_refused_it_is_asked_again_slowly(
    composed: Composing,
) -> None:
    async with composed() as it:
        it.service.unsettled = True
        await it.clock.advance(1200)
        assert 3 < it.service.attempts < 15
        it.service.unsettled = False
        await it.clock.advance(300)
        attempts = it.service.attempts
        await it.clock.advance(1200)
        assert it.service.attempts == attempts


async def test_a_certificate_that_comes_near_its_end_while_serving_is_warned_of(
    composed: Composing, caplog: pytest.LogCaptureFixture
) -> None:
    async with composed() as it:
        it.service.identity = an_identity(hours=25)
        await it.clock.advance(3600 - 60)
        assert "certificate expires soon" not in caplog.messages
        await it.clock.advance(180)
        assert caplog.messages.count("certificate expires soon") == 1


async def test_the_log_knows_the_secrets_of_a_session_that_was_adopted(
    composed: Composing,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def resume(*_: object, **__: object) -> Credentials:
        return some_credentials(issued=START)

    monkeypatch.setattr(keeping, "resume", resume)
    monkeypatch.setattr(Service, "accepted", an_identity(hours=30))
    async with composed() as it:
        await it.clock.advance(1)
        assert "session adopted" in caplog.messages
        assert it.service.attempts == 0
        shown = it.redaction(f"{SECRET_ACCESS_KEY} {SESSION_TOKEN[:99]} {SESSION_TOKEN}")
        assert SECRET_ACCESS_KEY not in shown
        assert SESSION_TOKEN not in shown


async def test_both_listeners_close_at_once() -> None:
    """One after the other could take so long that the end by force comes before all else."""
    begun: list[int] = []

    class Door:
        async def close(self) -> None:
            begun.append(1)
            while len(begun) < 2:  # noqa: ASYNC110 - it is the other that begins
                await asyncio.sleep(0)

    doors: Sequence[Any] = (Door(), Door())
    async with asyncio.timeout(5):
        await app._closed(doors)
