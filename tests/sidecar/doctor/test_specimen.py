"""The identity on disk: whole, torn, locked, and as much of it as can be told."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from rolesanywhere_sidecar.doctor import specimen
from rolesanywhere_sidecar.doctor.findings import Check, Finding
from rolesanywhere_sidecar.doctor.specimen import TRIAL, Specimen
from rolesanywhere_sidecar.identities.keys.proof import verifies
from tests.fakes import pki
from tests.fakes.pki import LEAF, Authority, Identity, KeyKind
from tests.support.examined import FAILURE, OK, SKIPPED, of, told, troubles

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
ROOT = Authority.root(at=NOW)
LONG = replace(LEAF, lives=timedelta(days=90))
LEAF_OF_ROOT = ROOT.leaf(at=NOW, template=LONG)


def put(folder: Path, identity: Identity) -> dict[str, str]:
    (folder / "tls.crt").write_bytes(identity.certificate_pem + identity.chain_pem)
    (folder / "tls.key").write_bytes(identity.key_pem())
    return {"certificate": str(folder / "tls.crt"), "private_key": str(folder / "tls.key")}


async def examined(**settings: str) -> Sequence[Finding]:
    taken = await specimen.take(told(**settings).values)
    return await specimen.examine(taken, at=NOW)


@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "p384", "p521", "ml-dsa-44", "ml-dsa-87"])
async def test_a_good_identity_is_all_well(tmp_path: Path, kind: KeyKind) -> None:
    found = await examined(**put(tmp_path, ROOT.leaf(at=NOW, kind=kind, template=LONG)))
    assert troubles(found) == []
    assert "trial signature" in of(found, Check.KEY_MATCH).sentence


async def test_arns_that_cannot_be_read_do_not_hide_the_identity(tmp_path: Path) -> None:
    found = await examined(**put(tmp_path, LEAF_OF_ROOT), role_arn="oops", profile_arn="oops")
    assert troubles(found) == []


async def test_a_key_of_another_certificate_is_one_failure(tmp_path: Path) -> None:
    torn = replace(LEAF_OF_ROOT, key=pki.new_key("p256"))
    found = await examined(**put(tmp_path, torn))
    assert troubles(found) == [(FAILURE, Check.KEY_MATCH), (SKIPPED, Check.CHAIN)]
    mismatch = of(found, Check.KEY_MATCH)
    assert "the private key does not belong to certificate 'CN=workload'" in mismatch.sentence
    assert mismatch.remedy


async def test_a_damaged_key_does_not_hide_the_certificate(tmp_path: Path) -> None:
    files = put(tmp_path, LEAF_OF_ROOT)
    (tmp_path / "tls.key").write_bytes(LEAF_OF_ROOT.key_pem()[:90])
    found = await examined(**files)
    assert of(found, Check.CERTIFICATE).verdict is OK
    assert of(found, Check.PRIVATE_KEY).verdict is FAILURE
    assert of(found, Check.KEY_MATCH).verdict is SKIPPED
    assert of(found, Check.VALIDITY).verdict is OK


async def test_a_damaged_certificate_does_not_hide_the_key(tmp_path: Path) -> None:
    files = put(tmp_path, LEAF_OF_ROOT)
    (tmp_path / "tls.crt").write_bytes(LEAF_OF_ROOT.certificate_pem[:200])
    found = await examined(**files)
    assert of(found, Check.CERTIFICATE).verdict is FAILURE
    assert of(found, Check.PRIVATE_KEY).verdict is OK
    assert of(found, Check.VALIDITY).verdict is SKIPPED


async def test_missing_files_are_left_to_the_checks_of_files(tmp_path: Path) -> None:
    found = await examined(certificate=str(tmp_path / "none"))
    assert {each.verdict for each in found} == {SKIPPED}


async def test_without_a_certificate_everything_is_skipped() -> None:
    found = await specimen.examine(Specimen(), at=NOW)
    assert {each.verdict for each in found} == {SKIPPED}


def lock(folder: Path, password: bytes) -> None:
    (folder / "tls.key").write_bytes(
        LEAF_OF_ROOT.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
        )
    )


async def test_the_right_password_opens_the_key_and_no_other(tmp_path: Path) -> None:
    files = put(tmp_path, LEAF_OF_ROOT)
    lock(tmp_path, b"hunter2")
    (tmp_path / "password").write_text("hunter2\n")
    right = await examined(**files, private_key_password_file=str(tmp_path / "password"))
    assert troubles(right) == []
    wrong = of(await examined(**files, private_key_password="hunter3"), Check.PRIVATE_KEY)
    assert (wrong.verdict, "hunter" in f"{wrong}") == (FAILURE, False)
    none = of(await examined(**files), Check.PRIVATE_KEY)
    assert none.verdict is FAILURE
    assert "--private-key-password-file" in none.remedy


async def test_a_selector_that_fits_nothing_is_a_failure_of_the_certificate(
    tmp_path: Path,
) -> None:
    files = put(tmp_path, LEAF_OF_ROOT)
    found = await examined(**files, cert_selector="Key=x509Subject,Value=CN=somebody")
    assert of(found, Check.CERTIFICATE).verdict is FAILURE
    assert "fits none" in of(found, Check.CERTIFICATE).sentence


async def test_a_selectors_file_that_is_not_there_is_told_too(tmp_path: Path) -> None:
    selector = f"file://{tmp_path}/none.json"
    found = await examined(**put(tmp_path, LEAF_OF_ROOT), cert_selector=selector)
    assert of(found, Check.CERTIFICATE).verdict is FAILURE
    assert f"{tmp_path}/none.json cannot be read" in of(found, Check.CERTIFICATE).sentence


async def test_the_leaf_is_named_among_its_chain(tmp_path: Path) -> None:
    below = ROOT.intermediate(at=NOW).leaf("deep", at=NOW, template=LONG)
    found = await examined(**put(tmp_path, below))
    assert "'CN=deep'" in of(found, Check.CERTIFICATE).sentence
    assert "one of 2 found" in of(found, Check.CERTIFICATE).sentence
    assert of(found, Check.CHAIN_VALIDITY).verdict is OK


async def test_without_its_key_the_leaf_is_the_one_that_is_no_authority(tmp_path: Path) -> None:
    below = ROOT.intermediate(at=NOW).leaf("deep", at=NOW, template=LONG)
    files = put(tmp_path, replace(below, key=pki.new_key("p256")))
    (tmp_path / "tls.crt").write_bytes(below.chain_pem + below.certificate_pem)
    assert "'CN=deep'" in of(await examined(**files), Check.CERTIFICATE).sentence


class Liar:
    """A key that signs something else, as a token with several keys might."""

    kind = "ECDSA"

    async def sign(self, payload: bytes) -> bytes:
        return signature_of(payload + b"!")


def signature_of(payload: bytes) -> bytes:
    assert isinstance(LEAF_OF_ROOT.key, ec.EllipticCurvePrivateKey)
    return LEAF_OF_ROOT.key.sign(payload, ec.ECDSA(hashes.SHA256()))


async def test_a_key_that_signs_wrongly_is_found_out_by_the_certificate(tmp_path: Path) -> None:
    taken = await specimen.take(told(**put(tmp_path, LEAF_OF_ROOT)).values)
    lying = replace(taken, key=Liar())  # type: ignore[arg-type] # no public half is needed here
    found = of(await specimen.examine(lying, at=NOW), Check.KEY_MATCH)
    assert found.verdict is FAILURE


def test_only_the_right_signature_verifies() -> None:
    public = LEAF_OF_ROOT.key.public_key()
    assert verifies(public, TRIAL, signature_of(TRIAL))
    assert not verifies(public, TRIAL, signature_of(b"another"))
    assert not verifies(object(), TRIAL, b"")
