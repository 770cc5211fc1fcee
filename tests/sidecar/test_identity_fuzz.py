"""Whatever bytes an identity's files hold: an identity, or an error that shows nothing of them."""

import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identities.certificates import read_certificates
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.identities.keys import open_key
from rolesanywhere_sidecar.identities.keys.pkcs12 import open_store
from tests.fakes.encrypted import encrypted
from tests.fakes.pki import Authority

NOW = datetime(2026, 3, 14, tzinfo=UTC)
PASSWORD = b"correct horse battery staple"
UPPER = Authority.root(at=NOW).intermediate(at=NOW)
HELD = UPPER.leaf(at=NOW)
assert isinstance(HELD.key, ec.EllipticCurvePrivateKey)
SECRET = HELD.key.private_numbers().private_value
STORE = pkcs12.serialize_key_and_certificates(
    None, HELD.key, HELD.certificate, HELD.chain, BestAvailableEncryption(PASSWORD)
)
SEEDS = {
    "PEM": HELD.key_pem() + HELD.certificate_pem + HELD.chain_pem,
    "PKCS#12": STORE,
    "DER key": HELD.key_der(),
    "encrypted": encrypted(HELD.key_der(), PASSWORD),
    "scrypt": encrypted(HELD.key_der(), PASSWORD, derivation="scrypt"),
    "certificate": HELD.der,
}
BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good file, somewhat changed: overwritten, cut, grown, or two of them in one."""
    content = bytearray(draw(st.sampled_from(sorted(SEEDS.values()))))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        content[place : place + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    if draw(st.booleans()):
        content += draw(st.sampled_from(sorted(SEEDS.values())))
    return bytes(content)


anything = mutated() | st.binary(max_size=400)
passwords = st.sampled_from([None, b"", PASSWORD, b"not it", b"a\0b"]) | st.binary(max_size=40)


def assert_discreet(problem: RolesAnywhereError, password: bytes | None) -> None:
    """No part of the key, no password, and no words of a parser."""
    shown = "".join(traceback.format_exception(problem)) + repr(problem)
    assert str(SECRET) not in shown
    assert f"{SECRET:x}" not in shown
    for line in HELD.key_pem().decode().splitlines()[1:-1]:
        assert line[:24] not in shown
    assert PASSWORD.decode() not in shown
    if password is not None and len(password) > 8:
        assert repr(password)[2:-1] not in str(problem)
    assert problem.__suppress_context__ or problem.__context__ is None


@BOUNDED
@given(content=anything, password=passwords)
def test_any_bytes_are_a_key_or_an_error_without_them(
    content: bytes, password: bytes | None
) -> None:
    try:
        assert str(SECRET) not in repr(open_key("/x", content, password=password))
    except RolesAnywhereError as problem:
        assert_discreet(problem, password)
    try:
        store = open_store(content, where="/x", password=password)
        assert str(SECRET) not in repr(store) + repr(store.key())
    except RolesAnywhereError as problem:
        assert_discreet(problem, password)


@BOUNDED
@given(content=anything)
def test_any_bytes_are_certificates_or_an_error_without_them(content: bytes) -> None:
    try:
        assert read_certificates(content, where="/x")
    except RolesAnywhereError as problem:
        assert_discreet(problem, None)


@dataclass
class Disk:
    """Files that a test writes over and over."""

    path: Path

    def identity(self, certificate: bytes, key: bytes | None, password: bytes) -> IdentityFiles:
        for name, content in (("crt", certificate), ("key", key), ("pw", password)):
            (self.path / name).write_bytes(b"" if content is None else content)
        return IdentityFiles(
            str(self.path / "crt"),
            str(self.path / ("crt" if key is None else "key")),
            password_file=str(self.path / "pw"),
            pause=0,
            now=lambda: NOW,
        )


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    with tempfile.TemporaryDirectory() as folder:
        yield Disk(Path(folder))


@BOUNDED
@given(certificate=anything, key=st.none() | anything, password=passwords)
async def test_any_files_are_an_identity_or_an_error_without_them(
    disk: Disk, certificate: bytes, key: bytes | None, password: bytes | None
) -> None:
    held = disk.identity(certificate, key, password or b"")
    try:
        identity, signer = await held.load()
        assert identity.leaf.public_key() == signer.public_key
    except RolesAnywhereError as problem:
        assert_discreet(problem, password)
    try:
        held.collect()
    except RolesAnywhereError as problem:
        assert_discreet(problem, password)


@pytest.mark.parametrize("name", ["PEM", "PKCS#12", "DER key", "encrypted", "scrypt"])
def test_what_is_mutated_here_was_good(name: str) -> None:
    """So that the tests above start where it matters."""
    opened = open_key("/x", SEEDS[name], password=PASSWORD)
    assert opened.public_key == HELD.key.public_key()
