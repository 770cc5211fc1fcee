"""What a token said of a PIN, how long that counts, and how it is told.

Pure: time comes in, and nothing here holds a PIN.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from rolesanywhere_sidecar.identities.pkcs11.errors import (
    PinExpired,
    PinIncorrect,
    PinLengthWrong,
    PinLocked,
    PinNotInitialized,
    PinProblem,
    PinUnanswered,
)

ACCEPTED: Final = "accepted"
UNJUDGED: Final = "unjudged"
UNANSWERED: Final = "unanswered"

# By python-pkcs11's names of the codes of C_Login.
PROBLEMS: Final[Mapping[str, type[PinProblem]]] = {
    "PinIncorrect": PinIncorrect,
    "PinInvalid": PinIncorrect,
    "PinLenRange": PinLengthWrong,
    "PinLocked": PinLocked,
    "PinExpired": PinExpired,
    "UserPinNotInitialized": PinNotInitialized,
}

# What may stand for a wrong PIN too: vendors have codes of their own, which come as the first.
UNCLEAR: Final = ("PKCS11Error", "FunctionFailed")

# What may change although the PIN does not; and no wrong PIN is counted while it is so.
_PASSING: Final = ("PinLocked", "PinExpired", "UserPinNotInitialized")

# Three wrong PINs lock a TPM, and it forgives one in 1,000 seconds (TPM2_PT_LOCKOUT_INTERVAL, by
# default): two at first and then one each half an hour, of which nobody knows whether they
# arrived, lock none.
MOST_UNANSWERED: Final = 2
MEMORY: Final = timedelta(minutes=30)

_SAID: Final[Mapping[str, tuple[str, str]]] = {
    "PinLenRange": (
        "says that {pin} has the wrong length",
        "check that it holds the PIN and nothing else",
    ),
    "PinLocked": (
        "is locked: it takes no PIN, be it right or wrong",
        "unlock it (a TPM with tpm2_dictionarylockout -c, an HSM with its SO PIN), or wait",
    ),
    "PinExpired": ("wants its PIN to be changed", "change it with the token's own tool"),
    "UserPinNotInitialized": (
        "has no user PIN yet",
        "set one with its SO PIN (pkcs11-tool --init-pin)",
    ),
}


@dataclass(frozen=True, slots=True)
class Record:
    """One PIN, by its ``digest``, and one token: what that said last, and when.

    ``tries`` is how often in a row it did not answer, less one for each `MEMORY` that has passed.
    """

    token: str
    digest: str
    verdict: str
    tries: int
    at: datetime

    def holds(self, now: datetime) -> bool:
        """Whether the token is spared because of this."""
        if self.verdict in PROBLEMS and self.verdict not in _PASSING:
            return True
        recent = now - self.at < MEMORY
        return recent and (self.verdict in _PASSING or self.tries >= MOST_UNANSWERED)

    def problem(self, source: str, *, file: Path | None) -> PinProblem:
        """Why the PIN of ``source`` is not tried; ``file`` is where this is remembered."""
        when = f"{self.at:%Y-%m-%d %H:%M:%SZ}"
        if self.verdict == UNANSWERED:
            return PinUnanswered(
                f"the token {self.token} did not say in {self.tries} logins whether it takes the"
                f" PIN of {source}, the last at {when}: it may be wrong, so there is none more"
                f" for {MEMORY.seconds // 60} minutes",
                hint="look after the token; a changed PIN is tried at once",
            )
        told = refusal(self.verdict, self.token, source)
        if self.verdict in _PASSING:
            return type(told)(
                f"{told.problem} (at {when}; not asked again for {MEMORY.seconds // 60} minutes)",
                hint=told.hint,
            )
        remedy = f"; if it is the right one by now, remove {file}" if file else ""
        return type(told)(
            f"{told.problem} at {when}, and is not asked again", hint=f"{told.hint}{remedy}"
        )


def begun(before: Record | None, token: str, digest: str, *, at: datetime) -> Record:
    """What is remembered while nobody knows yet what ``token`` says; time takes tries away."""
    tries = 0
    if before is not None and before.verdict == UNANSWERED:
        tries = max(0, before.tries - (at - before.at) // MEMORY)
    return Record(token, digest, UNANSWERED, tries + 1, at)


def refusal(verdict: str, token: str, source: str) -> PinProblem:
    """That ``token`` has said ``verdict`` of the PIN of ``source``."""
    said, hint = _SAID.get(
        verdict, ("refused the PIN of {pin}", "put the right PIN there: that is noticed by itself")
    )
    return PROBLEMS[verdict](f"the token {token} {said.format(pin=source)}", hint=hint)
