"""AWS's Python clients against the pretended services: another witness we did not write.

``iam-rolesanywhere-session`` fetches a session; boto3 uses it with STS.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes

from rolesanywhere_contract.arns import ProfileArn, RoleArn, TrustAnchorArn
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere
from tests.fakes import aws_clients, pki
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority, Identity, KeyKind
from tests.fakes.recorded import essence
from tests.fakes.sessions import Issued
from tests.fakes.wire import WireRequest
from tests.fakes.world import PROFILE_ARN, REGION, ROLE_ARN, TRUST_ANCHOR_ARN, small_world

SESSION = """
import json, sys
from iam_rolesanywhere_session import CredentialsRetrievalError, IAMRolesAnywhereSession
given = json.load(sys.stdin)
for name in ("certificate", "private_key", "certificate_chain"):
    given[name] = given[name].encode() or None
try:
    session = IAMRolesAnywhereSession(**given).get_session()
    print(json.dumps(session.get_credentials().get_frozen_credentials()._asdict()))
except CredentialsRetrievalError as refused:
    print(json.dumps({"refused": str(refused)}))
"""

CALLER = """
import json, sys
import boto3
from botocore.exceptions import ClientError
given = json.load(sys.stdin)
try:
    answer = boto3.client("sts", **given).get_caller_identity()
    print(json.dumps({name: answer[name] for name in ("UserId", "Account", "Arn")}))
except ClientError as refused:
    print(json.dumps(refused.response["Error"]))
"""


async def fetch(aws: FakeAWS, identity: Identity, **more: Any) -> dict[str, Any]:
    """One session through AWS's library; it speaks HTTPS only and wants a host, not a URL."""
    given = {
        "certificate": identity.certificate_pem.decode(),
        "private_key": identity.key_pem().decode(),
        "certificate_chain": identity.chain_pem.decode(),
        "trust_anchor_arn": TRUST_ANCHOR_ARN,
        "profile_arn": PROFILE_ARN,
        "role_arn": ROLE_ARN,
        "region": REGION,
        "endpoint": aws.rolesanywhere_url.removeprefix("https://"),
        "verify": str(aws.ca_file),
        **more,
    }
    return await aws_clients.run(SESSION, given)


@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "p384"])
async def test_the_library_is_believed(tmp_path: Path, kind: KeyKind) -> None:
    root = Authority.root(at=utc_now())
    async with FakeAWS.start(small_world(root.certificate), tls_folder=tmp_path) as aws:
        got = await fetch(aws, root.leaf(at=utc_now(), kind=kind))
        [issued] = aws.sessions
        assert got["access_key"] == issued.access_key_id
        assert got["token"] == issued.session_token


async def test_the_library_is_believed_with_intermediates_and_a_name(tmp_path: Path) -> None:
    root = Authority.root(at=utc_now())
    world = small_world(root.certificate, accept_role_session_name=True)
    async with FakeAWS.start(world, tls_folder=tmp_path) as aws:
        leaf = root.intermediate(at=utc_now()).leaf(at=utc_now())
        await fetch(aws, leaf, role_session_name="team-a.web")
        assert aws.sessions[0].session.session_name == "team-a.web"


async def test_the_library_sends_its_arns_in_the_body(tmp_path: Path) -> None:
    """The documents allow both; AWS's Go client uses the query, its Python one the body."""
    root = Authority.root(at=utc_now())
    async with FakeAWS.start(small_world(root.certificate), tls_folder=tmp_path) as aws:
        await fetch(aws, root.leaf(at=utc_now()))
        sent = essence(aws.requests[0].request)
    assert sent["query"] == ""
    assert sent["body"] == {
        "durationSeconds": 3600,
        "profileArn": PROFILE_ARN,
        "roleArn": ROLE_ARN,
        "trustAnchorArn": TRUST_ANCHOR_ARN,
    }


async def ours(aws: FakeAWS, identity: Identity, folder: Path) -> None:
    """The session that `fetch` asks for, asked for by us."""
    (folder / "tls.pem").write_bytes(
        identity.certificate_pem + identity.chain_pem + identity.key_pem()
    )
    settings = Settings(
        trust_anchor_arn=TrustAnchorArn.parse(TRUST_ANCHOR_ARN),
        profile_arn=ProfileArn.parse(PROFILE_ARN),
        role_arn=RoleArn.parse(ROLE_ARN),
        endpoint=aws.rolesanywhere_url,
        ca_bundle=str(aws.ca_file),
        certificate=str(folder / "tls.pem"),
    )
    client = RolesAnywhere(settings, IdentityFiles.of(settings), now=utc_now, env={})
    try:
        await client.create_session()
    finally:
        await client.close()


