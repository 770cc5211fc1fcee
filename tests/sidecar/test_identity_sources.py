"""Where an identity may come from: PKCS#12, folders, selectors, passwords, several certificates."""

import asyncio
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from rolesanywhere_contract.certselector import CertSelector
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.identities import volumes
from rolesanywhere_sidecar.identities.certificates import InvalidIdentity
from rolesanywhere_sidecar.identities.identity import (
    AmbiguousCertificate,
    KeyMismatch,
    NoSuchCertificate,
    expires_soon,
    warnings,
)
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.identities.keys import InvalidKey, PasswordMissing, PasswordWrong
from rolesanywhere_sidecar.identities.volumes import UnreadableFile
from tests.fakes.encrypted import encrypted
from tests.fakes.pki import LEAF, Authority, Identity
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN

NOW = datetime(2026, 3, 14, tzinfo=UTC)
ROOT = Authority.root(at=NOW)
UPPER = ROOT.intermediate("Upper", at=NOW)
HELD = UPPER.leaf("held", at=NOW)
OTHER = UPPER.leaf("other", at=NOW)


def a_store(held: Identity, password: bytes) -> bytes:
    assert isinstance(held.key, ec.EllipticCurvePrivateKey)
    return pkcs12.serialize_key_and_certificates(
        None, held.key, held.certificate, held.chain, BestAvailableEncryption(password)
    )


@dataclass
class Folder:
    path: Path

    def put(self, name: str, content: bytes) -> str:
        (self.path / name).write_bytes(content)
        return str(self.path / name)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def again(held: Identity, *, ends: timedelta, starts: timedelta = timedelta(hours=-1)) -> Identity:
    """Another certificate for the same key and name."""
    template = replace(LEAF, starts=starts, lives=ends - starts)
    return UPPER.leaf("held", at=NOW, key=held.key, template=template)


def files(certificate: str, private_key: str | None = None, **others: object) -> IdentityFiles:
    made = IdentityFiles(certificate, private_key or certificate, pause=0.001, now=lambda: NOW)
    return replace(made, **others)  # type: ignore[arg-type]  # as each test names them


def settings(**env: str) -> Settings:
    return Settings.from_env(
        {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            **{f"ROLESANYWHERE_{name}": value for name, value in env.items()},
        }
    )


async def test_a_pkcs12_file_is_a_whole_identity(folder: Folder) -> None:
    certificate = folder.put("identity.p12", a_store(HELD, b"secret"))
    password = folder.put("password", b"secret\n")
    identity, key = await files(certificate, password_file=password).load()
    assert (identity.leaf, identity.chain) == (HELD.certificate, HELD.chain)
    assert key.public_key == HELD.key.public_key()
    assert identity.where == certificate


async def test_another_files_key_may_belong_to_a_pkcs12_certificate(folder: Folder) -> None:
    certificate = folder.put("identity.p12", a_store(HELD, b"secret"))
    key = folder.put("other.key", OTHER.key_pem())
    with pytest.raises(KeyMismatch, match="does not belong to certificate 'CN=held'"):
        await files(certificate, key, password=b"secret").load()


async def test_der_files_are_an_identity(folder: Folder) -> None:
    certificate = folder.put("tls.der", HELD.der)
    key = folder.put("key.der", HELD.key_der())
    identity, _ = await files(certificate, key).load()
    assert identity.leaf == HELD.certificate


@pytest.mark.parametrize(
    ("content", "opens"),
    [
        (b"secret", True),
        (b"secret\n", True),
        (b"secret\r\n", True),
        (b"secret\n\n", False),
        (b"secret ", False),
        (b" secret", False),
    ],
)
async def test_exactly_one_line_end_of_the_password_file_is_not_the_password(
    folder: Folder, content: bytes, opens: bool
) -> None:
    certificate = folder.put("tls.crt", HELD.certificate_pem)
    key = folder.put("tls.key", encrypted(HELD.key_der(), b"secret"))
    held = files(certificate, key, password_file=folder.put("password", content))
    if opens:
        identity, _ = await held.load()
        assert identity.leaf == HELD.certificate
    else:
        with pytest.raises(PasswordWrong):
            await held.load()


