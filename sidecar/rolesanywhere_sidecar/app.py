"""The composition root of ``serve``: everything is built here once, joined, and taken down.

Decides nothing about credentials. Listens before there is a session, and whether or not one can
be had: what is wrong with AWS or with a certificate heals without a restart.
"""

import asyncio
import logging
import os
import random
import secrets
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final, TextIO

from rolesanywhere_contract import logs
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.names import PROBE_PORT
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import running
from rolesanywhere_sidecar.clock import Clock, CorrectedClock, Skew, SystemClock
from rolesanywhere_sidecar.credentials import Credentials, SessionSource
from rolesanywhere_sidecar.identities import sources
from rolesanywhere_sidecar.identities.pkcs11.tally import Tally
from rolesanywhere_sidecar.metrics import Metrics
from rolesanywhere_sidecar.redaction import Redaction
from rolesanywhere_sidecar.renewal import keeping
from rolesanywhere_sidecar.renewal.broker import Broker
from rolesanywhere_sidecar.renewal.expiry import ExpiryWatcher
from rolesanywhere_sidecar.renewal.keeping import Keeping
from rolesanywhere_sidecar.renewal.problems import Problem
from rolesanywhere_sidecar.renewal.rotation import RotationWatcher
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere
from rolesanywhere_sidecar.serving import bearer, descriptors, listeners
from rolesanywhere_sidecar.serving.bearer import BearerToken
from rolesanywhere_sidecar.serving.endpoint import ContainerEndpoint
from rolesanywhere_sidecar.serving.front import FrontDoor
from rolesanywhere_sidecar.serving.imds import Imds, SessionTokens
from rolesanywhere_sidecar.serving.invitation import invitation
from rolesanywhere_sidecar.serving.listeners import Listener
from rolesanywhere_sidecar.serving.probes import Probes

log = logging.getLogger(__name__)

# The kubelet sets it in every container.
_IN_A_POD: Final = "KUBERNETES_SERVICE_HOST"

# At once, of both ports together.
CONNECTIONS: Final = 640


