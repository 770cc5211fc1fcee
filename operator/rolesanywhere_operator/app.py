"""Which program to run: the webhook and the controller are two processes of one image.

Imports the one that was asked for and nothing of the other: the webhook never loads kopf.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from rolesanywhere_contract import logs
from rolesanywhere_operator.settings import ControllerSettings, Settings, WebhookSettings

PROGRAMS: Final[Mapping[str, str]] = {
    "webhook": "give pods that ask for it a sidecar, when the API server asks us about them",
    "controller": "keep the status of bindings true, as the one leader of all replicas",
}

S = TypeVar("S", bound=Settings)


def run(program: str, env: Mapping[str, str]) -> None:
    """Run ``program``, one of ``PROGRAMS``, until it is told to stop.

    Raises `RolesAnywhereError` or `OSError` for what a user can mend.
    """
    if program == "webhook":
        import uvloop

        from rolesanywhere_operator.webhook import app as webhook

        # A pod waits for each review, and asyncio's own loop takes twice as long to carry one.
        _run(webhook.run, WebhookSettings.from_env(env), loop=uvloop.new_event_loop)
    else:
        from rolesanywhere_operator.controller import app as controller

        _run(controller.run, ControllerSettings.from_env(env))


def _run(
    main: Callable[[S], Coroutine[Any, Any, None]],
    settings: S,
    *,
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    logs.configure(settings.log_level, stream=sys.stderr)
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main(settings))
