"""The Pod Security level of a namespace, asked for where a pod would be given folders of its node.

Never keeps an answer: few pods need one, and a label changes. Never fails a pod for want of one:
the API server enforces it anyway.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from rolesanywhere_operator.domain import podsecurity
from rolesanywhere_operator.kube.errors import KubeError
from rolesanywhere_operator.kube.reflector import Source

log = logging.getLogger(__name__)

# Of a namespace by its name, None where it is not known; waits until a moment of the loop's clock.
Levels = Callable[[str, float | None], Awaitable[str | None]]


def asking(source: Source) -> Levels:
    """Levels as ``source`` tells them."""

    async def level(namespace: str, until: float | None) -> str | None:
        try:
            async with asyncio.timeout_at(until):
                return podsecurity.level(await source.get(f"/api/v1/namespaces/{namespace}"))
        except (KubeError, TimeoutError) as problem:
            said = str(problem) or "no answer while the review could wait"
            log.warning("namespace cannot be read", extra={"namespace": namespace, "problem": said})
            return None

    return level


async def unknown(_namespace: str, _until: float | None) -> str | None:
    """Where nobody is asked."""
    return None
