"""Private keys behind a password, in DER and in PKCS#12: what opens them, and what is said if not.

The files in ``keyfiles`` were made with openssl, as their names say; their password is "secret".
"""

import base64
import os
import subprocess
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identities import der as dersupport
from rolesanywhere_sidecar.identities.keys import (
    Digest,
    InvalidKey,
    PasswordMissing,
    PasswordWrong,
    UnsupportedKey,
    costs,
    open_key,
    opened,
)
from rolesanywhere_sidecar.identities.keys.memory import EcdsaKey, RsaKey
from rolesanywhere_sidecar.identities.keys.opened import OpenedKeys
from rolesanywhere_sidecar.identities.keys.pkcs12 import open_store, recognised
from tests.fakes.encrypted import Derivation, encrypted
from tests.fakes.pki import Authority

WHERE = "/keys/tls.key"
PASSWORD = "pässwörd"  # not ASCII, as passwords are
FILES = Path(__file__).parent / "keyfiles"
NOW = datetime(2026, 3, 14, tzinfo=UTC)
SHA1 = hashes.SHA1()  # noqa: S303 - as OpenSSL 1 did
UPPER = Authority.root(at=NOW).intermediate("Upper", at=NOW)
LEAF = UPPER.leaf("leaf", at=NOW)
EC = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)


def der(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def as_pem(data: bytes, label: str = "ENCRYPTED PRIVATE KEY") -> bytes:
    lines = base64.encodebytes(data).decode()
    return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n".encode()


def a_store(encryption: KeySerializationEncryption, *, chain: bool = True) -> bytes:
    assert isinstance(LEAF.key, ec.EllipticCurvePrivateKey)
    return pkcs12.serialize_key_and_certificates(
        b"leaf", LEAF.key, LEAF.certificate, LEAF.chain if chain else None, encryption
    )


def legacy(password: bytes) -> KeySerializationEncryption:
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2048)
    triple_des = pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC
    return builder.key_cert_algorithm(triple_des).hmac_hash(SHA1).build(password)


@pytest.mark.parametrize("form", ["PEM", "DER"])
@pytest.mark.parametrize("bits", [128, 192, 256])
@pytest.mark.parametrize(
    "derivation", ["scrypt", "default", "sha1", "sha224", "sha256", "sha384", "sha512"]
)
def test_every_scheme_of_pbes2_opens(derivation: Derivation, bits: int, form: str) -> None:
    data = encrypted(der(EC), PASSWORD.encode(), derivation=derivation, bits=bits)
    content = data if form == "DER" else as_pem(data)
    assert open_key(WHERE, content, password=PASSWORD.encode()).public_key == EC.public_key()


def test_a_traditional_encrypted_pem_opens() -> None:
    sealed = BestAvailableEncryption(PASSWORD.encode())
    content = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, sealed)
    assert b"Proc-Type: 4,ENCRYPTED" in content
    assert open_key(WHERE, content, password=PASSWORD.encode()).public_key == RSA.public_key()


@pytest.mark.parametrize("name", ["openssl-1-rc2.key", "openssl-3-scrypt.key"])
def test_what_openssl_encrypted_opens(name: str) -> None:
    opened = open_key(name, (FILES / name).read_bytes(), password=b"secret")
    assert isinstance(opened, EcdsaKey)


@pytest.mark.parametrize("key", [EC, RSA])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_in_der_opens(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: PrivateFormat
) -> None:
    content = key.private_bytes(Encoding.DER, form, NoEncryption())
    assert open_key(WHERE, content).public_key == key.public_key()


@pytest.mark.parametrize("content", [der(EC), as_pem(der(EC), "PRIVATE KEY")])
def test_a_password_that_is_not_needed_does_no_harm(content: bytes) -> None:
    assert open_key(WHERE, content, password=b"whatever").public_key == EC.public_key()


SEALED = {
    "pkcs8": as_pem(encrypted(der(EC), PASSWORD.encode())),
    "der": encrypted(der(EC), PASSWORD.encode()),
    "scrypt": as_pem(encrypted(der(EC), PASSWORD.encode(), derivation="scrypt")),
    "traditional": RSA.private_bytes(
        Encoding.PEM,
        PrivateFormat.TraditionalOpenSSL,
        BestAvailableEncryption(PASSWORD.encode()),
    ),
    "pkcs12": a_store(BestAvailableEncryption(PASSWORD.encode())),
    "legacy pkcs12": a_store(legacy(PASSWORD.encode())),
}


