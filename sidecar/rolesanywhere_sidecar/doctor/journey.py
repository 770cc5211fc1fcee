"""The steps to the endpoint in their order: each only if the one before it got through.

Bounds every step; decides nothing about what was seen.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

from rolesanywhere_sidecar.clock import Skew
from rolesanywhere_sidecar.doctor import network, reachability
from rolesanywhere_sidecar.doctor.findings import Check, Finding, Verdict, skipped
from rolesanywhere_sidecar.doctor.network import Connected, Resolved, Shaken, Timed
from rolesanywhere_sidecar.service.dialing import Way

STEPS: Final = (Check.DNS, Check.TCP, Check.TLS, Check.CLOCK)

STEP_SECONDS: Final = 4.0
_LATE: Final = f"no answer within {STEP_SECONDS:g} seconds"

_Seen = TypeVar("_Seen")


async def examine(
    way: Way, *, ca_bundle: str | None, now: Callable[[], datetime], skew: Skew
) -> Sequence[Finding]:
    """A finding for each of `STEPS`; ``skew`` learns the service's time."""
    first = way.proxy or way
    resolved = await _in_time(network.resolve(first.host, first.port), Resolved(problem=_LATE))
    found = [reachability.dns(way, resolved)]
    if _is_through(found):
        connected = await _in_time(network.connect(way), Connected(problem=_LATE))
        found.append(reachability.tcp(way, connected))
    if _is_through(found):
        found.append(await _tls(way, ca_bundle=ca_bundle, now=now))
    if _is_through(found):
        timed = await _in_time(network.ask_time(way, now=now), Timed(problem=_LATE))
        found.append(reachability.clock(timed))
        if timed.theirs and timed.sent and timed.received:
            skew.learn(timed.theirs, sent=timed.sent, received=timed.received)
    return [*found, *_left_out(found)]


async def _tls(way: Way, *, ca_bundle: str | None, now: Callable[[], datetime]) -> Finding:
    if way.context is None:
        return skipped(Check.TLS, "the endpoint is plain http")
    shaken = await _in_time(network.shake_hands(way), Shaken(problem=_LATE))
    return reachability.tls(way, shaken, ca_bundle=ca_bundle, at=now())


async def _in_time(look: Awaitable[_Seen], late: _Seen) -> _Seen:
    try:
        async with asyncio.timeout(STEP_SECONDS):
            return await look
    except TimeoutError:
        return late


def _is_through(found: Sequence[Finding]) -> bool:
    return found[-1].verdict is not Verdict.FAILURE


def _left_out(found: Sequence[Finding]) -> Iterator[Finding]:
    done = [finding.check for finding in found]
    for check in STEPS:
        if check not in done:
            yield skipped(check, f"not until {done[-1]} is mended")