def main(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code is 0, or 1 when that is impossible."""
    redaction = Redaction()
    logs.configure(settings.log_level, stream=sys.stderr, redact=redaction)
    try:
        asyncio.run(serve(settings, env=os.environ, redaction=redaction))
    except RolesAnywhereError as wrong:
        log.error("cannot serve", extra={"code": wrong.code, "problem": str(wrong)})
        return 1
    except Exception:
        # A bug of ours. Through the log, because Python's own way to stderr redacts nothing.
        log.critical("crashed", exc_info=True)
        return 1
    log.info("stopped")
    return 0


async def serve(settings: Settings, *, env: Mapping[str, str], redaction: Redaction) -> None:
    """Everything, until a signal; ``env`` tells of proxies.

    Raises `bearer.TokenFileUnusable` or `listeners.PortUnavailable`.
    """
    stop = running.stop_on_signals()
    running.complain_briefly(asyncio.get_running_loop())
    skew, machine = Skew(), SystemClock()
    clock = CorrectedClock(machine, skew)
    tally = Tally() if sources.in_a_token(settings) else None
    files = sources.source(settings, env=env, now=clock.now, tally=tally)
    session_file = SessionFile.of(settings)
    metrics = Metrics(
        expires=lambda: broker.expires,
        identity=lambda: service.identity,
        skew=lambda: skew.seconds,
        now=clock.now,
        token=tally,
    )
    service = RolesAnywhere(
        settings, files, now=machine.now, env=env, skew=skew, measure=metrics.asked
    )
    keeper = Keeping(service, session_file)
    broker = Broker(
        Discreet(service, redaction),
        clock=clock,
        draw=random.random,
        start_after=settings.start_after,
        unsettled=lambda: service.unsettled,
        count=metrics.renewed,
        keep=keeper.keep,
    )
    _renew_when_asked(broker)
    watcher = RotationWatcher(files, changed=broker.renew_soon, clock=clock)
    background = (broker, watcher, ExpiryWatcher(lambda: service.identity, clock=clock))
    # In a thread: its volume may hang, and a signal must still be heard.
    token = await asyncio.to_thread(_token, settings, redaction)
    front = _front(settings, broker, token, metrics, clock=clock)
    probes = Probes(
        current=broker.current,
        problem=lambda: broker.last_problem or _identity_problem(service, watcher),
        prospect=lambda: broker.prospect,
        metrics=metrics.reply,
        background=background,
        redact=redaction,
    )
    async with AsyncExitStack() as opened:
        opened.callback(files.close)
        opened.push_async_callback(service.close)
        opened.push_async_callback(keeper.close)
        front_bounds, probe_bounds = listeners.bounds_within(descriptors.connections(CONNECTIONS))
        at = listeners.loopback(settings.port, hop_limit=settings.hop_limit)
        doors = [await Listener.open(front.answer, at, bounds=front_bounds)]
        opened.push_async_callback(_closed, doors)
        if probed := _probe_socket(settings.probe_port, env):
            doors.append(await Listener.open(probes.answer, probed, bounds=probe_bounds))
        log.info("serving", extra={"port": settings.port, "probe_port": settings.probe_port})
        _invite(settings, sys.stderr)
        if kept := await keeping.resume(session_file, service, now=clock.now):
            redaction.learn(kept.secret_access_key, kept.session_token)
            broker.adopt(kept)
            if service.accepted is None:
                # Its token is away: whether it still is of our certificate shows when that is back.
                broker.renew_soon()
        await running.together(background, until=stop)


async def _closed(doors: Sequence[Listener]) -> None:
    """At once: each may take seconds, and there are few."""
    async with asyncio.TaskGroup() as group:
        for door in doors:
            group.create_task(door.close())


def _probe_socket(port: int, env: Mapping[str, str]) -> socket.socket | None:
    """In a pod on all of its addresses, for the kubelet; elsewhere for this machine alone.

    There the usual port is not missed: a second serve on a machine has no place for its probes
    until it is told one. Raises `listeners.PortUnavailable`.
    """
    if _IN_A_POD in env:
        return listeners.every_address(port)
    try:
        return listeners.loopback(port)
    except listeners.PortUnavailable as taken:
        if port != PROBE_PORT:
            raise
        log.warning("no probes", extra={"code": taken.code, "problem": str(taken)})
        return None


def _invite(settings: Settings, errors: TextIO) -> None:
    """Tell whoever started us by hand how to be given credentials; a program reads JSON alone."""
    with suppress(OSError):  # a terminal that has gone
        if errors.isatty():
            token_file = settings.token_file and str(Path(settings.token_file).absolute())
            errors.write(f"\n{invitation(settings, token_file=token_file)}\n")
            errors.flush()


class Discreet:
    """A source of sessions whose secrets the log is told of before anybody else."""

    def __init__(self, source: SessionSource, redaction: Redaction) -> None:
        self._source = source
        self._redaction = redaction

    async def create_session(self) -> Credentials:
        credentials = await self._source.create_session()
        self._redaction.learn(credentials.secret_access_key, credentials.session_token)
        return credentials


def _renew_when_asked(broker: Broker) -> None:
    """On SIGHUP, whose own meaning is to end us."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        log.info("renewal asked for", extra={"signal": signal.SIGHUP.name})
        broker.renew_soon()

    signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(asked))


def _token(settings: Settings, redaction: Redaction) -> BearerToken | None:
    if settings.token_file is None:
        return None
    token = bearer.keep(Path(settings.token_file))
    redaction.learn(token.reveal(), lasting=True)
    return token


def _front(
    settings: Settings,
    broker: Broker,
    token: BearerToken | None,
    metrics: Metrics,
    *,
    clock: Clock,
) -> FrontDoor:
    return FrontDoor(
        port=settings.port,
        container=ContainerEndpoint(
            token=token, current=broker.current, problem=lambda: broker.last_problem
        ),
        imds=_imds(broker, settings, clock=clock) if settings.imds else None,
        observe=metrics.requested,
    )


def _imds(broker: Broker, settings: Settings, *, clock: Clock) -> Imds:
    return Imds(
        role=settings.role_arn,
        region=settings.signing_region,
        tokens=SessionTokens(key=secrets.token_bytes(32), monotonic=clock.monotonic),
        current=broker.current,
    )


def _identity_problem(service: RolesAnywhere, watcher: RotationWatcher) -> Problem | None:
    """Why what is on disk is not in use; sessions go on with the identity before it."""
    kept = service.last_problem
    return watcher.last_problem or (Problem.of(kept) if kept else None)