@pytest.mark.parametrize("content", SEALED.values(), ids=SEALED)
@pytest.mark.parametrize(
    ("password", "error", "says"),
    [
        (None, PasswordMissing, "is encrypted, and no password is set; put the password"),
        (b"", PasswordMissing, "is encrypted, and no password is set; put the password"),
        (b"hunter2", PasswordWrong, "the password that is set does not open the "),
    ],
    ids=["none", "empty", "wrong"],
)
def test_a_missing_and_a_wrong_password_are_two_sentences_without_it(
    content: bytes, password: bytes | None, error: type[RolesAnywhereError], says: str
) -> None:
    with pytest.raises(error) as caught:
        open_key(WHERE, content, password=password)
    assert says in str(caught.value)
    assert WHERE in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "hunter2" not in shown
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", SEALED.values(), ids=SEALED)
@pytest.mark.parametrize("password", [b"a\0b", b"\0", b"\xff\xfe", b"x" * 5000])
def test_a_password_of_any_bytes_is_only_wrong(content: bytes, password: bytes) -> None:
    """A null once brought the library down, with what no handler of exceptions catches."""
    with pytest.raises(PasswordWrong):
        open_key(WHERE, content, password=password)


def test_a_scheme_that_nobody_reads_here_is_named() -> None:
    unheard_of = SEALED["traditional"].replace(b"AES-256-CBC", b"AES-192-CBC")
    with pytest.raises(UnsupportedKey, match="is encrypted in a way that is not supported"):
        open_key(WHERE, unheard_of, password=PASSWORD.encode())


@pytest.mark.parametrize("derivation", ["sha256", "scrypt"])
def test_a_derivation_without_end_is_refused_at_once(derivation: Derivation) -> None:
    content = encrypted(der(EC), b"x", derivation=derivation, claimed=1 << 40)
    with pytest.raises(UnsupportedKey, match=r"asks for .* to be opened, expected .* at most"):
        open_key(WHERE, content, password=b"x")


def test_a_derivation_that_would_not_fit_into_a_pod_is_refused() -> None:
    """Half of what a small pod has: the kernel would end us, and again after each restart."""
    content = encrypted(der(EC), b"x", derivation="scrypt", claimed=65_536)
    with pytest.raises(UnsupportedKey) as caught:
        open_key(WHERE, content, password=b"x")
    assert "asks for 64 MiB of memory (scrypt) to be opened, expected 32 at most" in str(
        caught.value
    )


def test_the_schemes_before_pbes2_are_bounded_as_well() -> None:
    content = (FILES / "openssl-1-rc2.key").read_bytes()
    data = base64.b64decode(b"".join(content.split(b"\n")[1:-2]))
    assert costs.of_key(data) == costs.Cost(iterations=2048)


# 65,537 is a number that shows in the bytes, and 8,388,607 is as long.
ROUNDS, GREEDY = b"\x02\x03\x01\x00\x01", b"\x02\x03\x7f\xff\xff"
SEALED_STORE = a_store(
    PrivateFormat.PKCS12.encryption_builder()
    .kdf_rounds(0x010001)
    .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
    .hmac_hash(hashes.SHA256())
    .build(b"x")
)


def greedy(store: bytes, place: int) -> bytes:
    """``store``, which asks for far more iterations at one of its places."""
    parts = store.split(ROUNDS)
    return ROUNDS.join(parts[: place + 1]) + GREEDY + ROUNDS.join(parts[place + 1 :])


def as_ber(store: bytes) -> bytes:
    """``store`` as streaming encoders write it: without lengths, its octets in two parts."""
    version, safe, mac = dersupport.parse(store).children()
    kind, wrapped = safe.children()
    octets = wrapped.children()[0].octets()
    halves = b"".join(
        b"\x04\x82" + len(half).to_bytes(2, "big") + half for half in (octets[:99], octets[99:])
    )
    pieces = (
        b"\x30\x80\x02\x01", version.content,
        b"\x30\x80\x06", bytes([len(kind.content)]), kind.content,
        b"\xa0\x80\x24\x80", halves, bytes(6),
        b"\x30", bytes([len(mac.content)]), mac.content, bytes(2),
    )  # fmt: skip
    return b"".join(pieces)


@pytest.mark.parametrize("form", ["DER", "BER"])
@pytest.mark.parametrize("place", range(SEALED_STORE.count(ROUNDS)))
def test_a_pkcs12_file_whose_price_is_too_high_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, place: int, form: str
) -> None:
    """Its certificates and its key each have a number of their own."""
    tried: list[bytes] = []
    monkeypatch.setattr(
        "cryptography.hazmat.primitives.serialization.pkcs12.load_pkcs12",
        lambda content, _: tried.append(content),
    )
    monkeypatch.setattr(costs, "MOST_ITERATIONS", 1_000_000)
    content = greedy(SEALED_STORE, place)
    with pytest.raises(UnsupportedKey, match=r"asks for 8\d{6} iterations to be opened"):
        open_store(as_ber(content) if form == "BER" else content, where=WHERE, password=b"x")
    assert tried == []


