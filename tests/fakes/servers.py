"""The pretended services over HTTP: read the wire, ask the judge, write the answer.

They decide nothing: ``rolesanywhere``, ``sts`` and ``s3`` do.
"""

import asyncio
import json
import socket
import struct
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import TypeAlias

from aiohttp import web

from tests.fakes import rolesanywhere, s3, sts
from tests.fakes.faults import Answer, Cut, Delay, Fault, Faults, Reset
from tests.fakes.recorded import Recorded, Service
from tests.fakes.sessions import Entropy, Issued, Session, mint
from tests.fakes.wire import ServiceError, WireRequest
from tests.fakes.world import Bucket, World

Clock: TypeAlias = Callable[[], datetime]
Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Account:
    """The services' memory, and what a test may change while they run."""

    world: World
    clock: Clock
    entropy: Entropy
    faults: Faults = field(default_factory=Faults)
    requests: list[Recorded] = field(default_factory=list)
    sessions: list[Issued] = field(default_factory=list)
    _buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)

    def create_session(self, request: WireRequest) -> Session | ServiceError:
        """The judge's answer, within the quota of the session's account and region."""
        now = self.clock()
        verdict = rolesanywhere.verify(request, self.world, now)
        if isinstance(verdict, Session) and not self._within_quota(verdict, now):
            return ServiceError(429, "ThrottlingException", "Rate exceeded")
        return verdict

    def _within_quota(self, session: Session, now: datetime) -> bool:
        key = (session.role.account, session.region)
        bucket = self._buckets.get(key) or Bucket.full(self.world.create_session_rate, now)
        left = bucket.take(now)
        self._buckets[key] = left or bucket
        return left is not None

    def issue(self, session: Session) -> Issued:
        """Credentials that STS will recognise."""
        issued = mint(session, self.entropy)
        self.sessions.append(issued)
        return issued


async def from_wire(request: web.BaseRequest) -> WireRequest:
    """What arrived, before the framework's own reading of it."""
    headers = tuple(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers
    )
    target = request.raw_path.encode("utf-8", "surrogateescape").decode("latin-1")
    return WireRequest(request.method, target, headers, await request.read())


def rolesanywhere_handler(account: Account) -> Handler:
    """POST /sessions, under whatever fault is switched on; dated by the account's clock."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response, fault = await judge(request)
        response.headers.setdefault("Date", format_datetime(account.clock(), usegmt=True))
        return await _cut(request, response) if isinstance(fault, Cut) else response

    async def judge(request: web.BaseRequest) -> tuple[web.Response, Fault | None]:
        arrived = await from_wire(request)
        verdict = account.create_session(arrived)
        fault = account.faults.take()
        account.requests.append(_recorded("rolesanywhere", arrived, verdict, fault))
        match fault:
            case Delay():
                await asyncio.sleep(fault.seconds)
            case Answer():
                headers = dict(fault.headers)
                return web.Response(status=fault.status, body=fault.body, headers=headers), fault
            case Reset():
                return _reset(request), fault
        if isinstance(verdict, ServiceError):
            return _json_refusal(verdict), fault
        return _json(201, account.issue(verdict).document()), fault

    return handle


def sts_handler(account: Account) -> Handler:
    """GetCallerIdentity."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        arrived = await from_wire(request)
        verdict = sts.verify(arrived, account.sessions, account.world.region, account.clock())
        account.requests.append(_recorded("sts", arrived, verdict, None))
        request_id = str(uuid.uuid4())
        if isinstance(verdict, ServiceError):
            return _xml(verdict.status, sts.error_xml(verdict, request_id))
        return _xml(200, sts.identity_xml(verdict, request_id))

    return handle


def s3_handler(account: Account) -> Handler:
    """Reading from the one bucket."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        arrived = await from_wire(request)
        verdict = s3.verify(arrived, account.sessions, account.world.region, account.clock())
        account.requests.append(_recorded("s3", arrived, verdict, None))
        if isinstance(verdict, ServiceError):
            status, headers, body = s3.refusal(verdict)
        else:
            status, headers, body = s3.answer(arrived, verdict)
        return web.Response(status=status, body=body, headers=headers)

    return handle


def _recorded(
    service: Service, request: WireRequest, verdict: object, fault: Fault | None
) -> Recorded:
    if isinstance(verdict, ServiceError):
        return Recorded(service, request, verdict.code, verdict.message, fault)
    return Recorded(service, request, "ok", fault=fault)


def _json_refusal(error: ServiceError) -> web.Response:
    response = _json(error.status, {"message": error.message})
    response.headers["X-Amzn-ErrorType"] = error.code
    return response


def _json(status: int, document: object) -> web.Response:
    headers = {"Content-Type": "application/json", "X-Amzn-RequestId": str(uuid.uuid4())}
    return web.Response(status=status, body=json.dumps(document).encode(), headers=headers)


def _xml(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=text.encode(), headers={"Content-Type": "text/xml"})


def _reset(request: web.BaseRequest) -> web.Response:
    """Drop the connection with RST: a linger time of zero discards what is unsent (socket(7))."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response(status=500)  # nobody is left to read it


async def _cut(request: web.BaseRequest, honest: web.Response) -> web.StreamResponse:
    """The first half of ``honest``, and a reset where the second would come."""
    body = bytes(honest.body) if isinstance(honest.body, bytes | bytearray) else b""
    headers = {**honest.headers, "Content-Length": str(len(body))}
    broken = web.StreamResponse(status=honest.status, headers=headers)
    await broken.prepare(request)
    await broken.write(body[: len(body) // 2])
    # A reset overtakes what the client has not read yet.
    await asyncio.sleep(0.05)
    _reset(request)
    return broken
