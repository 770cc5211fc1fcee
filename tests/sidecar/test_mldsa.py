"""ML-DSA keys from PKCS#8 in the three forms of RFC 9881, plain and encrypted."""

import hashlib
import traceback
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa as library
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identities.identity import assemble, check, warnings
from rolesanywhere_sidecar.identities.keys import InvalidKey, PasswordWrong, fips204, open_key
from rolesanywhere_sidecar.identities.keys.fips204 import (
    ML_DSA_44,
    ML_DSA_65,
    ML_DSA_87,
    decode,
    sign,
)
from rolesanywhere_sidecar.identities.keys.mldsa import MldsaKey
from rolesanywhere_sidecar.signing import ALGORITHM, KeyKind
from tests.fakes import mldsa, pki
from tests.fakes.encrypted import Derivation, encrypted
from tests.fakes.pki import Authority, KeyForm

WHERE = "/keys/tls.key"
NOW = datetime(2026, 3, 14, tzinfo=UTC)
KINDS: tuple[pki.KeyKind, ...] = ("ml-dsa-44", "ml-dsa-65", "ml-dsa-87")
PARAMETERS = {"ml-dsa-44": ML_DSA_44, "ml-dsa-65": ML_DSA_65, "ml-dsa-87": ML_DSA_87}
SIGNATURE_BYTES = {"ml-dsa-44": 2420, "ml-dsa-65": 3309, "ml-dsa-87": 4627}
ROOT = Authority.root(at=NOW)
HELD = {kind: ROOT.leaf(kind, at=NOW, kind=kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_our_key_generation_is_the_librarys(kind: pki.KeyKind) -> None:
    """What the other tests stand on: FIPS 204, written out, gives the same public key."""
    key = HELD[kind].key
    assert isinstance(key, pki.MldsaKey)
    public, _ = mldsa.expand(key.private_bytes_raw(), mldsa.PARAMETERS[kind])
    assert public == key.public_key().public_bytes_raw()


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("form", ["seed", "expanded", "both"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_in_every_form_signs(kind: pki.KeyKind, form: KeyForm, sealed: bool) -> None:
    held = HELD[kind]
    content = encrypted(held.key_der(form), b"secret") if sealed else held.key_pem(form)
    key = open_key(WHERE, content, password=b"secret" if sealed else None)
    assert key.kind is KeyKind.MLDSA
    assert ALGORITHM[key.kind] == "AWS4-X509-MLDSA"
    assert key.public_key == held.key.public_key()
    signature = await key.sign(b"payload")
    assert len(signature) == SIGNATURE_BYTES[kind]
    public = held.certificate.public_key()
    assert isinstance(
        public, library.MLDSA44PublicKey | library.MLDSA65PublicKey | library.MLDSA87PublicKey
    )
    public.verify(signature, b"payload", b"")
    for payload, context in ((b"another", b""), (b"payload", b"context")):
        with pytest.raises(InvalidSignature):
            public.verify(signature, payload, context)


@pytest.mark.parametrize("kind", KINDS)
def test_two_halves_that_are_not_one_key_are_refused(kind: pki.KeyKind) -> None:
    key, other = pki.new_key(kind), pki.new_key(kind)
    assert isinstance(key, pki.MldsaKey)
    assert isinstance(other, pki.MldsaKey)
    mine = mldsa.pkcs8(key.private_bytes_raw(), kind, "both")
    mixed = mine.replace(key.private_bytes_raw(), other.private_bytes_raw())
    assert open_key(WHERE, mine).public_key == key.public_key()
    with pytest.raises(InvalidKey, match="a seed and an expanded key that are not one key"):
        open_key(WHERE, mixed)


@pytest.mark.parametrize("place", [0, 40, 100, 200, 600, 2500])
def test_every_part_of_the_expanded_key_is_compared_with_the_seed(place: int) -> None:
    held = HELD["ml-dsa-44"]
    content = bytearray(held.key_der("both"))
    content[len(content) - 2560 + place] ^= 1
    with pytest.raises(InvalidKey, match="not one key"):
        open_key(WHERE, bytes(content))


@pytest.mark.parametrize(
    "choice",
    [
        b"", b"\x80\x20" + bytes(31), b"\x80\x1f" + bytes(31), b"\x80\x21" + bytes(33),
        b"\x30\x00", b"\x30\x22\x04\x20" + bytes(32), b"\x04\x20" + bytes(32), b"\x02\x01\x00",
        b"\x30\x44" + (b"\x04\x20" + bytes(32)) * 2,
    ],
)  # fmt: skip
def test_a_damaged_key_is_said_to_be(choice: bytes) -> None:
    with pytest.raises(InvalidKey):
        open_key(WHERE, mldsa.wrapped(choice, "ml-dsa-65"))


@pytest.mark.parametrize("derivation", ["scrypt", "default", "sha224", "sha384", "sha512"])
def test_both_halves_are_decrypted_in_every_way(derivation: Derivation) -> None:
    content = encrypted(HELD["ml-dsa-44"].key_der("both"), b"secret", derivation=derivation)
    key = open_key(WHERE, content, password=b"secret")
    assert key.public_key == HELD["ml-dsa-44"].key.public_key()


def test_a_wrong_password_is_said_to_be_for_both_halves_too() -> None:
    content = encrypted(HELD["ml-dsa-44"].key_der("both"), b"secret")
    with pytest.raises(PasswordWrong):
        open_key(WHERE, content, password=b"wrong")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("root_kind", ["p256", "ml-dsa-44", "ml-dsa-87"])
def test_an_identity_may_be_of_mldsa_all_the_way(kind: pki.KeyKind, root_kind: pki.KeyKind) -> None:
    root = Authority.root(at=NOW, kind=root_kind)
    upper = root.intermediate("Upper", at=NOW, kind=root_kind)
    held = upper.leaf("leaf", at=NOW, kind=kind)
    key = open_key(WHERE, held.key_pem("both"))
    identity = assemble(
        [root.certificate, *held.chain, held.certificate], public_key=key.public_key, where=WHERE
    )
    assert (identity.leaf, identity.chain) == (held.certificate, held.chain)
    check(identity, at=NOW)
    assert warnings(identity, at=NOW) == ()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_mutated_key_opens_or_is_refused_without_being_shown(data: st.DataObject) -> None:
    held = HELD["ml-dsa-44"]
    content = bytearray(held.key_der(data.draw(st.sampled_from(["seed", "expanded", "both"]))))
    place = data.draw(st.integers(min_value=0, max_value=min(len(content) - 1, 70)))
    content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        shown = repr(open_key(WHERE, bytes(content)))
    except RolesAnywhereError as problem:
        shown = "".join(traceback.format_exception(problem)) + repr(problem)
    assert isinstance(held.key, pki.MldsaKey)
    assert held.key.private_bytes_raw().hex() not in shown
    assert repr(held.key.private_bytes_raw())[2:-1] not in shown


def test_a_key_is_not_shown_by_repr() -> None:
    assert repr(open_key(WHERE, HELD["ml-dsa-44"].key_pem())) == "MldsaKey()"
    assert MldsaKey.__slots__


@pytest.mark.parametrize("place", [0, 40, 100, 200, 1000, 2500])
def test_every_part_of_an_expanded_key_alone_is_checked_but_its_random_seed(place: int) -> None:
    """K is what nobody can check without the seed; any K signs."""
    content = bytearray(HELD["ml-dsa-44"].key_der("expanded"))
    content[len(content) - 2560 + place] ^= 1
    if place == 40:
        assert open_key(WHERE, bytes(content)).public_key == HELD["ml-dsa-44"].key.public_key()
        return
    with pytest.raises(InvalidKey, match="cannot be read"):
        open_key(WHERE, bytes(content))


@pytest.mark.parametrize("kind", KINDS)
def test_signatures_of_an_expanded_key_are_valid_and_the_same_each_time(kind: pki.KeyKind) -> None:
    """Many, because most of what can go wrong is a matter of chance."""
    key = HELD[kind].key
    assert isinstance(key, pki.MldsaKey)
    _, expanded = mldsa.expand(key.private_bytes_raw(), mldsa.PARAMETERS[kind])
    held = decode(expanded, PARAMETERS[kind])
    signatures = [sign(held, bytes([number])) for number in range(3)]
    for number, signature in enumerate(signatures):
        key.public_key().verify(signature, bytes([number]), b"")
    assert sign(held, b"\0") == signatures[0]


@pytest.mark.parametrize(
    ("kind", "number", "digest"),
    [
        ("ml-dsa-44", 49, "51efe8c626bacc34a7f9d85eaad8781f82501a5ebfae0c0e598487660ea5d1e3"),
        ("ml-dsa-65", 3, "cfed8622235a0cb6990a20d776866012b1b3f43d23d0273454434185403a351d"),
        ("ml-dsa-87", 3, "831b9a250eeaadfff9b4a2ef7b8c6a5b18b2a9fefdb9bc0b9d2963848d48bd63"),
    ],
)
def test_a_signature_is_that_of_another_implementation(
    kind: pki.KeyKind, number: int, digest: str
) -> None:
    """SHA-256 of what Cloudflare's circl 1.6.3 signs, deterministically, with the seed 00…1f.

    The messages are such that candidates are rejected on the way, the first for its hints too: a
    signature that should have been rejected verifies as well, but tells of the key.
    """
    _, expanded = mldsa.expand(bytes(range(32)), mldsa.PARAMETERS[kind])
    signature = sign(decode(expanded, PARAMETERS[kind]), b"message %d" % number)
    assert hashlib.sha256(signature).hexdigest() == digest


async def test_a_signature_that_does_not_verify_is_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = open_key(WHERE, HELD["ml-dsa-44"].key_pem("expanded"))
    monkeypatch.setattr(fips204, "sign", lambda held, message: bytes(2420))
    with pytest.raises(InvalidKey, match="a signature that its public key does not verify"):
        await key.sign(b"payload")
