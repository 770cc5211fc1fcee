"""What read-certificate-data and sign-string print, without AWS's helper at hand."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PublicFormat,
    pkcs12,
)

from rolesanywhere_contract.certselector import CertSelector
from rolesanywhere_contract.settings import IdentitySettings
from rolesanywhere_sidecar.commands import inspection
from rolesanywhere_sidecar.commands.inspection import fixed_text, holdings, shown
from rolesanywhere_sidecar.identities.names import go_string
from rolesanywhere_sidecar.identities.pkcs11.conversation import Token, TokenCertificate
from rolesanywhere_sidecar.identities.pkcs11.facts import ObjectFacts, SlotFacts, TokenFacts
from rolesanywhere_sidecar.identities.pkcs11.listing import Listed
from tests.fakes.pki import LEAF, Authority, Identity, KeyKind, Template
from tests.fakes.scene import NOW

ROOT = Authority.root(at=NOW)
PRINTED = pytest.CaptureFixture[bytes]


def written(identity: Identity, folder: Path) -> IdentitySettings:
    """A bundle of leaf and chain, and the key."""
    (folder / "tls.crt").write_bytes(identity.certificate_pem + identity.chain_pem)
    (folder / "tls.key").write_bytes(identity.key_pem())
    return IdentitySettings(certificate=f"{folder}/tls.crt", private_key=f"{folder}/tls.key")


def data(settings: IdentitySettings, capfdbinary: PRINTED) -> Any:
    code = inspection.read_certificate_data(settings)
    captured = capfdbinary.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def signature(settings: IdentitySettings, capfdbinary: PRINTED, digest: str = "SHA256") -> bytes:
    code = inspection.sign_string(settings, {"digest": digest, "format": "bin"})
    captured = capfdbinary.readouterr()
    assert code == 0, captured.err
    return captured.out


@pytest.mark.parametrize(
    ("kind", "type_", "algorithms"),
    [
        ("rsa-2048", "RSA", ["RSASHA256", "RSASHA384", "RSASHA512"]),
        ("p384", "EC", ["ECSHA256", "ECSHA384", "ECSHA512"]),
        ("ml-dsa-65", "ML-DSA-65", ["ML-DSA-65"]),
    ],
)
def test_a_bundle_is_told_of_by_its_leaf(
    kind: KeyKind, type_: str, algorithms: list[str], tmp_path: Path, capfdbinary: PRINTED
) -> None:
    leaf = ROOT.intermediate(at=NOW).leaf(at=NOW, kind=kind, template=Template(serial=2**150 + 7))
    assert data(written(leaf, tmp_path), capfdbinary) == {
        "keyType": type_,
        "certificateData": base64.b64encode(leaf.der).decode(),
        "serialNumber": str(2**150 + 7),
        "supportedAlgorithms": algorithms,
    }


def test_a_folder_is_told_of_as_a_list(tmp_path: Path, capfdbinary: PRINTED) -> None:
    leaves = [ROOT.leaf(f"leaf {number}", at=NOW) for number in range(3)]
    for number, leaf in enumerate(leaves):
        (tmp_path / f"{number}.crt").write_bytes(leaf.certificate_pem)
    (tmp_path / "again.crt").write_bytes(leaves[0].certificate_pem)
    (tmp_path / "notes.txt").write_text("not a certificate")
    folder = IdentitySettings(certificate=str(tmp_path))
    found = data(folder, capfdbinary)
    assert [each["serialNumber"] for each in found] == [
        str(leaf.certificate.serial_number) for leaf in leaves
    ]
    assert [each["subject"] for each in found] == ["CN=leaf 0", "CN=leaf 1", "CN=leaf 2"]
    serial = f"Key=x509Serial,Value={leaves[1].certificate.serial_number:x}"
    chosen = IdentitySettings(certificate=str(tmp_path), cert_selector=serial)
    assert data(chosen, capfdbinary) == [found[1]]


def test_a_folders_list_has_a_line_for_each_thing_that_it_tells(
    tmp_path: Path, capfdbinary: PRINTED
) -> None:
    """And nothing in a name that a terminal would obey."""
    leaf = ROOT.leaf("web\u202e", at=NOW)
    (tmp_path / "tls.crt").write_bytes(leaf.certificate_pem)
    assert inspection.read_certificate_data(IdentitySettings(certificate=str(tmp_path))) == 0
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert lines[:4] == ["[", "  {", r'    "subject": "CN=web\u202e",', '    "keyType": "EC",']
    assert f'    "serialNumber": "{leaf.certificate.serial_number}",' in lines


def test_a_selector_that_fits_none_of_a_folder_leaves_an_empty_list(
    tmp_path: Path, capfdbinary: PRINTED
) -> None:
    (tmp_path / "tls.crt").write_bytes(ROOT.leaf(at=NOW).certificate_pem)
    settings = IdentitySettings(certificate=str(tmp_path), cert_selector="Key=x509Serial,Value=01")
    assert data(settings, capfdbinary) == []


def test_a_pkcs12_is_told_of_by_its_leaf_and_signs(tmp_path: Path, capfdbinary: PRINTED) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = ROOT.intermediate(at=NOW).leaf(at=NOW, key=key)
    store = pkcs12.serialize_key_and_certificates(
        None, key, leaf.certificate, leaf.chain, BestAvailableEncryption(b"open sesame")
    )
    (tmp_path / "tls.p12").write_bytes(store)
    (tmp_path / "password").write_text("open sesame\n")
    settings = IdentitySettings(
        certificate=f"{tmp_path}/tls.p12", private_key_password_file=f"{tmp_path}/password"
    )
    assert data(settings, capfdbinary)["serialNumber"] == str(leaf.certificate.serial_number)
    signed = signature(settings, capfdbinary)
    public = key.public_key()
    public.verify(signed, fixed_text(public), ec.ECDSA(hashes.SHA256()))


def test_a_selector_that_fits_none_is_told(tmp_path: Path, capfdbinary: PRINTED) -> None:
    settings = written(ROOT.leaf(at=NOW), tmp_path)
    chosen = IdentitySettings(
        certificate=settings.certificate, cert_selector="Key=x509Serial,Value=1"
    )
    assert inspection.read_certificate_data(chosen) == 1
    captured = capfdbinary.readouterr()
    assert captured.out == b""
    assert b"holds no certificate that the cert selector fits" in captured.err


@pytest.mark.parametrize(
    ("digest", "hashed"),
    [("SHA256", hashes.SHA256()), ("SHA384", hashes.SHA384()), ("SHA512", hashes.SHA512())],
)
def test_rsa_signs_the_fixed_text_with_the_digest_that_is_asked_for(
    digest: str, hashed: hashes.HashAlgorithm, tmp_path: Path, capfdbinary: PRINTED
) -> None:
    key = rsa.generate_private_key(65537, 2048)
    signed = signature(written(ROOT.leaf(at=NOW, key=key), tmp_path), capfdbinary, digest)
    public = key.public_key()
    public.verify(signed, fixed_text(public), padding.PKCS1v15(), hashed)


def test_ml_dsa_signs_the_constant_alone(tmp_path: Path, capfdbinary: PRINTED) -> None:
    key = mldsa.MLDSA44PrivateKey.generate()
    signed = signature(written(ROOT.leaf(at=NOW, key=key), tmp_path), capfdbinary)
    text = b"AWS Roles Anywhere Credential Helper Signing Test1"
    key.public_key().verify(signed, text)


def test_the_fixed_text_names_the_key() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    expected = b"AWS Roles Anywhere Credential Helper Signing Test1"
    assert fixed_text(public) == expected + hashlib.sha256(b"IAM RA" + point).digest()


def test_a_signature_is_shown_in_three_ways() -> None:
    assert shown(b"\x01\xff", "json") == b'"01ff"'
    assert shown(b"\x01\xff", "text") == b"01ff"
    assert shown(b"\x01\xff", "bin") == b"\x01\xff"


def test_what_goes_wrong_is_one_sentence(tmp_path: Path, capfdbinary: PRINTED) -> None:
    settings = IdentitySettings(certificate=f"{tmp_path}/none")
    assert inspection.read_certificate_data(settings) == 1
    assert inspection.sign_string(settings, {"digest": "SHA256", "format": "json"}) == 1
    captured = capfdbinary.readouterr()
    assert captured.out == b""
    assert [line.split(b": ")[1] for line in captured.err.splitlines()] == [b"UnreadableFile"] * 2


def in_a_token(der: bytes, label: str, *, has_key: bool | None = True, unseen: str = "") -> Listed:
    token = Token(
        TokenFacts(token="node-hsm", manufacturer="", serial="", model=""),
        SlotFacts(slot_manufacturer="", slot_description="", slot_id=0),
        0,
    )
    facts = ObjectFacts(object=label, type="cert", id=b"\x01")
    return Listed(TokenCertificate(token, facts, der), has_key, unseen)


def test_what_a_token_holds_is_told_with_a_uri_and_whether_its_key_is_there() -> None:
    leaf = ROOT.leaf(at=NOW)
    [told] = holdings([in_a_token(leaf.der, "ours")], None, latest=False)
    uri = "pkcs11:token=node-hsm;manufacturer=;serial=;model=;object=ours;type=cert;id=%01"
    assert (told["uri"], told["slot"], told["privateKey"]) == (uri, 0, True)
    assert (told["subject"], told["issuer"]) == ("CN=workload", go_string(leaf.certificate.issuer))
    assert told["notAfter"] == f"{leaf.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert told.items() >= inspection.document(leaf.certificate).items()
    assert "privateKeyUnseen" not in told


def test_what_cannot_be_seen_of_a_token_is_told_with_the_reason() -> None:
    unseen = in_a_token(ROOT.leaf(at=NOW).der, "ours", has_key=None, unseen="no PIN is set")
    damaged = in_a_token(b"\x30\x03\x02\x01\x00", "damaged", has_key=False)
    first, second = holdings([unseen, damaged], None, latest=False)
    assert (first["privateKey"], first["privateKeyUnseen"]) == (None, "no PIN is set")
    assert second["problem"] == "the certificate cannot be read"
    assert "object=damaged" in str(second["uri"])


def test_a_selector_or_the_latest_choose_among_what_a_token_holds() -> None:
    short = ROOT.leaf(at=NOW)
    long = ROOT.leaf(at=NOW, template=replace(LEAF, lives=timedelta(days=90), serial=0x77))
    every = [in_a_token(each, "any") for each in (long.der, short.der, b"\x30\x00")]
    serial = CertSelector(serial=0x77)
    for chosen in (holdings(every, serial, latest=False), holdings(every, None, latest=True)):
        assert [each["serialNumber"] for each in chosen] == [str(0x77)]
