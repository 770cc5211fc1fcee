"""Credentials as the JSON document that SDKs read.

The same fields serve the container endpoint and IMDS. Never decides whether to serve them.
"""

import json
from datetime import datetime

from rolesanywhere_sidecar.credentials import Credentials


class CredentialsJson:
    """Writes the document once for each session, however often it is asked for."""

    __slots__ = ("_credentials", "_written")

    def __init__(self) -> None:
        self._credentials: Credentials | None = None
        self._written = ""

    def of(self, credentials: Credentials) -> str:
        """The document of ``credentials``."""
        # By identity: comparing secrets at each request would cost more than it saves.
        if credentials is not self._credentials:
            self._written = json.dumps(credentials_document(credentials))
            self._credentials = credentials
        return self._written


def credentials_document(credentials: Credentials) -> dict[str, str]:
    """Every field that any SDK insists on, all of them strings."""
    return {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": timestamp(credentials.issued),
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": timestamp(credentials.expires),
        "AccountId": credentials.account_id,
    }


def timestamp(moment: datetime) -> str:
    """Whole seconds and a ``Z``: the Rust and JavaScript SDKs refuse ``+00:00``."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
