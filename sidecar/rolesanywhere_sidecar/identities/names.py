"""Distinguished names in the spellings that users meet, and whether a cert selector fits.

AWS's helper compares the text that Go's ``pkix.Name.String`` makes, openssl and most tools print
RFC 4514: both are understood. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from cryptography import x509

from rolesanywhere_contract.certselector import CertSelector

# The attributes that Go names, in the order in which it writes them; it joins several of one kind
# with "+", whether or not they were one RDN.
_GO_ORDER: Final[Mapping[str, str]] = {
    "2.5.4.5": "SERIALNUMBER",
    "2.5.4.3": "CN",
    "2.5.4.11": "OU",
    "2.5.4.10": "O",
    "2.5.4.17": "POSTALCODE",
    "2.5.4.9": "STREET",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.6": "C",
}
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")


def fits(selector: CertSelector, certificate: x509.Certificate) -> bool:
    """Whether ``certificate`` is what ``selector`` asks for, in all that it says."""
    return (
        selector.serial in (None, certificate.serial_number)
        and _is_named(certificate.subject, selector.subject)
        and _is_named(certificate.issuer, selector.issuer)
    )


def spellings(name: x509.Name) -> tuple[str, str]:
    """``name`` as RFC 4514 and as Go write it."""
    return name.rfc4514_string(), go_string(name)


def go_string(name: x509.Name) -> str:
    """``name`` as Go's ``pkix.Name.String`` writes it."""
    known = list(_known(name))
    others = [
        f"{held.oid.dotted_string}=#{_der_string(held.value)}"
        for held in name
        if held.oid.dotted_string not in _GO_ORDER
    ]
    return ",".join([*known, *reversed(others)])


def _is_named(name: x509.Name, wanted: str | None) -> bool:
    return wanted is None or wanted in spellings(name)


def _known(name: x509.Name) -> Iterator[str]:
    for oid, label in _GO_ORDER.items():
        values = [held.value for held in name if held.oid.dotted_string == oid]
        # Of these two a name has one: Go keeps the last.
        values = values[-1:] if label in ("CN", "SERIALNUMBER") else values
        if values and values != [""]:
            yield "+".join(f"{label}={_escaped(value)}" for value in values)


def _escaped(value: str | bytes) -> str:
    text = value if isinstance(value, str) else value.decode(errors="replace")
    last = len(text.encode()) - 1  # Go counts places in bytes
    place, found = 0, ""
    for character in text:
        special = (
            character in ',+"\\<>;'
            or (character == " " and place in (0, last))
            or (character == "#" and place == 0)
        )
        found += f"\\{character}" if special else character
        place += len(character.encode())
    return found


def _der_string(value: str | bytes) -> str:
    """A string as Go's ``asn1.Marshal`` writes it, in hex."""
    if isinstance(value, bytes):
        return value.hex()
    content = value.encode()
    tag = 0x13 if _PRINTABLE.fullmatch(value) else 0x0C
    size = len(content)
    if size < 0x80:
        head = bytes([tag, size])
    else:
        length = size.to_bytes((size.bit_length() + 7) // 8, "big")
        head = bytes([tag, 0x80 | len(length)]) + length
    return (head + content).hex()
