"""What the pretended services were asked and what they thought of it, for tests to assert on.

Requests carry session tokens and signatures, so they never show in ``repr``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from tests.fakes import sigv4
from tests.fakes.faults import Fault
from tests.fakes.wire import WireRequest

Service: TypeAlias = Literal["rolesanywhere", "sts", "s3"]

# What two honest clients cannot have in common: when they signed and how the SDK counts attempts.
_INCIDENTAL: Final = re.compile(r"x-amz-date|amz-sdk-.*")


@dataclass(frozen=True, slots=True)
class Recorded:
    """``verdict`` is ``"ok"`` or the error type; ``detail`` the refusal's sentence.

    ``fault`` was served instead of that verdict, or delayed it.
    """

    service: Service
    request: WireRequest
    verdict: str
    detail: str = ""
    fault: Fault | None = None


def essence(request: WireRequest) -> dict[str, Any]:
    """What two clients must agree on when they ask for the same session with the same key.

    Left out: time, the SDK's ids and attempts, the User-Agent, the signature, the port of the host.
    The body is parsed, because JSON does not care for spaces.
    """
    header = request.get("authorization") or ""
    parts = dict(re.findall(r"(Credential|SignedHeaders)=([^,]+)", header))
    credential, _, *scope = parts["Credential"].split("/")
    signed = [name for name in parts["SignedHeaders"].split(";") if not _INCIDENTAL.match(name)]
    return {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "canonical_query": sigv4.canonical_query(request.query),
        "algorithm": header.partition(" ")[0],
        "credential": credential,
        "scope": scope,
        "signed_headers": signed,
        "headers": {name: _without_port(name, request.get(name)) for name in signed},
        "body": _parsed(request.body),
    }


def _without_port(name: str, value: str | None) -> str | None:
    return re.sub(r":\d+$", "", value) if name == "host" and value else value


def _parsed(body: bytes) -> Mapping[str, Any] | None:
    document: Mapping[str, Any] | None = json.loads(body) if body else None
    return document
