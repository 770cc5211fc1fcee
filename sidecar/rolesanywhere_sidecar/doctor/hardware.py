"""The hardware that certificate or key are in: its module, its tokens, and how one takes the PIN.

`look` asks the module without a login, `judge` and `judge_pin` say what was seen. A PIN is tried
where the key is looked for, by `specimen`, and as serve would try it: once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.pkcs11uri import InvalidPkcs11Uri, Pkcs11Uri
from rolesanywhere_contract.settings import IdentitySettings
from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, skipped, warning
from rolesanywhere_sidecar.identities import sources
from rolesanywhere_sidecar.identities.identity import KeyMismatch
from rolesanywhere_sidecar.identities.keys import UnsupportedKey
from rolesanywhere_sidecar.identities.pkcs11 import locating
from rolesanywhere_sidecar.identities.pkcs11.conversation import Conversation, Token
from rolesanywhere_sidecar.identities.pkcs11.errors import (
    AmbiguousKey,
    NoSuchKey,
    NoSuchToken,
    PinProblem,
    SignatureWrong,
)
from rolesanywhere_sidecar.identities.pkcs11.facts import LibraryFacts
from rolesanywhere_sidecar.identities.pkcs11.pins import PinSource
from rolesanywhere_sidecar.identities.token_identity import TokenIdentity

# What shows only to who is logged in, so that the PIN was right.
_AFTER_LOGIN: Final = (AmbiguousKey, KeyMismatch, NoSuchKey, SignatureWrong, UnsupportedKey)

_REMEDY: Final = "see what its own tools say of it; pkcs11-tool --list-slots asks any module"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A module, how many tokens it shows, and which of them are meant; or the ``problem``."""

    module: str = ""
    library: LibraryFacts | None = None
    shown: int = 0
    meant: Sequence[Token] = ()
    pin: PinSource = field(default_factory=PinSource)
    problem: RolesAnywhereError | None = None


def look(settings: IdentitySettings, env: Mapping[str, str]) -> Seen | None:
    """What is there, as far as it can be seen; None where nothing is in a token. Blocks."""
    try:
        source = sources.source(settings, env=env)
    except RolesAnywhereError as problem:
        return Seen(problem=problem)
    with closing(source):
        return _asked(source) if isinstance(source, TokenIdentity) else None


def judge(seen: Seen) -> Iterator[Finding]:
    """The module, and each token that is meant."""
    problem = seen.problem
    if isinstance(problem, InvalidPkcs11Uri):
        yield failure(Check.TOKEN, problem.problem, problem.hint or _REMEDY)
        return
    if seen.library is None:
        told = problem or RolesAnywhereError("no PKCS#11 module answers")
        yield failure(Check.MODULE, told.problem, told.hint or _REMEDY)
        yield skipped(Check.TOKEN, "not until module is mended")
        return
    yield ok(Check.MODULE, f"the module {seen.module} is {_named(seen.library)}")
    if problem is not None:
        yield failure(Check.TOKEN, problem.problem, problem.hint or _REMEDY)
    for token in seen.meant:
        yield _token(token, seen.shown)


def judge_pin(seen: Seen, problem: RolesAnywhereError | None) -> Finding:
    """How the token took the PIN, if it was asked; ``problem`` is why there is no key."""
    if isinstance(problem, PinProblem):
        return failure(Check.PIN, problem.problem, problem.hint or "see docs/hardware-keys.md")
    if not seen.meant:
        return skipped(Check.PIN, "there is no token to ask")
    if not any(token.login_required for token in seen.meant):
        return ok(Check.PIN, "the token asks for no PIN")
    if problem is not None and not isinstance(problem, _AFTER_LOGIN):
        return skipped(Check.PIN, "how the token takes it shows once what is told below is mended")
    if seen.pin.value is not None and seen.pin.file is None:
        return warning(
            Check.PIN,
            "the token takes the PIN, which is in a URI: everybody who sees a command line or an"
            " environment can read it there",
            "put it into a file, and name that as --pin-file or ?pin-source=file:<path>",
        )
    return ok(Check.PIN, f"the token takes the PIN of {seen.pin.file}")


def _asked(source: TokenIdentity) -> Seen:
    uris = [each for each in (source.certificate_uri, source.key_uri) if each is not None]
    seen = Seen(module=source.tokens.module, pin=source.pin_source)

    def work(talk: Conversation) -> Seen:
        meant, problem = _meant(uris, talk)
        return Seen(
            module=seen.module,
            library=talk.library,
            shown=len(talk.tokens()),
            meant=meant,
            pin=seen.pin,
            problem=problem,
        )

    try:
        return source.tokens.run(work)
    except RolesAnywhereError as problem:
        return Seen(module=seen.module, pin=seen.pin, problem=problem)


def _meant(
    uris: Sequence[Pkcs11Uri], talk: Conversation
) -> tuple[Sequence[Token], NoSuchToken | None]:
    """Every token that a URI means, each once; or that one means none."""
    try:
        found = [token for uri in uris for token in locating.tokens_of(uri, talk)]
    except NoSuchToken as problem:
        return (), problem
    return tuple(dict.fromkeys(found)), None


def _token(token: Token, shown: int) -> Finding:
    among = f", one of {shown} that it shows" if shown > 1 else ""
    told = f"the token {token.name} is in slot {token.slot.slot_id}{among}"
    if token.pin_locked:
        return warning(Check.TOKEN, f"{told}; its PIN is locked", "see pin, below")
    if token.pin_final_try or token.pin_count_low:
        left = "one more locks it" if token.pin_final_try else "a few more lock it"
        return warning(
            Check.TOKEN,
            f"{told}; somebody has tried a wrong PIN since the last right one, and {left}",
            "log in with the right one, which sets its counter back",
        )
    return ok(Check.TOKEN, f"{told}; {'it asks for a PIN' if token.login_required else 'no PIN'}")


def _named(library: LibraryFacts) -> str:
    """As it says itself."""
    major, minor = library.library_version
    words = (library.library_manufacturer, library.library_description)
    return " ".join(filter(None, (each.strip() for each in words))) + f", {major}.{minor}"
