"""Every form of identity on its whole way: from files to a session of a service that verifies.

ML-DSA beside AWS's own helper, which reads keys with both halves alone.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.commands.inspection import fixed_text
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.identities.keys import open_key
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere
from tests.fakes import aws_helper
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.encrypted import encrypted
from tests.fakes.pki import Authority, Identity, KeyForm, KeyKind
from tests.fakes.recorded import essence
from tests.fakes.wire import WireRequest
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.tools import build_or_skip

SIZES = {"ml-dsa-44": 2420, "ml-dsa-65": 3309, "ml-dsa-87": 4627}
PASSWORD = "opensesame"


@pytest.fixture(scope="session")
def helper() -> Path:
    return build_or_skip(aws_helper.find_or_build)


async def session_for(aws: FakeAWS, **env: str) -> WireRequest:
    """The request of ours that the service has accepted."""
    settings = Settings.from_env(
        {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_ENDPOINT": aws.rolesanywhere_url,
            **{f"ROLESANYWHERE_{name}": value for name, value in env.items()},
        }
    )
    client = RolesAnywhere(settings, IdentityFiles.of(settings), now=utc_now, env={})
    try:
        credentials = await client.create_session()
    finally:
        await client.close()
    [issued] = aws.sessions[-1:]
    assert credentials.secret_access_key == issued.secret_access_key
    assert aws.requests[-1].verdict == "ok"
    return aws.requests[-1].request


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("form", ["seed", "expanded", "both"])
@pytest.mark.parametrize("kind", list(SIZES))
async def test_an_mldsa_key_signs_sessions(
    tmp_path: Path, kind: KeyKind, form: KeyForm, sealed: bool
) -> None:
    root = Authority.root(at=utc_now(), kind=kind)
    held = root.intermediate(at=utc_now(), kind=kind).leaf(at=utc_now(), kind=kind)
    (tmp_path / "tls.crt").write_bytes(held.certificate_pem + held.chain_pem)
    key = encrypted(held.key_der(form), PASSWORD.encode(), derivation="scrypt")
    (tmp_path / "tls.key").write_bytes(key if sealed else held.key_pem(form))
    async with FakeAWS.start(small_world(root.certificate)) as aws:
        request = await session_for(
            aws,
            CERTIFICATE=str(tmp_path / "tls.crt"),
            PRIVATE_KEY=str(tmp_path / "tls.key"),
            **({"PRIVATE_KEY_PASSWORD": PASSWORD} if sealed else {}),
        )
    assert essence(request)["algorithm"] == "AWS4-X509-MLDSA"
    signature = (request.get("authorization") or "").partition("Signature=")[2]
    assert len(bytes.fromhex(signature)) == SIZES[kind]


async def both(
    helper: Path, root: Authority, held: Identity, folder: Path, form: KeyForm
) -> tuple[WireRequest, WireRequest]:
    flags = aws_helper.identity_flags(held, folder, form)
    env = {"CERTIFICATE": f"{folder}/tls.crt", "PRIVATE_KEY": f"{folder}/tls.key"}
    if held.chain:
        env["INTERMEDIATES"] = f"{folder}/chain.pem"
    async with FakeAWS.start(small_world(root.certificate)) as aws:
        outcome = await aws_helper.run(
            helper, "credential-process", *flags, "--endpoint", aws.rolesanywhere_url,
            "--trust-anchor-arn", TRUST_ANCHOR_ARN, "--profile-arn", PROFILE_ARN,
            "--role-arn", ROLE_ARN,
        )  # fmt: skip
        assert outcome.document()
        return aws.requests[0].request, await session_for(aws, **env)


@pytest.mark.parametrize("kind", list(SIZES))
async def test_awss_helper_asks_the_same_with_mldsa(
    helper: Path, tmp_path: Path, kind: KeyKind
) -> None:
    root = Authority.root(at=utc_now())
    held = root.intermediate(at=utc_now()).leaf(at=utc_now(), kind=kind)
    their, our = await both(helper, root, held, tmp_path, "both")
    assert essence(our) == essence(their)
    assert len(our.get("authorization") or "") == len(their.get("authorization") or "")


@pytest.mark.parametrize("kind", list(SIZES))
async def test_an_expanded_key_signs_what_awss_helper_signs_to_the_byte(
    helper: Path, tmp_path: Path, kind: KeyKind
) -> None:
    """Both are deterministic, and of what the helper signs sign-string tells."""
    held = Authority.root(at=utc_now()).leaf(at=utc_now(), kind=kind)
    flags = aws_helper.identity_flags(held, tmp_path, "both")
    outcome = await aws_helper.run(helper, "sign-string", *flags, "--format", "text")
    assert outcome.status == 0, outcome.errors
    key = open_key("expanded", held.key_pem("expanded"))
    assert await key.sign(fixed_text(key.public_key)) == bytes.fromhex(outcome.output.strip())


def as_bundle(held: Identity, folder: Path) -> dict[str, str]:
    (folder / "bundle.pem").write_bytes(held.key_pem() + held.certificate_pem + held.chain_pem)
    return {"CERTIFICATE": str(folder / "bundle.pem")}


def as_shuffled_bundle(held: Identity, folder: Path) -> dict[str, str]:
    content = b"".join(each.public_bytes(Encoding.PEM) for each in reversed(held.chain))
    content = content + held.certificate_pem + content
    (folder / "bundle.pem").write_bytes(content.replace(b"\n", b"\r\n") + held.key_pem())
    return {"CERTIFICATE": str(folder / "bundle.pem")}


def as_pkcs12(held: Identity, folder: Path) -> dict[str, str]:
    assert isinstance(held.key, ec.EllipticCurvePrivateKey)
    content = pkcs12.serialize_key_and_certificates(
        b"x", held.key, held.certificate, held.chain, BestAvailableEncryption(PASSWORD.encode())
    )
    (folder / "identity.p12").write_bytes(content)
    (folder / "password").write_text(f"{PASSWORD}\n")
    return {
        "CERTIFICATE": str(folder / "identity.p12"),
        "PRIVATE_KEY_PASSWORD_FILE": str(folder / "password"),
    }


def as_der(held: Identity, folder: Path) -> dict[str, str]:
    (folder / "tls.der").write_bytes(held.der)
    (folder / "key.der").write_bytes(held.key_der())
    (folder / "chain.pem").write_bytes(held.chain_pem)
    return {
        "CERTIFICATE": str(folder / "tls.der"),
        "PRIVATE_KEY": str(folder / "key.der"),
        "INTERMEDIATES": str(folder / "chain.pem"),
    }


def as_folder(held: Identity, folder: Path) -> dict[str, str]:
    (folder / "leaf.crt").write_bytes(held.certificate_pem)
    (folder / "ca.crt").write_bytes(held.chain_pem)
    (folder / "leaf.key").write_bytes(held.key_pem("sec1"))
    stranger = Authority.root("Stranger", at=utc_now()).leaf(at=utc_now())
    (folder / "stranger.crt").write_bytes(stranger.certificate_pem)
    return {
        "CERTIFICATE": str(folder),
        "CERT_SELECTOR": f"Key=x509Serial,Value={held.certificate.serial_number:X}",
    }


@pytest.mark.parametrize(
    "write", [as_bundle, as_shuffled_bundle, as_pkcs12, as_der, as_folder], ids=lambda w: w.__name__
)
async def test_every_form_of_file_gives_a_session_with_its_chain(
    tmp_path: Path, write: Callable[[Identity, Path], dict[str, str]]
) -> None:
    root = Authority.root(at=utc_now())
    upper = root.intermediate("Upper", at=utc_now())
    held = upper.intermediate("Lower", at=utc_now()).leaf(at=utc_now())
    async with FakeAWS.start(small_world(root.certificate)) as aws:
        request = await session_for(aws, **write(held, tmp_path))
    assert len((request.get("x-amz-x509-chain") or "").split(",")) == 2
    assert essence(request)["credential"] == str(held.certificate.serial_number)
