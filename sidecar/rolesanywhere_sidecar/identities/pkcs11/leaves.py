"""Which of a token's certificates can be ours: read, without authorities, and with a key of one id.

Certificate and key belong together by CKA_ID, as tools that fill tokens have it. Pure: the token
has been asked by then, or is asked by the caller.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography import x509

from rolesanywhere_sidecar.identities.certificates import (
    InvalidIdentity,
    described,
    read_certificates,
)
from rolesanywhere_sidecar.identities.identity import AmbiguousCertificate, NoSuchCertificate
from rolesanywhere_sidecar.identities.pkcs11.conversation import TokenCertificate
from rolesanywhere_sidecar.identities.pkcs11.errors import NoSuchKey
from rolesanywhere_sidecar.identities.pkcs11.locating import MOST_LISTED

Wanted = Callable[[x509.Certificate], bool]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate, and the object that it is from."""

    held: TokenCertificate
    certificate: x509.Certificate

    @property
    def id(self) -> bytes:
        """The CKA_ID, which its key has too."""
        return self.held.facts.id


def read(found: Sequence[TokenCertificate]) -> Sequence[Leaf]:
    """All that can be read. Raises `InvalidIdentity` if none can."""
    leaves: list[Leaf] = []
    unusable: list[InvalidIdentity] = []
    for held in found:
        try:
            [certificate] = read_certificates(held.der, where=str(held.uri))
        except InvalidIdentity as problem:
            unusable.append(problem)
        else:
            leaves.append(Leaf(held, certificate))
    if unusable and not leaves:
        raise unusable[0]
    return leaves


def likely(leaves: Sequence[Leaf], wanted: Wanted | None) -> Sequence[Leaf]:
    """Those that a cert selector, if there is one, fits, and no authorities if there are others.

    Raises `NoSuchCertificate`.
    """
    found = [each for each in leaves if wanted is None or wanted(each.certificate)]
    if not found:
        raise NoSuchCertificate(
            f"the cert selector fits none of the {len(leaves)} certificate(s) in the token:"
            f" {listed(leaves)}",
            hint="correct the selector, or the URI",
        )
    return [each for each in found if not is_authority(each.certificate)] or found


def with_key(
    leaves: Sequence[Leaf], *, has_key: Callable[[Leaf], bool], latest: bool
) -> Sequence[Leaf]:
    """Those of one id that has a key: where there are several, of that which ends last if the
    ``latest`` is asked for. Raises `NoSuchKey` or `AmbiguousCertificate`."""
    found = [each for each in leaves if each.id and has_key(each)]
    if not found:
        raise NoSuchKey(
            f"no private key in the token has the CKA_ID of {listed(leaves)}",
            hint="name the key in --private-key, or give both one CKA_ID; a key that is there may"
            " also be invisible to this PIN",
        )
    if len({each.id for each in found}) > 1 and not latest:
        raise AmbiguousCertificate(
            f"{len(found)} certificates with keys are meant: {listed(found)}",
            hint="name one of these URIs, or narrow it down with --cert-selector",
        )
    last = max(found, key=lambda each: each.certificate.not_valid_after_utc)
    return [each for each in found if each.id == last.id]


def listed(leaves: Sequence[Leaf]) -> str:
    """Each with its URI, unless they are too many."""
    shown = [f"{each.held.uri} ({described(each.certificate)})" for each in leaves[:MOST_LISTED]]
    more = len(leaves) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more > 0 else [])])


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it says CA:true."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    return constraints.value.ca
