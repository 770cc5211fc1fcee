"""Where an identity comes from, as the settings say: files, or a token with files beside it.

What tokens need is loaded for tokens alone. Never reads an identity.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rolesanywhere_contract import pkcs11uri
from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_contract.settings import IdentitySettings
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles

if TYPE_CHECKING:
    from rolesanywhere_sidecar.identities.pkcs11.tally import Tally
    from rolesanywhere_sidecar.identities.token_identity import TokenIdentity

log = logging.getLogger(__name__)

_NOW: Final = partial(datetime.now, UTC)


def in_a_token(settings: IdentitySettings) -> bool:
    """Whether certificate or key are ``pkcs11:`` URIs."""
    return any(map(pkcs11uri.is_one, (settings.certificate, settings.private_key or "")))


def source(
    settings: IdentitySettings,
    *,
    env: Mapping[str, str],
    now: Callable[[], datetime] = _NOW,
    tally: "Tally | None" = None,
) -> "IdentityFiles | TokenIdentity":
    """The identity that ``settings`` name; close it in the end.

    ``env`` is what a module may see, without our settings. Raises `InvalidPkcs11Uri` or
    `ModuleUnusable`.
    """
    if not in_a_token(settings):
        return replace(IdentityFiles.of(settings), now=now)
    return _token_identity(settings, env=env, now=now, tally=tally)


def _token_identity(
    settings: IdentitySettings,
    *,
    env: Mapping[str, str],
    now: Callable[[], datetime],
    tally: "Tally | None",
) -> "TokenIdentity":
    # Pods whose keys are files, most of them, do without all of this.
    from rolesanywhere_sidecar.identities.pkcs11 import locating, modules
    from rolesanywhere_sidecar.identities.pkcs11.hardwarekey import Tokens
    from rolesanywhere_sidecar.identities.pkcs11.latch import PinLatch
    from rolesanywhere_sidecar.identities.pkcs11.pins import PinSource
    from rolesanywhere_sidecar.identities.pkcs11.searching import Search
    from rolesanywhere_sidecar.identities.pkcs11.supervisor import Supervisor
    from rolesanywhere_sidecar.identities.pkcs11.tally import Tally
    from rolesanywhere_sidecar.identities.token_identity import TokenIdentity

    certificate, key = _uris(settings)
    for uri in (certificate, key):
        if uri is not None and uri.pin_value is not None:
            log.warning(
                "PIN in a URI",
                extra={
                    "problem": "a pin-value is where everybody can read it who sees this process's"
                    " settings; put the PIN into a file and name that as --pin-file"
                },
            )
            break
    heard = tally or Tally()
    supervisor = Supervisor(
        modules.module(settings.pkcs11_module, env, exists=lambda path: Path(path).exists()),
        env=env,
        restarted=heard.restarted,
    )
    latch = PinLatch.at(
        modules.latch_path(settings.pin_latch_file, env),
        required=settings.pin_latch_file is not None,
    )
    # The two that may hold a PIN.
    without_pins = replace(
        settings,
        certificate=settings.certificate if certificate is None else locating.shown(certificate),
        private_key=settings.private_key if key is None else locating.shown(key),
    )
    return TokenIdentity(
        files=replace(IdentityFiles.of(without_pins), now=now),
        search=Search(
            Tokens(supervisor, latch, heard),
            certificate,
            key,
            latest=settings.use_latest_expiring_certificate,
        ),
        pin_source=PinSource.of(settings.pin_file, key, certificate),
        now=now,
    )


def _uris(settings: IdentitySettings) -> tuple[Pkcs11Uri | None, Pkcs11Uri | None]:
    """Of the certificate and of the key, where they are in tokens. Raises `InvalidPkcs11Uri`.

    A key without a setting is the certificate's, whose object and type are not the key's own.
    """
    named = settings.private_key
    if named is not None and pkcs11uri.is_one(named):
        key = Pkcs11Uri.configured(named, of="private")
    else:
        key = None
    if not pkcs11uri.is_one(settings.certificate):
        return None, key
    if settings.certificate == named and key is not None:
        # sign-string has one of them stand for both.
        return replace(key, object=None, type=None), key
    certificate = Pkcs11Uri.configured(settings.certificate, of="cert")
    if named is None:
        key = replace(certificate, object=None, type=None, id=None)
    return certificate, key
