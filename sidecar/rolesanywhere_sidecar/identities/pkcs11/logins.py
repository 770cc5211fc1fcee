"""Logging in to a token: whether it must be, whether it may be, and what its refusal means.

Tries a PIN once; what was tried is the latch's to know. Holds nothing.
"""

import logging

from rolesanywhere_sidecar.identities.pkcs11 import verdicts
from rolesanywhere_sidecar.identities.pkcs11.conversation import Conversation, ModuleError, Token
from rolesanywhere_sidecar.identities.pkcs11.errors import PinFinalTry, PinLocked, PinMissing
from rolesanywhere_sidecar.identities.pkcs11.latch import PinLatch
from rolesanywhere_sidecar.identities.pkcs11.pins import Pin

log = logging.getLogger(__name__)


def log_in(talk: Conversation, token: Token, pin: Pin | None, latch: PinLatch) -> None:
    """Be logged in to ``token``, unless it asks for no login.

    Raises `PinProblem` or `ModuleError`.
    """
    if not token.login_required or talk.is_logged_in(token):
        return
    if pin is None:
        raise PinMissing(
            f"the token {token.name} asks for a PIN, and none is set",
            hint="put it into a file and name that as --pin-file",
        )
    _respect_flags(token, pin, latch)
    # What comes of it shall not count as the PIN's.
    talk.close_session(token)
    with latch.trying(token.name, pin) as trial:
        if token.pin_count_low and not latch.has_accepted(token.name, pin):
            log.warning(
                "PIN tried after a wrong one",
                extra={"problem": f"a wrong PIN was tried on the token {token.name} before"},
            )
        try:
            talk.login(token, pin.text)
        except ModuleError as wrong:
            if wrong.name not in verdicts.PROBLEMS:
                if wrong.name not in verdicts.UNCLEAR:
                    trial.unjudged()
                raise
            trial.refused(wrong.name)
            raise verdicts.refusal(wrong.name, token.name, pin.source) from None
        trial.accepted()


def _respect_flags(token: Token, pin: Pin, latch: PinLatch) -> None:
    """What a token says of its PIN without being asked. A TPM says nothing, ever."""
    if token.pin_locked:
        told = verdicts.refusal("PinLocked", token.name, pin.source)
        raise PinLocked(told.problem, hint=told.hint)
    if latch.has_accepted(token.name, pin):
        return
    if token.pin_final_try:
        raise PinFinalTry(
            f"one more wrong PIN would lock the token {token.name}, so that of {pin.source} is not"
            " tried",
            hint="log in once by hand with the right one (pkcs11-tool --login --test): that sets"
            " the token's counter back",
        )
