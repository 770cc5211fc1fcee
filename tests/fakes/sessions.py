"""Sessions and their secrets: what CreateSession grants and what STS recognises later.

Secrets never show in ``repr``. Randomness comes in by argument.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from tests.fakes.world import Arn

Entropy: TypeAlias = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the service grants: which role, under which names, until when."""

    role: Arn
    role_arn: str
    session_name: str
    source_identity: str
    serial_number: int
    subject_arn: str
    region: str
    expires: datetime

    @property
    def assumed_role_arn(self) -> str:
        """STS names the role without its path."""
        name = self.role.name.rpartition("/")[2]
        return (
            f"arn:{self.role.partition}:sts::{self.role.account}:assumed-role/"
            f"{name}/{self.session_name}"
        )

    @property
    def assumed_role_id(self) -> str:
        """The role's unique id, then the session name."""
        digest = base64.b32encode(hashlib.sha256(self.role_arn.encode()).digest()).decode()
        return f"AROA{digest[:17]}:{self.session_name}"


@dataclass(frozen=True, slots=True)
class Issued:
    """A session with the credentials that were handed out for it."""

    session: Session
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)

    def document(self) -> dict[str, object]:
        """CreateSession's response body."""
        session = self.session
        entry = {
            "assumedRoleUser": {
                "arn": session.assumed_role_arn,
                "assumedRoleId": session.assumed_role_id,
            },
            "credentials": {
                "accessKeyId": self.access_key_id,
                "secretAccessKey": self.secret_access_key,
                "sessionToken": self.session_token,
                "expiration": session.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "packedPolicySize": 10,
            "roleArn": session.role_arn,
            "sourceIdentity": session.source_identity,
        }
        return {"credentialSet": [entry], "subjectArn": session.subject_arn}


def mint(session: Session, entropy: Entropy) -> Issued:
    """Fresh credentials in the shapes AWS uses: ASIA…, 40 characters, a long opaque token."""
    return Issued(
        session,
        access_key_id="ASIA" + base64.b32encode(entropy(10)).decode(),
        secret_access_key=base64.b64encode(entropy(30)).decode(),
        session_token=base64.b64encode(entropy(300)).decode(),
    )
