"""``update``: a profile of the shared credentials file, kept fresh.

Renews as serve does, and writes each session before it counts as one. A failure leaves the file
as it was and is tried again: what was good in it stays.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from datetime import datetime

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import running
from rolesanywhere_sidecar.clock import CorrectedClock, Skew, SystemClock
from rolesanywhere_sidecar.commands import credential_process, terminal
from rolesanywhere_sidecar.commands.credentialsfile import CredentialsFile
from rolesanywhere_sidecar.commands.reuse import is_enough
from rolesanywhere_sidecar.credentials import Credentials, SessionSource
from rolesanywhere_sidecar.documents import timestamp
from rolesanywhere_sidecar.identities import sources
from rolesanywhere_sidecar.renewal.broker import Broker
from rolesanywhere_sidecar.renewal.rotation import RotationWatcher
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere

log = logging.getLogger(__name__)


def main(settings: Settings, options: Mapping[str, str], env: Mapping[str, str]) -> int:
    """Write until SIGTERM or SIGINT, or once; the exit code is 0, or 1 when that is impossible."""
    once = options["once"] == "true"

    def work() -> None:
        log.setLevel(logging.INFO)
        update = _once if once else _keep
        running.run(update(settings, CredentialsFile.of(options["profile"], env), env=env))

    return terminal.attempt(work, within=terminal.TOTAL_SECONDS if once else None)


class Written:
    """A source of sessions that are in the file before anybody hears of them.

    One that could not be written is not thrown away: writing it is tried again for as long as it
    is good, and AWS is left alone.
    """

    def __init__(
        self, source: SessionSource, file: CredentialsFile, *, now: Callable[[], datetime]
    ) -> None:
        self._source = source
        self._file = file
        self._now = now
        self._unwritten: Credentials | None = None

    async def create_session(self) -> Credentials:
        """Raises what the source and `CredentialsFile.write` raise."""
        held = self._unwritten
        if held is None or not is_enough(held, at=self._now()):
            held = self._unwritten = await self._source.create_session()
        await self._file.write(held)
        self._unwritten = None
        log.info(
            "profile %s of %s written, good until %s",
            self._file.profile,
            self._file.path,
            timestamp(held.expires),
        )
        return held


async def _once(settings: Settings, file: CredentialsFile, *, env: Mapping[str, str]) -> None:
    clock = SystemClock()
    identity = sources.source(settings, env=env)
    service = RolesAnywhere(settings, identity, now=clock.now, env=env)
    try:
        source = Written(service, file, now=clock.now)
        await credential_process.session_from(source, draw=random.random, pause=asyncio.sleep)
    finally:
        await service.close()
        identity.close()


async def _keep(settings: Settings, file: CredentialsFile, *, env: Mapping[str, str]) -> None:
    stop = running.stop_on_signals()
    skew, machine = Skew(), SystemClock()
    clock = CorrectedClock(machine, skew)
    identity = sources.source(settings, env=env, now=clock.now)
    service = RolesAnywhere(settings, identity, now=machine.now, env=env, skew=skew)
    broker = Broker(
        Written(service, file, now=clock.now),
        clock=clock,
        draw=random.random,
        unsettled=lambda: service.unsettled,
    )
    watcher = RotationWatcher(identity, changed=broker.renew_soon, clock=clock)
    try:
        await running.together((broker, watcher), until=stop)
    finally:
        await service.close()
        identity.close()
