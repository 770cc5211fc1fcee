"""The part of the EC2 instance metadata service that SDKs ask for, version 2 only.

Methods and statuses are those of the Amazon EC2 User Guide ("Use the Instance Metadata Service to
access instance metadata"); error bodies are empty, since AWS's C runtime takes any text for a
role name. Never answers without a session token.
"""

import hashlib
import hmac
import re
import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from rolesanywhere_contract.arns import RoleArn
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.documents import CredentialsJson
from rolesanywhere_sidecar.serving import metadata
from rolesanywhere_sidecar.serving.exchange import READING, Ask, Path, Reply, not_allowed, path_of

TOKEN_PATH: Final = path_of("/latest/api/token")
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
    """Answers below every version's root alike: what is told here, EC2 never changed."""

    def __init__(
        self,
        *,
        role: RoleArn,
        region: str,
        tokens: SessionTokens,
        current: Callable[[], Credentials | None],
    ) -> None:
        self._role = role
        self._texts = metadata.texts(role=role, region=region)
        self._document_path = (*metadata.ROLES_PATH, role.name)
        self._tokens = tokens
        self._current = current
        self._json = CredentialsJson()

    @staticmethod
    def serves(ask: Ask) -> bool:
        """Whether the path is one of the metadata service's, known or not."""
        return bool(ask.path) and _VERSION.fullmatch(ask.path[0]) is not None

    def answer(self, ask: Ask) -> Reply:
        """A token for PUT, and metadata for whoever brings one."""
        if ask.path == TOKEN_PATH:
            return self._token(ask)
        if ask.method == "PUT" and is_token_path(ask.path):
            return Reply(HTTPStatus.FORBIDDEN)
        if ask.method not in READING:
            return not_allowed(*READING)
        left = self._tokens.seconds_left(ask.headers.get(TOKEN_HEADER, ""))
        # Exactly this makes SDKs fetch a token, and try again.
        if left == 0:
            return Reply(HTTPStatus.UNAUTHORIZED)
        return self._metadata(ask.path[1:], {TTL_HEADER: str(left)})

    def _token(self, ask: Ask) -> Reply:
        if ask.method != "PUT":
            return not_allowed("PUT")
        ttl = ask.headers.get(TTL_HEADER, "")
        if not re.fullmatch(r"[0-9]{1,5}", ttl) or int(ttl) not in TTL_SECONDS:
            return Reply(HTTPStatus.BAD_REQUEST)
        return Reply(
            HTTPStatus.OK, self._tokens.issue(int(ttl)), headers={TTL_HEADER: str(int(ttl))}
        )

    def _metadata(self, path: Path, headers: Mapping[str, str]) -> Reply:
        """``path`` is below a version's root."""
        held = self._current()
        if held is None:
            return self._without_credentials(path, headers)
        if path == self._document_path:
            return Reply(HTTPStatus.OK, self._json.of(held), headers=headers)
        if path == metadata.INFO_PATH:
            info = metadata.iam_info(self._role, updated=held.issued)
            return Reply(HTTPStatus.OK, info, headers=headers)
        return self._text(path, headers)

    def _without_credentials(self, path: Path, headers: Mapping[str, str]) -> Reply:
        # AWS's C runtime aborts the whole process on any other error than 401 here.
        if path == self._document_path:
            return Reply(HTTPStatus.UNAUTHORIZED)
        if path in (metadata.ROLES_PATH, metadata.INFO_PATH):
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, headers=headers)
        return self._text(path, headers)

    def _text(self, path: Path, headers: Mapping[str, str]) -> Reply:
        text = self._texts.get(path)
        if text is None:
            return Reply(HTTPStatus.NOT_FOUND, headers=headers)
        return Reply(HTTPStatus.OK, text, headers=headers)


def is_token_path(path: Path) -> bool:
    """Whether ``path`` is for tokens, in any version; only the latest's takes a PUT."""
    return path[1:] == TOKEN_PATH[1:]
