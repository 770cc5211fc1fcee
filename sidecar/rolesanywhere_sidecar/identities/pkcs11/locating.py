"""Which token, certificate and key a URI means, among what a module shows.

A URI means exactly one, or it is refused with a list of those that it could mean. Certificates are
looked for before there is any login; and no PIN goes to a token that might be another.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Final, TypeVar

from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_sidecar.identities.identity import NoSuchCertificate
from rolesanywhere_sidecar.identities.pkcs11.conversation import (
    Conversation,
    Token,
    TokenCertificate,
    TokenKey,
)
from rolesanywhere_sidecar.identities.pkcs11.errors import (
    AmbiguousKey,
    AmbiguousToken,
    NoSuchKey,
    NoSuchToken,
)
from rolesanywhere_sidecar.identities.pkcs11.facts import (
    SlotFacts,
    TokenFacts,
    fits,
    meant_as_hexadecimal,
    naming,
)

_Thing = TypeVar("_Thing", Token, TokenCertificate, TokenKey)

# A sentence names no more than a reader takes in.
MOST_LISTED: Final = 8

# What a URI can say of a token and its slot, but for the module, which is the same for all.
OF_TOKENS: Final = tuple(each.name for kind in (TokenFacts, SlotFacts) for each in fields(kind))


def tokens_of(uri: Pkcs11Uri, talk: Conversation) -> Sequence[Token]:
    """The tokens that ``uri`` means, one or more. Raises `NoSuchToken`."""
    present = talk.tokens()
    library = (talk.library,) if talk.library else ()
    found = [each for each in present if fits(uri, each.facts, each.slot, *library)]
    if found:
        return found
    if not present:
        raise NoSuchToken(
            "the PKCS#11 module shows no token at all",
            hint="plug one in, or start the server that p11-kit's client speaks to"
            " (P11_KIT_SERVER_ADDRESS); it is looked for again by itself",
        )
    raise NoSuchToken(
        f"no token is as {shown(uri)} says; there are {listed(present)}",
        hint="correct the URI, or plug the token in",
    )


def token_of(uri: Pkcs11Uri, talk: Conversation) -> Token:
    """The one token that ``uri`` means. Raises `NoSuchToken` or `AmbiguousToken`."""
    found = tokens_of(uri, talk)
    if len(found) > 1:
        raise ambiguous_token(uri, found)
    return found[0]


def certificates_of(
    uri: Pkcs11Uri, talk: Conversation, *, log_in: Callable[[Token], None]
) -> tuple[Sequence[TokenCertificate], Sequence[TokenCertificate]]:
    """The certificates that ``uri`` means, one or more, and all that are in the same tokens.

    Where nothing can be read without a login, there is one, if only one token can be meant.
    Raises `NoSuchToken`, `NoSuchCertificate`, or what ``log_in`` does.
    """
    tokens = tokens_of(uri, talk)
    beside = [held for token in tokens for held in talk.certificates(token)]
    meant = [each for each in beside if fits(uri, each.facts)]
    if not meant and len(tokens) == 1 and tokens[0].login_required:
        log_in(tokens[0])
        beside = list(talk.certificates(tokens[0]))
        meant = [each for each in beside if fits(uri, each.facts)]
    if not meant:
        raise NoSuchCertificate(
            f"no certificate is as {shown(uri)} says; there are {listed(beside)}",
            hint=_spelt(uri, [each.facts.id for each in beside])
            or "correct the URI, or put the certificate into the token or name its file",
        )
    return meant, beside


def key_of(talk: Conversation, token: Token, *, id: bytes | None, label: str | None) -> TokenKey:  # noqa: A002 - as in CKA_ID and in a URI
    """The one private key in ``token`` with this CKA_ID and label, of those that are given.

    Who calls has logged in. Raises `NoSuchKey` or `AmbiguousKey`.
    """
    found = talk.keys(token, id=id, label=label)
    if len(found) == 1:
        return found[0]
    wanted = shown(Pkcs11Uri(id=id, object=label, type="private"))
    if found:
        raise AmbiguousKey(
            f"{len(found)} private keys in {token.name} are as {wanted} says: {listed(found)}",
            hint="name the right one by its id in --private-key",
        )
    present = talk.keys(token, id=None, label=None)
    raise NoSuchKey(
        f"no private key in {token.name} is as {wanted} says; there are {listed(present)}",
        hint=_spelt(Pkcs11Uri(id=id), [each.facts.id for each in present])
        or "name the right one in --private-key, or give key and certificate one CKA_ID",
    )


def ambiguous_token(uri: Pkcs11Uri, tokens: Sequence[Token]) -> AmbiguousToken:
    """That several ``tokens`` are as ``uri`` says."""
    return AmbiguousToken(
        f"{len(tokens)} tokens are as {shown(uri)} says: {listed(tokens)}",
        hint="name the right one by its serial, or the slot that it is in",
    )


def listed(things: Sequence[_Thing]) -> str:
    """The URI of each, unless they are too many."""
    if not things:
        return "none"
    shown = ", ".join(map(_uri, things[:MOST_LISTED]))
    more = len(things) - MOST_LISTED
    return f"{shown} and {more} more" if more > 0 else shown


def shown(uri: Pkcs11Uri) -> str:
    """``uri`` without what it says of a PIN."""
    return str(uri).partition("?")[0]


def _uri(thing: Token | TokenCertificate | TokenKey) -> str:
    """Of a token with its slot, which may be all that tells it from another."""
    return str(naming(thing.slot, thing.facts) if isinstance(thing, Token) else thing.uri)


def _spelt(uri: Pkcs11Uri, present: Sequence[bytes]) -> str:
    """A hint, where the id is that of an object by its digits."""
    meant = meant_as_hexadecimal(uri.id, present) if uri.id else None
    return f"its id is text: write {shown(Pkcs11Uri(id=meant))}" if meant else ""
