"""What a Secret and a webhook configuration say of the webhook's certificate, read as one.

Never asks for them, and never writes them.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from rolesanywhere_operator.controller import minting
from rolesanywhere_operator.domain.authorities import Found
from rolesanywhere_operator.domain.untyped import items, mapping
from rolesanywhere_operator.kube.client import Json

CERTIFICATE: Final = "tls.crt"
PRIVATE_KEY: Final = "tls.key"
AUTHORITIES: Final = "ca.crt"
AUTHORITY_KEY: Final = "ca.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The two objects as they were read; what makes no sense in them counts as absent."""

    secret: Json
    configuration: Json

    @property
    def held(self) -> dict[str, str]:
        """The Secret's texts by name, of those that are ours."""
        data = mapping(self.secret.get("data"))
        names = (CERTIFICATE, PRIVATE_KEY, AUTHORITIES, AUTHORITY_KEY)
        return {name: text for name in names if (text := _text(data.get(name)))}

    def found(self) -> Found:
        """What they say to `authorities`."""
        held = self.held
        trusted = tuple(
            _text(mapping(one.get("clientConfig")).get("caBundle"))
            for one in items(self.configuration.get("webhooks"))
        )
        ours = [minting.authorities(text) for text in (held.get(AUTHORITIES, ""), *trusted)]
        known = frozenset(one for found in ours for one in found)
        return Found(
            authority=minting.authority_of(ours[0], held.get(AUTHORITY_KEY, "")),
            known=known,
            leaf=minting.leaf_of(held.get(CERTIFICATE, ""), held.get(PRIVATE_KEY, ""), known),
            trusted=trusted,
        )


def _text(encoded: object) -> str:
    """Base64 as text; what is none counts as absent."""
    try:
        return base64.b64decode(str(encoded or ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
