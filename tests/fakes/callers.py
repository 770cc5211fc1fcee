"""Whose request is this: temporary credentials, known by key id, token and signature. (pure)

Signature Version 4 with a secret (AWS IAM User Guide, "Create a signed AWS API request"), as far
as every service does it alike; each has words of its own for what is wrong.
"""

import hashlib
import hmac
from collections.abc import Iterable

from tests.fakes.sessions import Issued
from tests.fakes.sigv4 import Envelope
from tests.fakes.wire import WireRequest


def holder(request: WireRequest, envelope: Envelope, issued: Iterable[Issued]) -> Issued | None:
    """Who was given both the key id and the session token of ``request``."""
    presented = (envelope.credential, request.get("x-amz-security-token"))
    for each in issued:
        if (each.access_key_id, each.session_token) == presented:
            return each
    return None


def signed(caller: Issued, envelope: Envelope, message: bytes) -> bool:
    """Whether ``envelope`` has the signature that ``caller``'s secret makes of ``message``."""
    key = f"AWS4{caller.secret_access_key}".encode()
    for part in envelope.scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, message, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, envelope.signature)
