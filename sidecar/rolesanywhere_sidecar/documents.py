"""Credentials as the JSON document that SDKs read.

The same fields serve the container endpoint and IMDS. Never decides whether to serve them.
"""

from datetime import datetime

from rolesanywhere_sidecar.credentials import Credentials


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
