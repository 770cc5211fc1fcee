"""Identities on disk: read as a pair that fits, however they are being replaced."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import files as disk
from rolesanywhere_sidecar.identities import identity_files
from rolesanywhere_sidecar.identities.certificates import InvalidIdentity
from rolesanywhere_sidecar.identities.identity import KeyMismatch
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.identities.keys import InvalidKey
from rolesanywhere_sidecar.identities.volumes import UnreadableFile
from tests.fakes.pki import Authority, Identity
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN

NOW = datetime(2026, 3, 14, tzinfo=UTC)
ROOT = Authority.root(at=NOW)
UPPER = ROOT.intermediate("Upper", at=NOW)
OLD = UPPER.leaf("old", at=NOW)
NEW = UPPER.leaf("new", at=NOW)


@dataclass
class Volume:
    """A Secret volume as a kubelet keeps it: links through ``..data``, which is swapped."""

    path: Path
    generations: int = field(default=0)

    def publish(self, identity: Identity) -> None:
        self.generations += 1
        fresh = self.path / f"..generation-{self.generations}"
        fresh.mkdir()
        (fresh / "tls.crt").write_bytes(identity.certificate_pem)
        (fresh / "tls.key").write_bytes(identity.key_pem())
        link = self.path / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.path / "..data")
        for name in ("tls.crt", "tls.key"):
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")

    def forget(self, generation: int) -> None:
        """What a kubelet does to the old directory, right after the swap."""
        old = self.path / f"..generation-{generation}"
        for file in old.iterdir():
            file.unlink()
        old.rmdir()


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    published = Volume(tmp_path)
    published.publish(OLD)
    return published


def files(folder: Path, intermediates: str | None = None) -> IdentityFiles:
    return IdentityFiles(
        str(folder / "tls.crt"), str(folder / "tls.key"), intermediates, pause=0.001
    )


def write(folder: Path, identity: Identity) -> None:
    (folder / "tls.crt").write_bytes(identity.certificate_pem)
    (folder / "tls.key").write_bytes(identity.key_pem())


def after_reading(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]
) -> list[Path]:
    """``act`` happens once the given number of files has been read; all that are read."""
    read: list[Path] = []
    honest = disk.read_regular

    def reading(path: Path) -> bytes:
        content = honest(path)
        read.append(path)
        if len(read) == number:
            act()
        return content

    monkeypatch.setattr(disk, "read_regular", reading)
    return read


async def test_a_pair_is_loaded_with_its_key(volume: Volume) -> None:
    identity, key = await files(volume.path).load()
    assert identity.leaf == OLD.certificate
    assert key.public_key == OLD.key.public_key()


async def test_one_file_may_hold_everything(tmp_path: Path) -> None:
    everything = tmp_path / "identity.pem"
    everything.write_bytes(OLD.key_pem() + OLD.chain_pem + OLD.certificate_pem)
    identity, _ = await IdentityFiles(str(everything), str(everything)).load()
    assert (identity.leaf, identity.chain) == (OLD.certificate, OLD.chain)


async def test_intermediates_may_be_apart(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    (tmp_path / "ca.pem").write_bytes(OLD.chain_pem)
    identity, _ = await files(tmp_path, str(tmp_path / "ca.pem")).load()
    assert identity.chain == OLD.chain


def test_the_key_is_in_the_certificates_file_unless_set() -> None:
    env = {
        "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
        "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
        "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
        "ROLESANYWHERE_CERTIFICATE": "/a.pem",
    }
    assert IdentityFiles.of(Settings.from_env(env)) == IdentityFiles("/a.pem", "/a.pem")
    env |= {"ROLESANYWHERE_PRIVATE_KEY": "/k.pem", "ROLESANYWHERE_INTERMEDIATES": "/i.pem"}
    assert IdentityFiles.of(Settings.from_env(env)) == IdentityFiles("/a.pem", "/k.pem", "/i.pem")


@pytest.mark.parametrize("files_read", [1, 2, 3, 4])
async def test_a_swapped_volume_gives_one_whole_identity(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, files_read: int
) -> None:
    """Swapped, and the old directory deleted, after any of the reads of the first attempt."""

    def swap() -> None:
        volume.publish(NEW)
        volume.forget(1)

    after_reading(monkeypatch, files_read, swap)
    identity, key = await files(volume.path).load()
    assert key.public_key == identity.leaf.public_key()
    assert identity.leaf == (OLD if files_read == 4 else NEW).certificate


async def test_files_of_a_volume_are_read_from_one_generation(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when the old directory stays: no attempt mixes the two."""
    read = after_reading(monkeypatch, 1, lambda: volume.publish(NEW))
    await files(volume.path).load()
    assert read[0].parent == read[1].parent == volume.path / "..generation-1"
    assert read[-1].parent == read[-2].parent == volume.path / "..generation-2"


async def test_a_file_below_a_folder_of_the_volume_is_pinned_too(volume: Volume) -> None:
    inner = volume.path / "..generation-1" / "pair"
    inner.mkdir()
    write(inner, NEW)
    (volume.path / "pair").symlink_to("..data/pair")
    identity, _ = await files(volume.path / "pair").load()
    assert identity.leaf == NEW.certificate


