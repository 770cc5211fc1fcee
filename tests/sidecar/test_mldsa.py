"""ML-DSA keys from PKCS#8 in the three forms of RFC 9881, plain and encrypted."""

import traceback
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa as library
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identity import assemble, check, warnings
from rolesanywhere_sidecar.keys import InvalidKey, PasswordWrong, UnsupportedKey, open_key
from rolesanywhere_sidecar.keys.mldsa import MldsaKey
from rolesanywhere_sidecar.signing import ALGORITHM, KeyKind
from tests.fakes import mldsa, pki
from tests.fakes.encrypted import encrypted
from tests.fakes.pki import Authority, KeyForm

WHERE = "/keys/tls.key"
NOW = datetime(2026, 3, 14, tzinfo=UTC)
KINDS: tuple[pki.KeyKind, ...] = ("ml-dsa-44", "ml-dsa-65", "ml-dsa-87")
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
@pytest.mark.parametrize("form", ["seed", "both"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_with_its_seed_signs(kind: pki.KeyKind, form: KeyForm, sealed: bool) -> None:
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


@pytest.mark.parametrize("place", [0, 40, 100], ids=["rho", "K", "tr"])
def test_every_public_part_of_the_expanded_key_is_compared(place: int) -> None:
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


@pytest.mark.parametrize("kind", KINDS)
def test_an_expanded_key_alone_is_refused_with_what_to_do(kind: pki.KeyKind) -> None:
    with pytest.raises(UnsupportedKey) as caught:
        open_key(WHERE, HELD[kind].key_pem("expanded"))
    assert f"is {kind.upper()} in its expanded form alone" in str(caught.value)
    assert "export it with its seed" in str(caught.value)