async def test_the_passwords_file_wins_over_the_password(folder: Folder) -> None:
    certificate = folder.put("identity.p12", a_store(HELD, b"secret"))
    password = folder.put("password", b"secret")
    await files(certificate, password=b"wrong", password_file=password).load()
    with pytest.raises(PasswordMissing):
        await files(certificate).load()
    assert "hunter2" not in repr(files(certificate, password=b"hunter2"))


async def test_a_new_password_and_key_are_picked_up_together(folder: Folder) -> None:
    certificate = folder.put("tls.p12", a_store(HELD, b"old"))
    held = files(certificate, password_file=folder.put("password", b"old"))
    before = held.fingerprint()
    await held.load()
    folder.put("tls.p12", a_store(OTHER, b"new"))
    with pytest.raises(PasswordWrong):
        await held.load()
    folder.put("password", b"new\n")
    identity, _ = await held.load()
    assert identity.leaf == OTHER.certificate
    assert held.fingerprint() != before


async def test_a_password_file_that_is_a_pipe_never_hangs(folder: Folder) -> None:
    certificate = folder.put("tls.p12", a_store(HELD, b"old"))
    os.mkfifo(folder.path / "password")
    with pytest.raises(UnreadableFile, match=r"the password file .* it is not a regular file"):
        await files(certificate, password_file=str(folder.path / "password")).load()


async def test_a_folder_is_all_of_its_certificates(folder: Folder) -> None:
    folder.put("a-ca.pem", UPPER.certificate_pem)
    folder.put("b-other.crt", OTHER.certificate_pem)
    leaf = folder.put("c-held.der", HELD.der)
    folder.put("damaged.crt", HELD.certificate_pem[:200])
    folder.put("note.txt", b"renew in May")
    (folder.path / "older").mkdir()
    os.mkfifo(folder.path / "pipe")
    key = folder.put("tls.key", HELD.key_pem())
    identity, _ = await files(str(folder.path), key).load()
    assert (identity.leaf, identity.chain, identity.where) == (HELD.certificate, HELD.chain, leaf)
    collection = files(str(folder.path), key).collect()
    assert [Path(each.where).name for each in collection.found] == [
        "a-ca.pem", "b-other.crt", "c-held.der",
    ]  # fmt: skip
    [damaged] = collection.unusable
    assert "damaged.crt holds a certificate that cannot be read" in str(damaged)


async def test_a_folders_only_key_is_found(folder: Folder) -> None:
    folder.put("tls.crt", HELD.certificate_pem + HELD.chain_pem)
    folder.put("tls.key", HELD.key_pem())
    identity, _ = await files(str(folder.path)).load()
    assert (identity.leaf, identity.chain) == (HELD.certificate, HELD.chain)
    folder.put("second.key", OTHER.key_pem())
    with pytest.raises(InvalidKey, match="holds 2 private keys, expected one; name the file"):
        await files(str(folder.path)).load()


