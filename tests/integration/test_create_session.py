"""CreateSession from files on disk to credentials, against a service that really verifies."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.failures import AccessDenied
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority, Identity, KeyForm, KeyKind
from tests.fakes.recorded import essence
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, World, small_world

KEY_FORMS: list[tuple[KeyKind, KeyForm]] = [
    ("rsa-2048", "pkcs1"),
    ("rsa-2048", "pkcs8"),
    ("rsa-3072", "pkcs8"),
    ("p256", "sec1"),
    ("p256", "pkcs8"),
    ("p384", "sec1"),
    ("p384", "pkcs8"),
    ("p521", "sec1"),
    ("p521", "pkcs8"),
]


def written(identity: Identity, folder: Path, *, form: KeyForm = "pkcs8") -> dict[str, str]:
    """Settings for ``identity`` with its chain in the certificate's file, as cert-manager does."""
    (folder / "tls.crt").write_bytes(identity.certificate_pem + identity.chain_pem)
    (folder / "tls.key").write_bytes(identity.key_pem(form))
    return {
        "ROLESANYWHERE_CERTIFICATE": str(folder / "tls.crt"),
        "ROLESANYWHERE_PRIVATE_KEY": str(folder / "tls.key"),
    }


def settings_for(aws: FakeAWS, **more: str) -> Settings:
    return Settings.from_env(
        {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_ENDPOINT": aws.rolesanywhere_url,
            "ROLESANYWHERE_CA_BUNDLE": str(aws.ca_file or ""),
            **more,
        }
    )


@asynccontextmanager
async def a_client(settings: Settings) -> AsyncIterator[RolesAnywhere]:
    client = RolesAnywhere(settings, IdentityFiles.of(settings), now=utc_now, env={})
    try:
        yield client
    finally:
        await client.close()


def a_root() -> tuple[Authority, World]:
    root = Authority.root(at=utc_now())
    return root, small_world(root.certificate)


@pytest.mark.parametrize(("kind", "form"), KEY_FORMS)
async def test_every_kind_of_key_in_every_form_gets_a_session(
    tmp_path: Path, kind: KeyKind, form: KeyForm
) -> None:
    root, world = a_root()
    files = written(root.leaf(at=utc_now(), kind=kind), tmp_path, form=form)
    async with FakeAWS.start(world) as aws, a_client(settings_for(aws, **files)) as client:
        credentials = await client.create_session()
        [issued] = aws.sessions
    assert credentials.access_key_id == issued.access_key_id
    assert credentials.secret_access_key == issued.secret_access_key
    assert credentials.session_token == issued.session_token
    assert credentials.expires == issued.session.expires
    assert credentials.issued <= datetime.now(UTC)
    assert credentials.account_id == "111122223333"


async def test_tls_is_verified_with_the_bundle(tmp_path: Path) -> None:
    root, world = a_root()
    files = written(root.leaf(at=utc_now()), tmp_path)
    async with (
        FakeAWS.start(world, tls_folder=tmp_path) as aws,
        a_client(settings_for(aws, **files)) as client,
    ):
        await client.create_session()
        assert len(aws.sessions) == 1


@pytest.mark.parametrize("layout", ["one file", "two files", "chain apart", "everything in one"])
async def test_a_chain_of_two_intermediates_arrives_in_order(tmp_path: Path, layout: str) -> None:
    root, world = a_root()
    lower = root.intermediate("Upper", at=utc_now()).intermediate("Lower", at=utc_now())
    leaf = lower.leaf(at=utc_now())
    files = written(leaf, tmp_path)
    if layout == "two files":  # leaf and chain, and the chain once more: nothing goes out twice
        (tmp_path / "ca.pem").write_bytes(leaf.chain_pem)
        files["ROLESANYWHERE_INTERMEDIATES"] = str(tmp_path / "ca.pem")
    elif layout == "chain apart":  # in the wrong order, and with the root
        upper_first = b"".join(replace(leaf, chain=(c,)).chain_pem for c in reversed(leaf.chain))
        (tmp_path / "tls.crt").write_bytes(leaf.certificate_pem)
        (tmp_path / "ca.pem").write_bytes(root.certificate_pem + upper_first)
        files["ROLESANYWHERE_INTERMEDIATES"] = str(tmp_path / "ca.pem")
    elif layout == "everything in one":
        (tmp_path / "tls.crt").write_bytes(leaf.chain_pem + leaf.key_pem() + leaf.certificate_pem)
        del files["ROLESANYWHERE_PRIVATE_KEY"]
    async with FakeAWS.start(world) as aws, a_client(settings_for(aws, **files)) as client:
        await client.create_session()
        sent = essence(aws.requests[0].request)["headers"]["x-amz-x509-chain"].split(",")
    assert sent == [header_of(certificate) for certificate in leaf.chain]


def header_of(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


async def test_an_unknown_authority_is_denied_with_what_to_do(tmp_path: Path) -> None:
    _, world = a_root()
    stranger = Authority.root("Stranger", at=utc_now()).leaf(at=utc_now())
    async with (
        FakeAWS.start(world) as aws,
        a_client(settings_for(aws, **written(stranger, tmp_path))) as client,
    ):
        with pytest.raises(AccessDenied, match="add the missing intermediates"):
            await client.create_session()
