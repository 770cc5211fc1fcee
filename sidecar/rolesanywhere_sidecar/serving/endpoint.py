"""The container credentials endpoint: one GET with the bearer token, one JSON document.

The protocol of ``AWS_CONTAINER_CREDENTIALS_FULL_URI`` (AWS SDKs and Tools Reference Guide,
"Container credential provider"). Never serves without a token, never waits.
"""

from collections.abc import Callable
from http import HTTPStatus

from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.documents import CredentialsJson
from rolesanywhere_sidecar.renewal.problems import Problem
from rolesanywhere_sidecar.serving.bearer import BearerToken
from rolesanywhere_sidecar.serving.exchange import (
    JSON,
    READING,
    Ask,
    Reply,
    error_reply,
    not_allowed,
)


class ContainerEndpoint:
    """Answers on one path; ``token`` is none where the settings name no file for it."""

    def __init__(
        self,
        *,
        token: BearerToken | None,
        current: Callable[[], Credentials | None],
        problem: Callable[[], Problem | None],
    ) -> None:
        self._token = token
        self._current = current
        self._problem = problem
        self._json = CredentialsJson()

    def answer(self, ask: Ask) -> Reply:
        """The credentials, or why not."""
        if self._token is None:
            return error_reply(
                HTTPStatus.NOT_FOUND,
                code="NoTokenFile",
                message="container credentials are off because no token file is configured;"
                " set ROLESANYWHERE_TOKEN_FILE or --token-file, or use IMDSv2",
            )
        if ask.method not in READING:
            return not_allowed(*READING)
        return self._unauthorised(self._token, ask) or self._credentials()

    def _unauthorised(self, token: BearerToken, ask: Ask) -> Reply | None:
        presented = ask.headers.get("Authorization")
        if presented is None:
            return error_reply(
                HTTPStatus.UNAUTHORIZED,
                code="TokenMissing",
                message="no Authorization header; set AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            )
        if not token.matches(presented):
            return error_reply(
                HTTPStatus.FORBIDDEN,
                code="TokenWrong",
                message="the Authorization header is not this sidecar's token",
            )
        return None

    def _credentials(self) -> Reply:
        held = self._current()
        if held is not None:
            return Reply(HTTPStatus.OK, self._json.of(held), JSON)
        problem = self._problem()
        # 503 is what every SDK that retries at all retries.
        return error_reply(
            HTTPStatus.SERVICE_UNAVAILABLE,
            code=problem.code if problem else "NotReady",
            message=problem.sentence if problem else "the first session is still being created",
        )
