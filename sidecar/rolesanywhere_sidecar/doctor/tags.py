"""What the certificate becomes in the session: principal tags, and whether STS would take them.

By default a profile maps every part of subject and issuer, and of the alternative names the first
DNS name, the first URI and every part of a directory name (IAM Roles Anywhere user guide,
"Certificate attribute mapping"). A profile may map less, which cannot be seen from here. Pure.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from cryptography import x509

from rolesanywhere_sidecar.doctor.demands import extension
from rolesanywhere_sidecar.doctor.findings import Check, Finding, ok, warning

# STS API reference, "Tag": letters, digits, spaces and these, 256 characters at most; 50 tags.
PUNCTUATION: Final = "_.:/=+-@"
LONGEST_VALUE: Final = 256
MOST_TAGS: Final = 50

# STS packs tags into a limit that AWS states as a share alone (PackedPolicySize): from about here
# on it is worth a look.
MANY_CHARACTERS: Final = 1200

_MEANT: Final = "issue the certificate without it, or narrow the profile's attribute mappings"

Tag = tuple[str, str]


def examine(leaf: x509.Certificate) -> Iterator[Finding]:
    """Each value that a tag cannot hold, then how much there is of all together."""
    tags = tuple(default_tags(leaf))
    wrong = [finding for name, value in tags for finding in _value_doubts(name, value)]
    yield from wrong
    if not wrong:
        yield ok(Check.SESSION_TAGS, f"all {len(tags)} values that are mapped by default fit tags")
    yield _packed(tags)


def default_tags(leaf: x509.Certificate) -> Iterator[Tag]:
    """Name and value of each tag under the default attribute mappings."""
    yield from _parts("x509Subject", leaf.subject)
    yield from _parts("x509Issuer", leaf.issuer)
    alternatives = extension(leaf, x509.SubjectAlternativeName)
    if alternatives is None:
        return
    for kind, name in ((x509.DNSName, "DNS"), (x509.UniformResourceIdentifier, "URI")):
        for value in alternatives.get_values_for_type(kind)[:1]:
            yield f"x509SAN/{name}", value
    for directory in alternatives.get_values_for_type(x509.DirectoryName):
        yield from _parts("x509SAN/Name", directory)


def _parts(prefix: str, name: x509.Name) -> Iterator[Tag]:
    for part in name:
        value = part.value if isinstance(part.value, str) else part.value.hex()
        yield f"{prefix}/{part.rfc4514_attribute_name}", value


def _value_doubts(name: str, value: str) -> Iterator[Finding]:
    bad = list(dict.fromkeys(c for c in value if not _fits(c)))
    if bad:
        shown = ", ".join(f"{c!r}" for c in bad)
        yield warning(
            Check.SESSION_TAGS,
            f"{name} is {value[:80]!r}, and STS takes no {shown} in a session tag; expected"
            f" letters, digits, spaces and {PUNCTUATION}",
            _MEANT,
        )
    if len(value) > LONGEST_VALUE:
        yield warning(
            Check.SESSION_TAGS,
            f"{name} has {len(value)} characters, expected {LONGEST_VALUE} at most",
            _MEANT,
        )


def _fits(character: str) -> bool:
    return character in PUNCTUATION or unicodedata.category(character)[0] in "LNZ"


def _packed(tags: Sequence[Tag]) -> Finding:
    characters = sum(len(name) + len(value) for name, value in tags)
    sentence = f"{len(tags)} tags of together {characters} characters are mapped by default"
    if len(tags) > MOST_TAGS or characters > MANY_CHARACTERS:
        return warning(
            Check.PACKED_TAGS,
            f"{sentence}, which may overflow what STS packs into a session",
            "shorten the names in the certificate, or map fewer in the profile",
        )
    return ok(Check.PACKED_TAGS, sentence)
