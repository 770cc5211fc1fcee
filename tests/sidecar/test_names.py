"""Distinguished names as Go spells them: AWS's helper selects certificates by that text.

The expected texts were printed by Go 1.26's ``pkix.Name.String`` for certificates of these names.
"""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.certselector import CertSelector
from rolesanywhere_sidecar.identities.names import fits, go_string, spellings
from tests.fakes.pki import LEAF, Authority, named

NOW = datetime(2026, 3, 14, tzinfo=UTC)
ROOT = Authority.root("Root, of all", at=NOW)
LEAF_HELD = ROOT.leaf("a+b", at=NOW).certificate

CN, ORG, OU, SN = (
    NameOID.COMMON_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.SERIAL_NUMBER,
)


def name(*rdns: list[tuple[x509.ObjectIdentifier, str]]) -> x509.Name:
    return x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(oid, text) for oid, text in rdn])
            for rdn in rdns
        ]
    )


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (name([(CN, "web")]), "CN=web"),
        (
            name([(NameOID.COUNTRY_NAME, "DE")], [(ORG, "Ex, Inc.")], [(OU, "a")], [(OU, "b")],
                 [(CN, "web")]),
            "CN=web,OU=a+OU=b,O=Ex\\, Inc.,C=DE",
        ),
        (name([(CN, "first")], [(CN, "last")], [(SN, "12")]), "SERIALNUMBER=12,CN=last"),
        (name([(CN, ' #lead; <x> "q" \\ +')]), 'CN=\\ #lead\\; \\<x\\> \\"q\\" \\\\ \\+'),
        (
            name([(CN, "#a ")], [(NameOID.EMAIL_ADDRESS, "a@b.c")],
                 [(NameOID.DOMAIN_COMPONENT, "example")], [(NameOID.DOMAIN_COMPONENT, "com")]),
            "CN=\\#a\\ ,0.9.2342.19200300.100.1.25=#1303636f6d,"
            "0.9.2342.19200300.100.1.25=#13076578616d706c65,1.2.840.113549.1.9.1=#0c056140622e63",
        ),
        (
            name([(CN, "grün ")], [(NameOID.USER_ID, "u*1")], [(NameOID.TITLE, "Dr")]),
            "CN=grün\\ ,2.5.4.12=#13024472,0.9.2342.19200300.100.1.1=#0c03752a31",
        ),
        (
            name([(CN, "a"), (OU, "b")], [(NameOID.LOCALITY_NAME, "l")],
                 [(NameOID.STATE_OR_PROVINCE_NAME, "st")], [(NameOID.STREET_ADDRESS, "s")],
                 [(NameOID.POSTAL_CODE, "p")]),
            "CN=a,OU=b,POSTALCODE=p,STREET=s,L=l,ST=st",
        ),
        (name([(NameOID.USER_ID, "x" * 200)]), f"0.9.2342.19200300.100.1.1=#1381c8{'78' * 200}"),
        (name(), ""),
    ],
)  # fmt: skip
def test_a_name_is_spelt_as_go_spells_it(made: x509.Name, expected: str) -> None:
    assert go_string(made) == expected


@pytest.mark.parametrize(
    ("selector", "does"),
    [
        (CertSelector(subject=r"CN=a\+b"), True),
        (CertSelector(subject="CN=a+b"), False),
        (CertSelector(issuer=r"CN=Root\, of all"), True),
        (CertSelector(issuer="CN=Root"), False),
        (CertSelector(serial=LEAF_HELD.serial_number), True),
        (CertSelector(serial=LEAF_HELD.serial_number + 1), False),
        (CertSelector(r"CN=a\+b", r"CN=Root\, of all", LEAF_HELD.serial_number), True),
        (CertSelector(r"CN=a\+b", r"CN=Root\, of all", 1), False),
        (CertSelector("CN=other", r"CN=Root\, of all", LEAF_HELD.serial_number), False),
    ],
)
def test_a_certificate_fits_in_all_that_is_said(selector: CertSelector, does: bool) -> None:
    assert fits(selector, LEAF_HELD) is does


def test_both_spellings_select() -> None:
    """They differ: RFC 4514 reverses the name, Go has an order of its own."""
    subject = named("web", organization_name="Ex", country_name="DE", email_address="a@b.c")
    template = replace(LEAF, subject=subject)
    certificate = ROOT.leaf(at=NOW, template=template).certificate
    rfc4514, of_go = spellings(subject)
    assert rfc4514 != of_go
    assert fits(CertSelector(subject=rfc4514), certificate)
    assert fits(CertSelector(subject=of_go), certificate)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from([CN, ORG, OU, SN, NameOID.TITLE]), max_size=5), st.data())
def test_every_name_has_both_spellings(
    kinds: list[x509.ObjectIdentifier], data: st.DataObject
) -> None:
    texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=15)
    made = name(*([(kind, data.draw(texts))] for kind in kinds))
    assert all(isinstance(text, str) for text in spellings(made))