async def test_a_folder_without_certificates_says_why(folder: Folder) -> None:
    key = folder.put("tls.key", HELD.key_pem())
    with pytest.raises(InvalidIdentity, match="holds no certificate that can be read; expected"):
        await files(str(folder.path), key).load()
    folder.put("tls.crt", b"-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(InvalidIdentity, match=r"tls\.crt holds a certificate that cannot"):
        await files(str(folder.path), key).load()


async def test_a_folder_is_bounded_in_number_and_size(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        folder.put(f"{number}.crt", HELD.certificate_pem)
    monkeypatch.setattr(volumes, "MOST_FILES", 2)
    with pytest.raises(UnreadableFile, match="it holds more than 2 files"):
        await files(str(folder.path)).load()
    monkeypatch.setattr(volumes, "MOST_FILES", 3)
    monkeypatch.setattr(volumes, "MOST_BYTES", 1000)
    with pytest.raises(UnreadableFile, match="its files hold more than 1000 bytes"):
        await files(str(folder.path)).load()


async def test_a_folder_that_gains_a_file_has_another_fingerprint(folder: Folder) -> None:
    folder.put("tls.crt", HELD.certificate_pem)
    before = files(str(folder.path)).fingerprint()
    folder.put("other.crt", OTHER.certificate_pem)
    assert files(str(folder.path)).fingerprint() != before


async def test_a_folder_that_is_a_kubelets_volume_is_read_from_one_generation(
    folder: Folder,
) -> None:
    generation = folder.path / "..2026"
    generation.mkdir()
    for name, content in (("tls.crt", HELD.certificate_pem), ("tls.key", HELD.key_pem())):
        (generation / name).write_bytes(content)
        (folder.path / name).symlink_to(f"..data/{name}")
    (folder.path / "..data").symlink_to("..2026")
    identity, _ = await files(str(folder.path)).load()
    assert identity.where == str(folder.path / "tls.crt")


async def test_of_several_certificates_of_the_key_the_latest_valid_one_is_used(
    folder: Folder,
) -> None:
    soon, late = again(HELD, ends=timedelta(days=2)), again(HELD, ends=timedelta(days=20))
    future = again(HELD, starts=timedelta(days=1), ends=timedelta(days=90))
    gone = again(HELD, starts=timedelta(days=-9), ends=timedelta(days=-1))
    bundle = [gone, soon, future, late, HELD]
    for order in (bundle, bundle[::-1]):
        path = folder.put("all.pem", HELD.key_pem() + b"".join(x.certificate_pem for x in order))
        identity, _ = await files(path).load()
        assert identity.leaf == late.certificate
    path = folder.put("all.pem", HELD.key_pem() + gone.certificate_pem)
    identity, _ = await files(path).load()
    assert identity.leaf == gone.certificate  # so that what is wrong with it can be said


def serial_of(held: Identity) -> CertSelector:
    return CertSelector(serial=held.certificate.serial_number)


async def test_a_selector_chooses_among_certificates_of_the_key(folder: Folder) -> None:
    soon, late = again(HELD, ends=timedelta(days=2)), again(HELD, ends=timedelta(days=20))
    path = folder.put("all.pem", HELD.key_pem() + late.certificate_pem + soon.certificate_pem)
    identity, _ = await files(path, selector=serial_of(soon)).load()
    assert identity.leaf == soon.certificate


async def test_a_selector_that_fits_several_lists_them_unless_the_latest_is_asked_for(
    folder: Folder,
) -> None:
    soon, late = again(HELD, ends=timedelta(days=2)), again(HELD, ends=timedelta(days=20))
    future = again(HELD, starts=timedelta(days=1), ends=timedelta(days=90))
    pems = (held.certificate_pem for held in (soon, late, future, late))
    path = folder.put("all.pem", HELD.key_pem() + b"".join(pems))
    chosen = files(path, selector=CertSelector(subject="CN=held"))
    with pytest.raises(AmbiguousCertificate) as caught:
        await chosen.load()
    assert "fits 3 certificates" in str(caught.value)
    for held in (soon, late, future):
        assert f"serial {held.certificate.serial_number:x}" in str(caught.value)
    identity, _ = await replace(chosen, latest=True).load()
    assert identity.leaf == late.certificate


async def test_a_selector_that_fits_none_lists_what_there_is(folder: Folder) -> None:
    path = folder.put("all.pem", HELD.key_pem() + HELD.certificate_pem)
    with pytest.raises(NoSuchCertificate, match=r"fits none of the 1 .*'CN=held' \(serial "):
        await files(path, selector=serial_of(OTHER)).load()


async def test_a_selected_certificate_must_be_the_keys(folder: Folder) -> None:
    path = folder.put("all.pem", HELD.key_pem() + HELD.certificate_pem + OTHER.certificate_pem)
    with pytest.raises(KeyMismatch, match="does not belong to certificate 'CN=other'"):
        await files(path, selector=serial_of(OTHER)).load()


async def test_a_selector_may_be_in_a_file(folder: Folder) -> None:
    selector = folder.put("selector.json", b'[{"Key": "x509Subject", "Value": "CN=held"}]')
    path = folder.put("all.pem", HELD.key_pem() + HELD.certificate_pem + OTHER.certificate_pem)
    held = IdentityFiles.of(settings(CERTIFICATE=path, CERT_SELECTOR=f"file://{selector}"))
    assert held.wanted() == CertSelector(subject="CN=held")
    identity, _ = await held.load()
    assert identity.leaf == HELD.certificate


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (None, "UnreadableFile", "selector.json cannot be read: No such file or directory"),
        (b"\xff\xfe\xff", "InvalidCertSelector", "cannot be read: it is not text"),
        (b"[]", "InvalidCertSelector", "the cert selector is empty"),
    ],
)
async def test_a_selectors_file_that_is_none_is_said_and_heals(
    folder: Folder, content: bytes | None, code: str, says: str
) -> None:
    """It may come late, as a certificate may: that ends nothing."""
    selector = f"file://{folder.path}/selector.json"
    if content is not None:
        folder.put("selector.json", content)
    path = folder.put("all.pem", HELD.key_pem() + HELD.certificate_pem + OTHER.certificate_pem)
    held = replace(IdentityFiles.of(settings(CERTIFICATE=path, CERT_SELECTOR=selector)), pause=0)
    for ask in (held.load(), asyncio.to_thread(held.wanted)):
        with pytest.raises(RolesAnywhereError) as caught:
            await ask
        assert caught.value.code == code
        assert says in str(caught.value)
    folder.put("selector.json", b'[{"Key": "x509Subject", "Value": "CN=held"}]')
    assert (await held.load())[0].leaf == HELD.certificate