async def test_a_folder_that_is_a_link_is_read_through_one_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, identity in (("v1", OLD), ("v2", NEW)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, identity)
    current = tmp_path / "current"
    current.symlink_to("v1")

    def swap() -> None:
        current.unlink()
        current.symlink_to("v2")

    read = after_reading(monkeypatch, 1, swap)
    loaded, _ = await files(current).load()
    assert loaded.leaf == NEW.certificate
    assert read[:2] == [tmp_path / "v1" / "tls.crt", tmp_path / "v1" / "tls.key"]


@pytest.mark.parametrize("files_read", [2, 4, 6])
async def test_files_that_are_written_one_after_the_other_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_read: int
) -> None:
    """The certificate is new already, the key only becomes so."""
    write(tmp_path, OLD)
    (tmp_path / "tls.crt").write_bytes(NEW.certificate_pem)
    after_reading(
        monkeypatch, files_read, lambda: _void((tmp_path / "tls.key").write_bytes(NEW.key_pem()))
    )
    identity, key = await files(tmp_path).load()
    assert identity.leaf == NEW.certificate
    assert key.public_key == NEW.key.public_key()


def pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _void(_: object) -> None:
    return


async def test_a_half_written_file_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, OLD)
    key = tmp_path / "tls.key"
    key.write_bytes(OLD.key_pem()[:100])
    after_reading(monkeypatch, 4, lambda: _void(key.write_bytes(OLD.key_pem())))
    identity, _ = await files(tmp_path).load()
    assert identity.leaf == OLD.certificate


async def test_files_that_never_hold_still_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, OLD)
    contents = iter(range(1000))
    honest = disk.read_regular
    monkeypatch.setattr(
        disk, "read_regular", lambda path: honest(path) + str(next(contents)).encode()
    )
    with pytest.raises(identity_files.IdentityChanging) as caught:
        await files(tmp_path).load()
    assert caught.value.retryable
    assert next(contents) == 4 * identity_files.ATTEMPTS


async def test_a_pair_that_never_matches_is_said_to_be_so(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    (tmp_path / "tls.key").write_bytes(NEW.key_pem())
    with pytest.raises(KeyMismatch, match=r"does not belong to certificate 'CN=old'.*tls\.crt"):
        await files(tmp_path).load()


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (lambda path: path.joinpath("tls.crt").unlink(), UnreadableFile,
         "the certificate {}/tls.crt cannot be read: No such file or directory"),
        (lambda path: path.joinpath("tls.key").unlink(), UnreadableFile,
         "the private key {}/tls.key cannot be read: No such file or directory"),
        (lambda path: path.joinpath("tls.key").write_bytes(b""), InvalidKey,
         "{}/tls.key holds no private key"),
        (lambda path: path.joinpath("tls.crt").write_bytes(b""), InvalidIdentity,
         "{}/tls.crt holds no certificate"),
        (lambda path: path.joinpath("tls.crt").write_bytes(b"x" * (1 << 20) + b"y"), UnreadableFile,
         "it is larger than 1048576 bytes"),
        (lambda path: folder_instead(path / "tls.key"),
         UnreadableFile, "it is not a regular file"),
        (lambda path: pipe_instead(path / "tls.key"),
         UnreadableFile, "it is not a regular file"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_file_is_said_with_its_path(
    tmp_path: Path,
    damage: Callable[[Path], object],
    error: type[RolesAnywhereError],
    says: str,
) -> None:
    write(tmp_path, OLD)
    damage(tmp_path)
    with pytest.raises(error) as caught:
        await files(tmp_path).load()
    assert says.format(tmp_path) in str(caught.value)
    assert "PRIVATE KEY-----\nM" not in str(caught.value)


async def test_a_volume_whose_links_go_round_is_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "..data").symlink_to("..data")
    says = "tls.crt cannot be read: Too many levels of symbolic links"
    with pytest.raises(UnreadableFile, match=says):
        await files(tmp_path).load()
    with pytest.raises(UnreadableFile, match=says):
        files(tmp_path).fingerprint()


async def test_intermediates_that_are_none_are_said_with_their_path(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    (tmp_path / "ca.pem").write_bytes(b"")
    with pytest.raises(InvalidIdentity, match=r"ca\.pem holds no certificate"):
        await files(tmp_path, str(tmp_path / "ca.pem")).load()


def test_the_fingerprint_is_of_content_not_of_time(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    before = files(tmp_path).fingerprint()
    os.utime(tmp_path / "tls.crt", (1, 1))
    write(tmp_path, OLD)
    assert files(tmp_path).fingerprint() == before


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.pem"])
def test_the_fingerprint_is_of_every_file(tmp_path: Path, name: str) -> None:
    write(tmp_path, OLD)
    (tmp_path / "ca.pem").write_bytes(OLD.chain_pem)
    held = files(tmp_path, str(tmp_path / "ca.pem"))
    before = held.fingerprint()
    with (tmp_path / name).open("ab") as file:
        file.write(b"\n")
    assert held.fingerprint() != before


def test_the_fingerprint_is_that_of_the_swapped_volume(volume: Volume) -> None:
    before = files(volume.path).fingerprint()
    volume.publish(NEW)
    assert files(volume.path).fingerprint() != before


def test_unreadable_files_have_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        files(tmp_path).fingerprint()
