"""When a certificate ends, read without a cryptography library and held to one."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rolesanywhere_operator.webhook import validity
from tests.operator.certificates import a_pair


def ending(at: datetime, *, names: int = 1) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    unit = x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)
    subject = x509.Name([unit] * names)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("year", [1999, 2026, 2049, 2050, 2099])
@pytest.mark.parametrize("names", [1, 3, 9])
def test_the_end_is_what_the_certificate_says(year: int, names: int) -> None:
    moment = datetime(year, 11, 22, 1, 2, 3, tzinfo=UTC)
    assert validity.ends(ending(moment, names=names)) == moment


def test_of_a_chain_the_leaf_counts() -> None:
    leaf, root = (datetime(year, 1, 1, tzinfo=UTC) for year in (2030, 2040))
    text = f"leaf of somebody\n{ending(leaf)}the root\n{ending(root)}"
    assert validity.ends(text) == leaf


@pytest.mark.parametrize("cut", [0, 40, 200, 400])
def test_what_is_no_certificate_says_so(cut: int) -> None:
    lines = a_pair("x").certificate.decode()[:cut]
    with pytest.raises(ValueError, match=r"."):
        validity.ends(lines)
    with pytest.raises(ValueError, match=r"."):
        validity.ends(f"{lines}\n-----END CERTIFICATE-----\n")
