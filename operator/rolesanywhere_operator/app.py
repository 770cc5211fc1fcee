"""Which program to run: the webhook and the controller are two processes of one image.

Imports the one that was asked for and nothing of the other: the webhook never loads kopf.
"""

import asyncio
import sys
from collections.abc import Mapping
from typing import Final

from rolesanywhere_contract import logs
from rolesanywhere_operator.settings import ControllerSettings, WebhookSettings

PROGRAMS: Final = ("webhook", "controller")


def run(program: str, env: Mapping[str, str]) -> int:
    """Run ``program``, one of ``PROGRAMS``, until it is told to stop; returns its exit code.

    Raises `RolesAnywhereError` for what a user can mend.
    """
    if program == "webhook":
        from rolesanywhere_operator.webhook import app as webhook

        webhook_settings = WebhookSettings.from_env(env)
        logs.configure(webhook_settings.log_level, stream=sys.stderr)
        asyncio.run(webhook.run(webhook_settings))
        return 0
    from rolesanywhere_operator.controller import app as controller

    controller_settings = ControllerSettings.from_env(env)
    logs.configure(controller_settings.log_level, stream=sys.stderr)
    return controller.run(controller_settings)
