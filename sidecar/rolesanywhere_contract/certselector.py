"""How a user says which certificate, of several: by subject, issuer and serial number.

The spelling is that of AWS's own helper: ``Key=x509Subject,Value=… Key=x509Serial,Value=…``, or
the same as JSON in a file, which is named as ``file://<path>``. Pure: never opens that file, and
sees no certificate.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from rolesanywhere_contract.errors import RolesAnywhereError

FILE_SCHEME: Final = "file://"
SUBJECT: Final = "x509Subject"
ISSUER: Final = "x509Issuer"
SERIAL: Final = "x509Serial"

_KEYS: Final = (SUBJECT, ISSUER, SERIAL)
_EXPECTED: Final = f"expected {', '.join(_KEYS[:-1])} or {_KEYS[-1]}, each once at most"
_PAIR = re.compile(r"Key=(?P<key>[^\s,]*),Value=(?P<value>.*)", re.DOTALL)
# Colons as openssl shows it; 20 bytes are all that RFC 5280 allows, and some issuers exceed.
_SERIAL = re.compile(r"[0-9a-fA-F]+(?::?[0-9a-fA-F]+)*")
_LONGEST_SERIAL: Final = 256


class InvalidCertSelector(RolesAnywhereError):
    """A text is not a cert selector."""

    code = "InvalidCertSelector"


@dataclass(frozen=True, slots=True)
class CertSelector:
    """What a certificate must be; None for what does not matter. At least one does.

    ``subject`` and ``issuer`` are whole distinguished names, as their user spelt them.
    """

    subject: str | None = None
    issuer: str | None = None
    serial: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``Key=…,Value=…`` pairs, separated by spaces. Raises `InvalidCertSelector`."""
        pairs = re.split(r"\s+(?=Key=)", text.strip())
        return cls._of(_pair(pair) for pair in pairs)

    @classmethod
    def parse_json(cls, text: str) -> Self:
        """From ``[{"Key": …, "Value": …}, …]``. Raises `InvalidCertSelector`."""
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError):
            raise _wrong("is not JSON") from None
        if not isinstance(entries, list):
            raise _wrong("is not a JSON list")
        return cls._of(_entry(entry) for entry in entries)

    @classmethod
    def _of(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        found: dict[str, str] = {}
        for key, value in pairs:
            if key not in _KEYS:
                raise _wrong(f"has the key {key[:40]!r}")
            if key in found:
                raise _wrong(f"has the key {key} twice")
            found[key] = value.strip()
            if not found[key]:
                raise _wrong(f"has no value for the key {key}")
        if not found:
            raise _wrong("is empty")
        serial = found.get(SERIAL)
        return cls(
            found.get(SUBJECT), found.get(ISSUER), None if serial is None else _serial(serial)
        )


def file_of(text: str) -> str | None:
    """The path that ``text`` names in place of pairs; None for pairs."""
    return text.removeprefix(FILE_SCHEME) if text.startswith(FILE_SCHEME) else None


def checked(text: str) -> str:
    """``text`` as it is, if it is a selector or names a file. Raises `InvalidCertSelector`."""
    path = file_of(text)
    if path is None:
        CertSelector.parse(text)
    elif not path:
        raise _wrong("names no file")
    return text


def _pair(text: str) -> tuple[str, str]:
    found = _PAIR.fullmatch(text)
    if found is None:
        raise _wrong(f"has {text[:40]!r} where Key=<key>,Value=<value> belongs")
    return found["key"], found["value"]


def _entry(entry: object) -> tuple[str, str]:
    if not isinstance(entry, dict) or set(entry) != {"Key", "Value"}:
        raise _wrong('has an entry that is not {"Key": …, "Value": …}')
    key, value = entry["Key"], entry["Value"]
    if not isinstance(key, str) or not isinstance(value, str):
        raise _wrong("has a Key or a Value that is no string")
    return key, value


def _serial(text: str) -> int:
    if len(text) > _LONGEST_SERIAL or not _SERIAL.fullmatch(text):
        raise InvalidCertSelector(
            f"the cert selector has the serial number {text[:60]!r}",
            hint="expected hexadecimal digits, with or without colons",
        )
    return int(text.replace(":", ""), 16)


def _wrong(problem: str) -> InvalidCertSelector:
    return InvalidCertSelector(f"the cert selector {problem}", hint=_EXPECTED)
