"""The webhook's composition root: everything is built here once, joined, and taken down.

Never decides anything.
"""

import asyncio
import gc
import logging
import random
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Final

from rolesanywhere_contract.exposition import Family
from rolesanywhere_operator.kube import client
from rolesanywhere_operator.kube.reflector import Chance
from rolesanywhere_operator.listeners import listening
from rolesanywhere_operator.metrics import ApiCalls
from rolesanywhere_operator.probes import prober
from rolesanywhere_operator.settings import WebhookSettings
from rolesanywhere_operator.webhook import levels, metrics, server
from rolesanywhere_operator.webhook.admission import Admission
from rolesanywhere_operator.webhook.catalog import LiveCatalog
from rolesanywhere_operator.webhook.desk import Desk
from rolesanywhere_operator.webhook.tls import ServingCertificate

log = logging.getLogger(__name__)

# Reviews that are under way when the signal comes get this long; the API server waits for as long
# where the chart is told nothing else.
DRAIN_SECONDS: Final = 10.0
# A review that an API server sends on a connection while we close it is lost: it repeats no POST,
# and where we are the only replica nobody else is asked. So we go on answering for a while, and end
# each connection with its answer.
LINGER_SECONDS: Final = 3.0


async def run(settings: WebhookSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises `KubeError`, or OSError for a port in use."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    chance = Chance(draw=random.random, sleep=asyncio.sleep)
    calls = ApiCalls("webhook")
    async with client.connect(settings.kubeconfig, observe=calls.observe) as kube:
        catalog = LiveCatalog(
            kube,
            trust_domain=settings.trust_domain,
            chance=chance,
            host_paths=settings.allowed_paths,
        )
        certificate = ServingCertificate(settings.certificate, settings.private_key)
        desk = Desk(settings.turns_per_minute, now=lambda: datetime.now(UTC))
        admission = Admission(
            catalog,
            settings.sidecar_defaults,
            level_of=levels.asking(kube),
            take_turn=desk.take,
        )
        counted = partial(_counted, calls, admission, catalog, certificate, desk)
        async with (
            listening(
                prober(lambda: _problem(stop, catalog, certificate), metrics=counted),
                name="probes",
                address=settings.address,
                port=settings.probe_port,
            ),
            listening(
                server.reviewer(admission, closing=stop.is_set),
                name="reviews",
                address=settings.address,
                port=settings.port,
                tls=certificate.front,
                drain_seconds=DRAIN_SECONDS,
            ),
            asyncio.TaskGroup() as background,
        ):
            tasks = [
                background.create_task(catalog.reflector.run()),
                background.create_task(certificate.follow()),
            ]
            _settle()
            await stop.wait()
            log.info("stopping")
            await asyncio.sleep(LINGER_SECONDS)
            for task in tasks:
                task.cancel()
    log.info("stopped")


def _settle() -> None:
    """Take what has been loaded so far out of the garbage collector's sight, for it stays.

    To look through all of it, as every so often it would, keeps reviews waiting for tens of
    milliseconds.
    """
    gc.collect()
    gc.freeze()


def _counted(
    calls: ApiCalls,
    admission: Admission,
    catalog: LiveCatalog,
    certificate: ServingCertificate,
    desk: Desk,
) -> Iterator[Family]:
    """What a scraper gets."""
    return metrics.families(
        tally=admission.tally,
        calls=calls,
        copy=catalog.reflector,
        now=time.monotonic,
        certificate_ends=certificate.ends,
        longest_wait=desk.longest_wait,
    )


def _problem(
    stop: asyncio.Event, catalog: LiveCatalog, certificate: ServingCertificate
) -> str | None:
    """Why the API server should ask another replica."""
    if stop.is_set():
        return "the webhook is stopping"
    if not certificate.loaded:
        return "there is no serving certificate yet; the log says why"
    if certificate.ends is not None and certificate.ends <= datetime.now(UTC):
        return f"the serving certificate ended at {certificate.ends:%Y-%m-%dT%H:%M:%SZ}"
    if not catalog.reflector.synced:
        return "the bindings have not been listed yet; the log says why"
    return None
