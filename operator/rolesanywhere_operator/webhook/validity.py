"""When a certificate ends: the one thing that metrics want of it.

Reads just so much DER (ITU-T X.690; RFC 5280, section 4.1) that the webhook need not load a
cryptography library, a seventh of its memory, for a date. Never verifies: OpenSSL has taken the
certificate already.
"""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_UTC_TIME: Final = 0x17
_EXPLICIT_VERSION: Final = 0xA0


def ends(pem: str) -> datetime:
    """When the first certificate of ``pem`` ends. Raises `ValueError` for what is none."""
    begin, end = pem.find(_BEGIN), pem.find(_END)
    if begin < 0 or end < begin:
        raise ValueError("there is no certificate in the PEM")
    try:
        return _ends(ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_END)]))
    except (IndexError, StopIteration) as broken:
        raise ValueError("the certificate is cut off") from broken


def _ends(der: bytes) -> datetime:
    [(_, certificate)] = _values(der)
    _, signed = next(_values(certificate))
    fields = _values(signed)
    # The version may be absent; then the serial number comes first.
    tag, _ = next(fields)
    to_skip = 3 if tag == _EXPLICIT_VERSION else 2  # serial number, algorithm and issuer
    for _ in range(to_skip):
        next(fields)
    _, validity = next(fields)
    _, (tag, text) = _values(validity)
    return _moment(tag, text.decode("ascii"))


def _moment(tag: int, text: str) -> datetime:
    """RFC 5280, section 4.1.2.5: UTCTime is of 1950 to 2049, and both end in Z."""
    if tag == _UTC_TIME:
        text = f"{'19' if text >= '5' else '20'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _values(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each value, one after another."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        yield tag, der[at : at + length]
        at += length
