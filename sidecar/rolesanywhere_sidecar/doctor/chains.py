"""Does what was given lead up from the leaf, and where does it end?

Whether it ends at the trust anchor is for the service to say: nobody here knows its certificate.
Pure.
"""

from collections.abc import Iterator, Sequence

from cryptography import x509

from rolesanywhere_sidecar.doctor.findings import Check, Finding, ok, warning
from rolesanywhere_sidecar.identities.certificates import described, is_self_signed, listed


def examine(
    leaf: x509.Certificate,
    chain: Sequence[x509.Certificate],
    given: Sequence[x509.Certificate],
) -> Iterator[Finding]:
    """``chain`` is what is sent above ``leaf``, in order; ``given`` is all, as it was found."""
    top = chain[-1] if chain else leaf
    strangers = [held for held in dict.fromkeys(given) if not _has_its_place(held, leaf, chain)]
    if strangers:
        yield _strangers(strangers, top)
        return
    remarks = "".join(f"; {remark}" for remark in _remarks(leaf, chain, given))
    yield ok(Check.CHAIN, f"{_sent(chain, top)}{remarks}")


def _sent(chain: Sequence[x509.Certificate], top: x509.Certificate) -> str:
    if not chain:
        return f"the leaf goes alone: the trust anchor must be {_issuer_of(top)}, which issued it"
    return (
        f"{len(chain)} intermediate(s) lead up from the leaf: the trust anchor must be"
        f" {_issuer_of(top)}, or one of them"
    )


def _strangers(strangers: Sequence[x509.Certificate], top: x509.Certificate) -> Finding:
    """A gap and an unrelated certificate look the same from here: something is missing, or much."""
    return warning(
        Check.CHAIN,
        f"{listed(strangers)} cannot be reached from the leaf and is not sent: nothing that was"
        f" given is {_issuer_of(top)}, which issued {described(top)}",
        f"add {_issuer_of(top)} to --intermediates unless it is the trust anchor; leave out what"
        " belongs to another chain",
    )


def _has_its_place(
    held: x509.Certificate, leaf: x509.Certificate, chain: Sequence[x509.Certificate]
) -> bool:
    if held == leaf or held in chain:
        return True
    # A root is never sent: its place is at the top of what is.
    return is_self_signed(held) and any(below.issuer == held.subject for below in (leaf, *chain))


def _remarks(
    leaf: x509.Certificate,
    chain: Sequence[x509.Certificate],
    given: Sequence[x509.Certificate],
) -> Iterator[str]:
    once = list(dict.fromkeys(given))
    if list(given).count(leaf) > 1:
        yield "the leaf was given twice and is sent once"
    if [held for held in once if held in chain] != list(chain):
        yield "they were given in another order and are sent in this one"
    roots = [held for held in once if held not in chain and held != leaf]
    if roots:
        yield f"the root's own {described(roots[0])} was given too and is not sent"


def _issuer_of(certificate: x509.Certificate) -> str:
    return repr(certificate.issuer.rfc4514_string())
