"""Work that goes on until somebody ends the process, and its end.

Never decides what the work is.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Sequence
from typing import Final, NoReturn, Protocol

log = logging.getLogger(__name__)

# Seconds from the signal until the process ends by force: a name that does not resolve, or a
# volume that hangs, keeps a thread that nobody can interrupt. The kubelet's patience is 30.
LAST_RESORT_SECONDS: Final = 8.0


class Work(Protocol):
    """What goes on for as long as the process does."""

    async def run(self) -> NoReturn: ...


async def together(background: Sequence[Work], *, until: asyncio.Event) -> None:
    """All in the background; should one end, which none may, so does everything."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work.run()) for work in background]
        await until.wait()
        for task in tasks:
            task.cancel()


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; some seconds later the process ends by force."""
    stop = asyncio.Event()

    def asked_to(number: signal.Signals) -> None:
        log.info("stopping", extra={"signal": number.name})
        last_resort = threading.Timer(LAST_RESORT_SECONDS, os._exit, args=(0,))
        last_resort.daemon = True
        last_resort.start()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to, number)
    return stop
