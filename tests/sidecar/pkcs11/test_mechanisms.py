"""How each kind of key is asked to sign, by what its token offers."""

import hashlib

import pytest

from rolesanywhere_sidecar.identities.keys import Digest, UnsupportedKey
from rolesanywhere_sidecar.identities.keys.proof import verifies
from rolesanywhere_sidecar.identities.pkcs11 import mechanisms
from rolesanywhere_sidecar.identities.pkcs11.mechanisms import KeyType, Mechanism, Task
from rolesanywhere_sidecar.signing import KeyKind
from tests.fakes.pki import KeyKind as Kind
from tests.fakes.pki import new_key
from tests.support.pretend_tokens import raw_signature

PAYLOAD = b"a string to sign"
SHA256 = hashlib.sha256(PAYLOAD).digest()
INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def chosen(kind: KeyKind, *offered: int, digest: Digest = Digest.SHA256) -> Task:
    return mechanisms.task(kind, PAYLOAD, offered=offered, digest=digest, where="pkcs11:id=%01")


@pytest.mark.parametrize(
    ("kind", "offered", "task"),
    [
        (KeyKind.RSA, [0x01, 0x40], Task(Mechanism.SHA256_RSA_PKCS, PAYLOAD)),
        (KeyKind.RSA, [0x01], Task(Mechanism.RSA_PKCS, INFO + SHA256)),
        (KeyKind.ECDSA, [0x1041, 0x1044], Task(Mechanism.ECDSA, SHA256)),
        (KeyKind.ECDSA, [0x1044], Task(Mechanism.ECDSA_SHA256, PAYLOAD)),
        (KeyKind.MLDSA, [0x1D], Task(Mechanism.ML_DSA, PAYLOAD)),
    ],
)
def test_the_mechanism_is_named_and_fits_what_is_offered(
    kind: KeyKind, offered: list[int], task: Task
) -> None:
    # A vendor's own mechanisms are among those that tokens offer.
    assert chosen(kind, 0x80000001, *offered) == task


@pytest.mark.parametrize("digest", list(Digest))
def test_another_digest_is_signed_where_a_command_asks_for_it(digest: Digest) -> None:
    key = new_key("rsa-2048")
    hashed = hashlib.new(digest.value, PAYLOAD).digest()
    plain = chosen(KeyKind.RSA, 0x01, digest=digest)
    assert plain.data.endswith(hashed)
    assert plain.data[1] == len(plain.data) - 2, "DER says how long it is"
    if digest is not Digest.SHA512:
        whole = chosen(KeyKind.RSA, 0x40, 0x41, 0x42, digest=digest)
        signature = raw_signature(key, whole.mechanism, whole.data)
        assert verifies(key.public_key(), PAYLOAD, signature, digest)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (KeyKind.RSA, "CKM_SHA256_RSA_PKCS nor CKM_RSA_PKCS"),
        (KeyKind.ECDSA, "CKM_ECDSA nor CKM_ECDSA_SHA256"),
        (KeyKind.MLDSA, "CKM_ML_DSA"),
    ],
)
def test_a_token_without_a_mechanism_is_told_which(kind: KeyKind, named: str) -> None:
    with pytest.raises(UnsupportedKey, match=named):
        chosen(kind, 0x42, 0x1046)


@pytest.mark.parametrize("kind", ["rsa-2048", "rsa-3072", "p256", "p384", "p521", "ml-dsa-65"])
def test_what_a_token_gives_becomes_what_the_service_verifies(kind: Kind) -> None:
    key = new_key(kind)
    ours = mechanisms.kind_of(
        {"r": KeyType.RSA, "p": KeyType.EC, "m": KeyType.ML_DSA}[kind[0]], where="pkcs11:"
    )
    task = chosen(ours, 0x40, 0x1041, 0x1D)
    signature = mechanisms.signature(ours, raw_signature(key, task.mechanism, task.data))
    assert verifies(key.public_key(), PAYLOAD, signature)
    assert not verifies(key.public_key(), PAYLOAD + b".", signature)


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\0" * 64, b"\xff" * 63, b"\xff" * 200])
def test_a_signature_that_is_none_does_not_verify_and_does_no_harm(raw: bytes) -> None:
    public = new_key("p256").public_key()
    assert not verifies(public, PAYLOAD, mechanisms.signature(KeyKind.ECDSA, raw))


def test_a_key_that_cannot_sign_for_the_service_is_called_so() -> None:
    with pytest.raises(UnsupportedKey, match="neither RSA nor ECDSA nor ML-DSA"):
        mechanisms.kind_of(0x40, where="pkcs11:id=%01")
