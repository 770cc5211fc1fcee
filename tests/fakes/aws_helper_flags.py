"""The flags of AWS's credential helper, version 1.8.4, by command; an integration test asks it."""

from collections.abc import Mapping
from typing import Final

_SHARED: Final = """
    --cert-selector --certificate --debug --endpoint --intermediates --no-tpm-key-password
    --no-verify-ssl --pkcs11-lib --pkcs8-password --private-key --profile-arn --region --reuse-pin
    --role-arn --role-session-name --session-duration --system-store-name --tpm-key-password
    --trust-anchor-arn --use-latest-expiring-certificate --with-proxy
"""

FLAGS: Final[Mapping[str, frozenset[str]]] = {
    command: frozenset(text.split())
    for command, text in {
        "credential-process": _SHARED,
        "serve": _SHARED + "--hop-limit --port",
        "update": _SHARED + "--once --profile",
        "sign-string": """
            --cert-selector --certificate --debug --digest --format --no-tpm-key-password
            --pkcs11-lib --pkcs8-password --private-key --reuse-pin --system-store-name
            --tpm-key-password --use-latest-expiring-certificate
        """,
        "read-certificate-data": """
            --cert-selector --certificate --debug --pkcs11-lib --system-store-name
        """,
        "version": "",
    }.items()
}