def meaning(request: WireRequest) -> dict[str, Any]:
    """What is asked for and by whom, wherever in the request that stands."""
    told = essence(request)
    in_query = {name: values[0] for name, values in parse_qs(told["query"]).items()}
    return {
        "wishes": told["body"] | in_query,
        "identity": [request.get("x-amz-x509"), request.get("x-amz-x509-chain")],
        **{name: told[name] for name in ("method", "path", "algorithm", "credential", "scope")},
    }


@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "p384"])
async def test_the_library_and_we_ask_for_the_same(tmp_path: Path, kind: KeyKind) -> None:
    root = Authority.root(at=utc_now(), kind="rsa-2048")
    identity = root.intermediate(at=utc_now()).leaf(at=utc_now(), kind=kind)
    async with FakeAWS.start(small_world(root.certificate), tls_folder=tmp_path) as aws:
        await fetch(aws, identity)
        await ours(aws, identity, tmp_path)
        assert [entry.verdict for entry in aws.requests] == ["ok", "ok"]
        their, our = (entry.request for entry in aws.requests)
    assert meaning(our) == meaning(their)


async def test_the_library_misnames_its_algorithm_under_a_sha384_authority(tmp_path: Path) -> None:
    """Seen in iam-rolesanywhere-session 3.0.0: it takes the hash in the algorithm's name from the
    issuer's signature on the certificate, but signs with SHA-256. The documents know no such
    algorithm, so the request is refused; under an authority that signs with SHA-256 it works."""
    root = Authority.root(at=utc_now())
    sha384 = replace(pki.LEAF, hash=hashes.SHA384())
    async with FakeAWS.start(small_world(root.certificate), tls_folder=tmp_path) as aws:
        got = await fetch(aws, root.leaf(at=utc_now(), template=sha384))
    assert "AWS4-X509-ECDSA-SHA384 is not an algorithm" in got["refused"]


async def test_the_library_with_the_wrong_key_is_refused(tmp_path: Path) -> None:
    root = Authority.root(at=utc_now())
    mismatched = replace(root.leaf(at=utc_now()), key=pki.new_key("p256"))
    async with FakeAWS.start(small_world(root.certificate), tls_folder=tmp_path) as aws:
        assert "Invalid signature" in (await fetch(aws, mismatched))["refused"]


async def who_am_i(aws: FakeAWS, issued: Issued) -> dict[str, Any]:
    """``sts:GetCallerIdentity`` by boto3: the answer, or STS's error."""
    given = {
        "endpoint_url": aws.sts_url,
        "verify": str(aws.ca_file),
        "region_name": REGION,
        "aws_access_key_id": issued.access_key_id,
        "aws_secret_access_key": issued.secret_access_key,
        "aws_session_token": issued.session_token,
    }
    return await aws_clients.run(CALLER, given)


async def test_boto3_with_the_session_is_who_the_session_says(tmp_path: Path) -> None:
    root = Authority.root(at=utc_now())
    async with FakeAWS.start(small_world(root.certificate), tls_folder=tmp_path) as aws:
        await fetch(aws, root.leaf(at=utc_now()))
        [issued] = aws.sessions
        assert await who_am_i(aws, issued) == {
            "UserId": issued.session.assumed_role_id,
            "Account": "111122223333",
            "Arn": issued.session.assumed_role_arn,
        }


def other(text: str) -> str:
    """``text`` with its last character changed."""
    return text[:-1] + ("A" if text[-1] != "A" else "B")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda it: replace(it, secret_access_key=other(it.secret_access_key)),
         "SignatureDoesNotMatch"),
        (lambda it: replace(it, session_token=other(it.session_token)), "InvalidClientTokenId"),
        (lambda it: replace(it, access_key_id=other(it.access_key_id)), "InvalidClientTokenId"),
    ],
    ids=["secret", "token", "key id"],
)  # fmt: skip
async def test_boto3_with_one_wrong_character_is_nobody(
    tmp_path: Path, spoil: Callable[[Issued], Issued], code: str
) -> None:
    root = Authority.root(at=utc_now())
    async with FakeAWS.start(small_world(root.certificate), tls_folder=tmp_path) as aws:
        await fetch(aws, root.leaf(at=utc_now()))
        answer = await who_am_i(aws, spoil(aws.sessions[0]))
    assert answer["Code"] == code
