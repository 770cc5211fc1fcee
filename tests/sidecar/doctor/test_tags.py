"""Values that become session tags, and those that STS would refuse."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_sidecar.doctor import tags
from rolesanywhere_sidecar.doctor.findings import Check, Finding
from tests.fakes import pki
from tests.fakes.pki import LEAF, Authority
from tests.fakes.rolesanywhere import TAG_VALUE
from tests.support.examined import OK, WARNING, of, troubles

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
ROOT = Authority.root(at=NOW)


def leaf(
    subject: x509.Name | None = None, names: tuple[x509.GeneralName, ...] = ()
) -> x509.Certificate:
    template = replace(LEAF, subject=subject, names=names)
    return ROOT.leaf(at=NOW, template=template).certificate


def examined(certificate: x509.Certificate) -> list[Finding]:
    return list(tags.examine(certificate))


def test_the_default_mappings_are_awss() -> None:
    directory = pki.named("inner", organization_name="Example")
    names = (
        x509.DNSName("one.example"),
        x509.DNSName("two.example"),
        x509.UniformResourceIdentifier("spiffe://one"),
        x509.UniformResourceIdentifier("spiffe://two"),
        x509.RFC822Name("a@b.example"),
        x509.DirectoryName(directory),
    )
    assert list(tags.default_tags(leaf(pki.named("web", country_name="DE"), names))) == [
        ("x509Subject/C", "DE"),
        ("x509Subject/CN", "web"),
        ("x509Issuer/CN", "Test Root"),
        ("x509SAN/DNS", "one.example"),
        ("x509SAN/URI", "spiffe://one"),
        ("x509SAN/Name/O", "Example"),
        ("x509SAN/Name/CN", "inner"),
    ]


@pytest.mark.parametrize("name", ["web", "Zoë Œuvre 9", "a_b.c:d/e=f+g-h@i"])
def test_values_that_tags_take_are_well(name: str) -> None:
    assert troubles(examined(leaf(pki.named(name)))) == []


@pytest.mark.parametrize(
    ("name", "shown"), [("web (prod)", "'(', ')'"), ("a*b", "'*'"), ("a,b", "','"), ("x&y", "'&'")]
)
def test_a_character_that_tags_refuse_is_named_with_its_field(name: str, shown: str) -> None:
    found = of(examined(leaf(pki.named(name))), Check.SESSION_TAGS)
    assert found.verdict is WARNING
    assert found.sentence.startswith(f"x509Subject/CN is {name!r}, and STS takes no {shown} in")
    assert "attribute mappings" in found.remedy


def test_issuer_and_alternative_names_are_looked_at_too() -> None:
    odd = Authority.root("Example CA (2026)", at=NOW)
    names = (x509.DNSName("*.example.com"), x509.UniformResourceIdentifier("https://a/?b"))
    certificate = odd.leaf(at=NOW, template=replace(LEAF, names=names)).certificate
    fields = [found.sentence.split()[0] for found in examined(certificate)[:3]]
    assert fields == ["x509Issuer/CN", "x509SAN/DNS", "x509SAN/URI"]


def test_a_value_that_is_too_long_is_a_warning() -> None:
    name = x509.UniformResourceIdentifier("https://example/" + "a" * 250)
    found = of(examined(leaf(names=(name,))), Check.SESSION_TAGS)
    assert found.verdict is WARNING
    assert "266 characters, expected 256 at most" in found.sentence


def test_much_of_everything_is_a_warning() -> None:
    parts = [x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, f"unit {n}" * 5)
             for n in range(30)]  # fmt: skip
    found = of(examined(leaf(x509.Name(parts))), Check.PACKED_TAGS)
    assert found.verdict is WARNING
    assert found.sentence.startswith("31 tags of together")
    assert of(examined(leaf()), Check.PACKED_TAGS).verdict is OK


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=60))
def test_what_is_said_to_fit_is_what_the_pretended_sts_takes_of_latin(name: str) -> None:
    latin = "".join(c for c in name if ord(c) < 128) or "x"
    verdict = of_all(examined(leaf(pki.named(latin))))
    assert verdict is (OK if TAG_VALUE.fullmatch(latin) else WARNING)


def of_all(findings: list[Finding]) -> str:
    """The verdict on the tags' values."""
    return next(found.verdict for found in findings if found.check is Check.SESSION_TAGS)