async def test_a_selector_that_is_replaced_is_a_rotation(folder: Folder) -> None:
    selector = folder.put("selector.json", b'[{"Key": "x509Subject", "Value": "CN=held"}]')
    path = folder.put("all.pem", HELD.key_pem() + HELD.certificate_pem + OTHER.certificate_pem)
    held = IdentityFiles.of(settings(CERTIFICATE=path, CERT_SELECTOR=f"file://{selector}"))
    before = held.fingerprint()
    assert held.fingerprint() == before
    folder.put("selector.json", b'[{"Key": "x509Issuer", "Value": "CN=x"}]')
    assert held.fingerprint() != before


async def test_a_volume_that_hangs_is_said_and_takes_one_thread(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.put("all.pem", HELD.key_pem() + HELD.certificate_pem)
    mended, honest, reads = threading.Event(), volumes.read_together, []

    def hanging(places: Sequence[volumes.Place]) -> volumes.Contents:
        reads.append(places)
        assert mended.wait(10)
        return honest(places)

    monkeypatch.setattr(volumes, "read_together", hanging)
    held = replace(IdentityFiles.of(settings(CERTIFICATE=path)), patience=0.02)
    for _ in range(20):
        with pytest.raises(volumes.UnreadableFile, match=r"no answer within 0\.02 seconds"):
            await held.load()
    assert len(reads) == 1
    mended.set()
    held = replace(held, patience=5)
    assert (await held.load())[0].leaf == HELD.certificate


def test_all_settings_of_an_identity_are_kept() -> None:
    held = IdentityFiles.of(
        settings(
            CERTIFICATE="/a.p12", PRIVATE_KEY_PASSWORD="s", PRIVATE_KEY_PASSWORD_FILE="/p",
            CERT_SELECTOR="Key=x509Serial,Value=0A", USE_LATEST_EXPIRING_CERTIFICATE="true",
        )
    )  # fmt: skip
    assert held == IdentityFiles(
        "/a.p12", "/a.p12", password=b"s", password_file="/p", selector=CertSelector(serial=10),
        latest=True,
    )  # fmt: skip


async def test_a_certificate_that_ends_within_a_day_is_a_warning(folder: Folder) -> None:
    held = again(HELD, ends=timedelta(days=2))
    identity, _ = await files(folder.put("x", held.key_pem() + held.certificate_pem)).load()
    line = NOW + timedelta(days=1)
    assert expires_soon(identity, at=line) is None
    assert warnings(identity, at=line) == ()
    sentence = expires_soon(identity, at=line + timedelta(minutes=90))
    assert sentence is not None
    assert "expires at 2026-03-16 00:00:00Z, in 22 h 30 min" in sentence
    assert warnings(identity, at=line + timedelta(minutes=90)) == (sentence,)
    assert "in 0 h 0 min" in (expires_soon(identity, at=NOW + timedelta(days=9)) or "")
