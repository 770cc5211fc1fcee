"""What tokens hold, for who has no URI yet: each certificate with its own, and is its key there?

Certificates show without a login where the token lets them; keys mostly do not. Signs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_sidecar.identities.pkcs11.conversation import (
    Conversation,
    Token,
    TokenCertificate,
)
from rolesanywhere_sidecar.identities.pkcs11.errors import PinProblem
from rolesanywhere_sidecar.identities.pkcs11.locating import certificates_of, tokens_of


@dataclass(frozen=True, slots=True)
class Listed:
    """A certificate, and whether a private key has its CKA_ID.

    None is "it does not show", for the reason ``unseen``.
    """

    certificate: TokenCertificate
    has_key: bool | None
    unseen: str = ""


def listing(
    uri: Pkcs11Uri, talk: Conversation, *, log_in: Callable[[Token], None]
) -> Sequence[Listed]:
    """Every certificate that ``uri`` means. Raises what `certificates_of` does.

    ``log_in`` is called if one token alone is meant. What shows is listed even where it raises a
    `PinProblem`.
    """
    tokens = tokens_of(uri, talk)
    problem = _login_problem(tokens, log_in)

    def refused(_: Token) -> None:
        if isinstance(problem, PinProblem):
            raise problem

    meant, _ = certificates_of(uri, talk, log_in=refused)
    keys = {
        (token, key.facts.id)
        for token in dict.fromkeys(each.token for each in meant)
        for key in talk.keys(token, id=None, label=None)
    }
    return [_listed(each, keys, problem) for each in meant]


def _login_problem(
    tokens: Sequence[Token], log_in: Callable[[Token], None]
) -> PinProblem | str | None:
    """Why not all that is there may show, if it may not."""
    if not any(token.login_required for token in tokens):
        return None
    if len(tokens) > 1:
        return f"{len(tokens)} tokens are meant, and a PIN is one token's: name one to see its keys"
    try:
        log_in(tokens[0])
    except PinProblem as problem:
        return problem
    return None


def _listed(
    held: TokenCertificate, keys: set[tuple[Token, bytes]], problem: RolesAnywhereError | str | None
) -> Listed:
    if held.facts.id and (held.token, held.facts.id) in keys:
        return Listed(held, True)
    if problem is None or not held.token.login_required:
        return Listed(held, False)
    return Listed(held, None, str(problem))