def test_all_of_a_files_derivations_are_added_up() -> None:
    assert costs.of_store(SEALED_STORE) == costs.Cost(iterations=2 * 65_537 + 2048)
    with pytest.raises(UnsupportedKey, match="asks for 16779262 iterations"):
        open_store(greedy(greedy(SEALED_STORE, 0), 0), where=WHERE, password=b"x")


def test_the_price_of_the_checksum_counts() -> None:
    """Its iterations are what a PKCS#12 file ends with."""
    content = SEALED_STORE.removesuffix(b"\x02\x02\x08\x00") + b"\x02\x02\x7f\xff"
    assert costs.of_store(content) == costs.Cost(iterations=2 * 65_537 + 32_767)


def test_a_pkcs12_file_in_ber_opens() -> None:
    store = open_store(as_ber(SEALED_STORE), where=WHERE, password=b"x")
    assert store.key().public_key == LEAF.key.public_key()


@pytest.mark.parametrize(
    ("sealed", "password"),
    [
        (BestAvailableEncryption(PASSWORD.encode()), PASSWORD.encode()),
        (legacy(PASSWORD.encode()), PASSWORD.encode()),
        (NoEncryption(), None),
        (NoEncryption(), b""),
        (NoEncryption(), b"not needed"),
    ],
    ids=["modern", "legacy", "without a password", "empty password", "needless password"],
)
def test_a_pkcs12_file_gives_key_leaf_and_chain(
    sealed: KeySerializationEncryption, password: bytes | None
) -> None:
    store = open_store(a_store(sealed), where=WHERE, password=password)
    assert store.key().public_key == LEAF.key.public_key()
    assert store.certificates == (LEAF.certificate, *LEAF.chain)


@pytest.mark.parametrize("name", ["openssl-1-rc2.p12", "openssl-3.p12"])
def test_a_pkcs12_file_of_openssl_opens(name: str) -> None:
    content = (FILES / name).read_bytes()
    assert recognised(content)
    store = open_store(content, where=name, password=b"secret")
    assert store.key().public_key == store.certificates[0].public_key()


def test_a_pkcs12_file_without_a_key_says_so() -> None:
    store = open_store((FILES / "no-key.p12").read_bytes(), where=WHERE, password=b"secret")
    assert len(store.certificates) == 1
    with pytest.raises(InvalidKey, match="holds no private key; export it with the key"):
        store.key()


@pytest.mark.parametrize("name", ["openssl-1-rc2.p12", "openssl-1-rc2.key"])
def test_a_missing_legacy_provider_is_named(name: str) -> None:
    """In a process of its own: OpenSSL reads its providers once."""
    program = (
        "import sys; from pathlib import Path\n"
        "from rolesanywhere_sidecar.identities.keys import open_key\n"
        "try: open_key(sys.argv[1], Path(sys.argv[1]).read_bytes(), password=b'secret')\n"
        "except Exception as problem: print(type(problem).__name__, problem)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program, str(FILES / name)],
        env={**os.environ, "CRYPTOGRAPHY_OPENSSL_NO_LEGACY": "1"},
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    assert outcome.stdout.startswith("UnsupportedKey")
    assert "OpenSSL's legacy provider is not there to open it" in outcome.stdout


def test_a_passwords_cost_is_paid_once_for_each_content(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counting(location: str, content: bytes, *, password: bytes | None = None) -> object:
        calls.append(location)
        return open_key(location, content, password=password)

    monkeypatch.setattr(opened, "open_key", counting)
    held = OpenedKeys()
    first = held.key(WHERE, SEALED["scrypt"], PASSWORD.encode())
    assert held.key(WHERE, SEALED["scrypt"], PASSWORD.encode()) is first
    for _ in range(2):
        with pytest.raises(PasswordWrong):
            held.key(WHERE, SEALED["scrypt"], b"wrong")
    held.key(WHERE, SEALED["der"], PASSWORD.encode())
    assert calls == [WHERE] * 3


def test_what_was_opened_is_forgotten_in_the_end() -> None:
    held = OpenedKeys()
    for number in range(opened.MOST_HELD + 3):
        content = as_pem(der(EC), "PRIVATE KEY") + b"#" * number
        held.key(WHERE, content, None)
    assert len(held._keys) == opened.MOST_HELD


@pytest.mark.parametrize("digest", list(Digest))
async def test_a_key_in_memory_signs_with_other_digests_when_asked(digest: Digest) -> None:
    algorithm = getattr(hashes, digest)()
    signed = await RsaKey(RSA).sign(b"payload", digest)
    RSA.public_key().verify(signed, b"payload", padding.PKCS1v15(), algorithm)
    signed = await EcdsaKey(EC).sign(b"payload", digest)
    EC.public_key().verify(signed, b"payload", ec.ECDSA(algorithm))
