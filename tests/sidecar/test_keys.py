"""Private keys from PEM: what signs, what is refused, and that nothing of a key is ever shown."""

import traceback

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identities.certificates import PublicKey
from rolesanywhere_sidecar.identities.keys import InvalidKey, SigningKey, UnsupportedKey, open_key
from rolesanywhere_sidecar.signing import KeyKind

WHERE = "/keys/tls.key"
WEAK_RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
DSA = dsa.generate_private_key(1024)  # noqa: S505 - to be refused
PKCS8, TRADITIONAL = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def pem(
    key: rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | dsa.DSAPrivateKey
    | ed25519.Ed25519PrivateKey,
    form: PrivateFormat = PKCS8,
    password: bytes | None = None,
) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption)


def verify(public_key: PublicKey, signature: bytes, payload: bytes) -> None:
    if isinstance(public_key, rsa.RSAPublicKey):
        public_key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
    else:
        public_key.verify(signature, payload)


@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (RSA, KeyKind.RSA),
        (P256, KeyKind.ECDSA),
        (ec.generate_private_key(ec.SECP384R1()), KeyKind.ECDSA),
        (ec.generate_private_key(ec.SECP521R1()), KeyKind.ECDSA),
    ],
)
async def test_a_key_signs_sha256_whatever_its_size(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kind: KeyKind, form: PrivateFormat
) -> None:
    opened: SigningKey = open_key(WHERE, pem(key, form))
    assert opened.kind is kind
    assert opened.public_key == key.public_key()
    signature = await opened.sign(b"payload")
    verify(key.public_key(), signature, b"payload")
    with pytest.raises(InvalidSignature):
        verify(key.public_key(), signature, b"another")


def test_certificates_and_parameters_around_a_key_do_not_matter() -> None:
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    around = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    opened = open_key(WHERE, around + parameters + pem(P256, TRADITIONAL) + around)
    assert opened.public_key == P256.public_key()


def test_windows_line_ends_do_not_matter() -> None:
    opened = open_key(WHERE, pem(P256).replace(b"\n", b"\r\n"))
    assert opened.public_key == P256.public_key()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            pem(ed25519.Ed25519PrivateKey.generate()),
            "neither RSA nor ECDSA nor",
        ),
        (pem(WEAK_RSA), "is RSA of 1024 bits; expected RSA of 2048"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "is on the curve secp256k1"),
        (pem(ec.generate_private_key(ec.SECP224R1())), "is on the curve secp224r1"),
        (pem(DSA), "neither RSA nor ECDSA"),
        (pem(DSA, TRADITIONAL), "is a DSA key"),
        (pem(P256, PrivateFormat.OpenSSH), "OpenSSH's own format; convert"),
        (
            b"-----BEGIN TSS2 PRIVATE KEY-----\nAA==\n-----END TSS2 PRIVATE KEY-----",
            "is wrapped for a TPM (TSS2), and a TPM's keys are used by PKCS#11 alone",
        ),
    ],
)
def test_a_key_that_cannot_sign_here_is_refused_in_a_sentence(content: bytes, says: str) -> None:
    with pytest.raises(UnsupportedKey) as caught:
        open_key(WHERE, content)
    assert says in str(caught.value)
    assert WHERE in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no private key; expected -----BEGIN PRIVATE KEY-----"),
        (b"\x30\x82\x00", "cannot be read"),
        (pem(P256)[:-30], "holds no private key"),
        (pem(P256).replace(b"M", b"N", 3), "cannot be read; it must be complete"),
        (b"-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----", "cannot be read"),
    ],
)
def test_a_damaged_key_is_said_to_be(content: bytes, says: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        open_key(WHERE, content)
    assert says in str(caught.value)


@given(st.data())
def test_no_error_about_a_key_shows_any_of_it(data: st.DataObject) -> None:
    """Neither the sentence nor the traceback with all that led to it."""
    content = bytearray(pem(P256))
    place = data.draw(st.integers(min_value=28, max_value=len(content) - 28))
    content[place] = data.draw(st.integers(min_value=0, max_value=255))
    lines = pem(P256).decode().splitlines()[1:-1]
    try:
        shown = repr(open_key(WHERE, bytes(content)))
    except RolesAnywhereError as problem:
        shown = "".join(traceback.format_exception(problem)) + repr(problem)
    assert not [line for line in lines if line[:20] in shown or line[-20:] in shown]


def test_a_key_is_not_shown_by_repr() -> None:
    assert repr(open_key(WHERE, pem(P256))) == "EcdsaKey()"
    assert repr(open_key(WHERE, pem(RSA))) == "RsaKey()"
