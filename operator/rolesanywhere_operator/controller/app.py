"""The controller as one process: stand for election, then act until told to stop or outvoted.

Builds everything once and joins it. Never survives the loss of its Lease: the process ends, and
comes back as a candidate.
"""

import asyncio
import logging
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NoReturn

import kopf

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator.controller import routes, serving
from rolesanywhere_operator.controller.census import Census
from rolesanywhere_operator.controller.keeper import Keeper
from rolesanywhere_operator.controller.login import log_in
from rolesanywhere_operator.controller.metrics import Account
from rolesanywhere_operator.controller.patrol import Patrol
from rolesanywhere_operator.controller.pulse import Pulse
from rolesanywhere_operator.kube.client import Kube, connect
from rolesanywhere_operator.kube.elector import Elector, LeaseLost
from rolesanywhere_operator.kube.lease import Terms
from rolesanywhere_operator.kube.lease_store import KubernetesLease
from rolesanywhere_operator.kube.reflector import Chance
from rolesanywhere_operator.listeners import listening
from rolesanywhere_operator.metrics import ApiCalls
from rolesanywhere_operator.probes import prober
from rolesanywhere_operator.settings import ControllerSettings

log = logging.getLogger(__name__)

EXIT_LOST: Final = 1


class ControllerEnded(RolesAnywhereError):
    """kopf came to an end though nobody asked it to."""

    code = "ControllerEnded"
    retryable = True


async def run(settings: ControllerSettings) -> None:
    """Stand for election and act, until SIGTERM or SIGINT.

    Raises `ControllerEnded` when the work ends by itself, `KubeError` without a way to the API
    server. When the Lease is lost the process ends on the spot, with ``EXIT_LOST``.
    """
    stop = asyncio.Event()
    _stop_on_signals(stop)
    routes.quieten_logs()
    pulse = Pulse(_steady_seconds)
    account = Account(ApiCalls("controller"))
    async with connect(settings.kubeconfig, observe=account.calls.observe) as kube:
        elector = Elector(
            KubernetesLease(kube, namespace=settings.namespace, name=settings.lease_name),
            identity=f"{socket.gethostname()}_{uuid.uuid4()}",
            terms=Terms.lasting(settings.lease_duration_seconds),
            clock=_steady_seconds,
            today=_now,
        )
        # Before kopf, which on its way out cancels every task that was made after it.
        async with listening(
            prober(lambda: _problem(elector), ailment=pulse.problem, metrics=account.families),
            name="probes",
            address=settings.address,
            port=settings.probe_port,
        ):
            try:
                log.info("standing for election", extra={"lease": settings.lease_name})
                if await _came_first(elector.acquire(), stop):
                    log.info("leading", extra={"lease": settings.lease_name})
                    account.leads = True
                    async with serving.keeping(kube, settings, now=_now, clock=_steady_seconds):
                        await _lead(elector, _work(settings, kube, pulse, account, stop), stop)
            finally:
                account.leads = False
                await elector.release()
    log.info("stopped")


def _problem(elector: Elector) -> str | None:
    """Why this candidate is of no use yet; a standby is as ready as the leader."""
    return None if elector.has_seen_the_lease else "the Lease has not been read; the log says why"


async def _lead(elector: Elector, work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Work while the Lease is kept; it is kept until the work has come to its end."""
    keeping = asyncio.create_task(elector.keep())
    working = asyncio.create_task(work)
    await asyncio.wait({keeping, working}, return_when=asyncio.FIRST_COMPLETED)
    if keeping.done():
        _end_at_once(keeping.exception())
    keeping.cancel()
    await asyncio.wait({keeping})
    failure = working.exception()
    if failure is not None or not stop.is_set():
        raise ControllerEnded(
            f"the controller ended without being told to: {failure or 'kopf says why above'}",
            hint="it is started again and tries again",
        ) from failure


async def _work(
    settings: ControllerSettings, kube: Kube, pulse: Pulse, account: Account, stop: asyncio.Event
) -> None:
    """kopf, until ``stop``. It cancels every task that was made after this call began."""
    ours = asyncio.all_tasks()
    pulse.beat()
    chance = Chance(random.random, asyncio.sleep)
    keeper = Keeper(
        kube,
        reporter=socket.gethostname(),
        now=_now,
        chance=chance,
        trust_domain=settings.trust_domain,
        host_paths=settings.allowed_paths,
        looked=account.looked,
    )
    account.bindings = keeper.bodies
    census = Census(kube, chance=chance)
    patrol = Patrol(kube, chance=chance, now=_now, reporter=socket.gethostname())
    account.counts = lambda: census.counts.values()
    account.not_injected = lambda: patrol.found or 0
    log_in_now = partial(log_in, settings.kubeconfig, pulse.beat, observe=account.calls.observe)
    # Left to itself kopf asks for the user's name, and in a container the user has none. Its type
    # for an identity is its own.
    identity: Any = socket.gethostname()
    tasks = await kopf.spawn_tasks(
        identity=identity,
        registry=routes.registry(login=log_in_now, watcher=keeper),
        settings=routes.settings(),
        clusterwide=True,
        standalone=True,
        stop_flag=stop,
    )
    # kopf has just taken the signals for itself, and would end by them without a word to us. They
    # are taken back before the loop can turn, so that none is lost in between.
    _stop_on_signals(stop)
    # Kopf's own from here on: all end together, also when one fails.
    working = [
        asyncio.create_task(one.run(), name=type(one).__name__) for one in (keeper, census, patrol)
    ]
    await kopf.run_tasks([*tasks, *working], ignored=ours)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _came_first(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether ``work`` came to its end before ``stop``; else it is cancelled."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        stopping.cancel()
        working.result()
        return True
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    return False


def _end_at_once(loss: BaseException | None) -> NoReturn:
    """End the process without another step: somebody else may hold the Lease in a few seconds.

    An orderly end would give kopf seconds to finish what it is at.
    """
    code = loss.code if isinstance(loss, LeaseLost) else type(loss).__name__
    log.error("no longer leading", extra={"code": code, "error": str(loss)})
    logging.shutdown()
    os._exit(EXIT_LOST)


def _steady_seconds() -> float:
    """A clock that goes on while the machine is suspended, unlike ``time.monotonic``."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _now() -> datetime:
    return datetime.now(UTC)
