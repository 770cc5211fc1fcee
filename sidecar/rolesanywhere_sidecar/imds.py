"""The part of the EC2 instance metadata service that SDKs get credentials from, version 2 only.

Paths and statuses are those of the Amazon EC2 User Guide ("Use IMDSv2"); error bodies are empty,
since AWS's C runtime takes any text for a role name. Never answers without a session token.
"""

import hashlib
import hmac
import json
import re
import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.documents import credentials_document
from rolesanywhere_sidecar.exchange import READING, Ask, Reply, not_allowed, path_of

TOKEN_PATH: Final = path_of("/latest/api/token")
ROLES_PATH: Final = path_of("/latest/meta-data/iam/security-credentials")
TTL_HEADER: Final = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER: Final = "X-aws-ec2-metadata-token"  # noqa: S105 - the name of a header
TTL_SECONDS: Final = range(1, 21_601)

_VERSION = re.compile(r"latest|[0-9]+\.[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}")


class SessionTokens:
    """IMDSv2 tokens that need no table: each carries its own end, under a key of this process.

    So nobody fills our memory by asking, and a restart makes every token invalid, which SDKs
    meet by asking for another.
    """

    def __init__(self, *, key: bytes, monotonic: Callable[[], float]) -> None:
        self._key = key
        self._monotonic = monotonic

    def issue(self, ttl: int) -> str:
        """A token that is valid for ``ttl`` seconds."""
        end = self._milliseconds() + ttl * 1000
        claim = end.to_bytes(8) + secrets.token_bytes(8)
        return urlsafe_b64encode(claim + self._seal(claim)).decode()

    def seconds_left(self, token: str) -> int:
        """How long ``token`` is still valid; 0 when it is not, or never was one."""
        try:
            raw = b64decode(token, altchars=b"-_", validate=True)
        except ValueError:
            return 0
        claim, seal = raw[:16], raw[16:]
        if not hmac.compare_digest(seal, self._seal(claim)):
            return 0
        left = int.from_bytes(claim[:8]) - self._milliseconds()
        # Rounded up: a last fraction of a second still counts.
        return max(-(-left // 1000), 0)

    def _milliseconds(self) -> int:
        return int(self._monotonic() * 1000)

    def _seal(self, claim: bytes) -> bytes:
        return hmac.digest(self._key, claim, hashlib.sha256)


class Imds:
    """Answers below every version's root; the one role is ``role``, the name without its path."""

    def __init__(
        self, *, role: str, tokens: SessionTokens, current: Callable[[], Credentials | None]
    ) -> None:
        self._role = role
        self._tokens = tokens
        self._current = current

    @staticmethod
    def serves(ask: Ask) -> bool:
        """Whether the path is one of the metadata service's, known or not."""
        return bool(ask.path) and _VERSION.fullmatch(ask.path[0]) is not None

    def answer(self, ask: Ask) -> Reply:
        """A token for PUT, and metadata for whoever brings one."""
        if ask.path == TOKEN_PATH:
            return self._token(ask)
        if ask.method == "PUT" and ask.path[1:] == TOKEN_PATH[1:]:
            return Reply(HTTPStatus.FORBIDDEN)
        if ask.method not in READING:
            return not_allowed(*READING)
        left = self._tokens.seconds_left(ask.headers.get(TOKEN_HEADER, ""))
        # Exactly this makes SDKs fetch a token, and try again.
        if left == 0:
            return Reply(HTTPStatus.UNAUTHORIZED)
        return self._metadata(ask.path, {TTL_HEADER: str(left)})

    def _token(self, ask: Ask) -> Reply:
        if ask.method != "PUT":
            return not_allowed("PUT")
        ttl = ask.headers.get(TTL_HEADER, "")
        if not re.fullmatch(r"[0-9]{1,5}", ttl) or int(ttl) not in TTL_SECONDS:
            return Reply(HTTPStatus.BAD_REQUEST)
        return Reply(
            HTTPStatus.OK, self._tokens.issue(int(ttl)), headers={TTL_HEADER: str(int(ttl))}
        )

    def _metadata(self, path: tuple[str, ...], headers: dict[str, str]) -> Reply:
        if path == ROLES_PATH:
            if self._current() is None:
                return Reply(HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)
            return Reply(HTTPStatus.OK, self._role, headers=headers)
        if path == (*ROLES_PATH, self._role):
            held = self._current()
            # AWS's C runtime aborts the whole process on any other error than 401 here.
            if held is None:
                return Reply(HTTPStatus.UNAUTHORIZED)
            return Reply(HTTPStatus.OK, json.dumps(credentials_document(held)), headers=headers)
        return Reply(HTTPStatus.NOT_FOUND, headers=headers)
