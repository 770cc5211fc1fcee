"""AWS's own client against the pretended Roles Anywhere: the second witness.

``aws_signing_helper`` was not written by us, so where the two agree, both follow the service.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes import aws_helper, pki
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.aws_helper import identity_flags
from tests.fakes.pki import Authority, KeyForm, KeyKind
from tests.fakes.recorded import essence
from tests.fakes.rolesanywhere import serial_in_hex
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, World, small_world
from tests.support.commands import Outcome
from tests.support.tools import build_or_skip


@pytest.fixture(scope="session")
def helper() -> Path:
    return build_or_skip(aws_helper.find_or_build)


async def credential_process(helper: Path, aws: FakeAWS, *flags: str) -> Outcome:
    """One session asked for by the helper."""
    return await aws_helper.run(
        helper, "credential-process", "--endpoint", aws.rolesanywhere_url,
        "--trust-anchor-arn", TRUST_ANCHOR_ARN, "--profile-arn", PROFILE_ARN,
        "--role-arn", ROLE_ARN, *flags,
    )  # fmt: skip


def a_root(at_kind: KeyKind = "p256") -> tuple[Authority, World]:
    root = Authority.root(at=utc_now(), kind=at_kind)
    return root, small_world(root.certificate)


@pytest.mark.parametrize(
    ("kind", "form"),
    [("rsa-2048", "pkcs1"), ("rsa-3072", "pkcs8"), ("p256", "sec1"), ("p384", "pkcs8"),
     ("p521", "sec1")],
)  # fmt: skip
async def test_the_helper_is_believed_with_every_kind_of_key(
    helper: Path, tmp_path: Path, kind: KeyKind, form: KeyForm
) -> None:
    root, world = a_root()
    identity = root.leaf(at=utc_now(), kind=kind)
    async with FakeAWS.start(world) as aws:
        outcome = await credential_process(helper, aws, *identity_flags(identity, tmp_path, form))
        [issued] = aws.sessions
        assert outcome.document()["AccessKeyId"] == issued.access_key_id
        assert issued.session.session_name == serial_in_hex(identity.certificate.serial_number)


async def test_the_helper_is_believed_with_intermediates(helper: Path, tmp_path: Path) -> None:
    root, world = a_root()
    upper = root.intermediate("Upper", at=utc_now())
    lower = upper.intermediate("Lower", at=utc_now(), kind="rsa-2048")
    async with FakeAWS.start(world) as aws:
        flags = identity_flags(lower.leaf(at=utc_now()), tmp_path)
        outcome = await credential_process(helper, aws, *flags)
        assert outcome.document()["SecretAccessKey"] == aws.sessions[0].secret_access_key
        signed = essence(aws.requests[0].request)["signed_headers"]
        assert signed == ["content-type", "host", "x-amz-x509", "x-amz-x509-chain"]


async def test_the_helper_is_believed_over_tls(helper: Path, tmp_path: Path) -> None:
    """It has no flag for an authority, so TLS is on but unverified here."""
    root, world = a_root()
    async with FakeAWS.start(world, tls_folder=tmp_path) as aws:
        flags = identity_flags(root.leaf(at=utc_now()), tmp_path)
        outcome = await credential_process(helper, aws, *flags, "--no-verify-ssl")
        assert outcome.document()["SessionToken"] == aws.sessions[0].session_token


async def test_without_its_intermediate_the_helper_is_not_trusted(
    helper: Path, tmp_path: Path
) -> None:
    root, world = a_root()
    leaf = root.intermediate(at=utc_now()).leaf(at=utc_now())
    async with FakeAWS.start(world) as aws:
        outcome = await credential_process(
            helper, aws, *identity_flags(replace(leaf, chain=()), tmp_path)
        )
        assert outcome.status != 0
        assert "AccessDeniedException: Untrusted Signing Certificate" in outcome.errors


async def test_the_helper_with_the_wrong_key_is_refused(helper: Path, tmp_path: Path) -> None:
    root, world = a_root()
    mismatched = replace(root.leaf(at=utc_now()), key=pki.new_key("p256"))
    async with FakeAWS.start(world) as aws:
        outcome = await credential_process(helper, aws, *identity_flags(mismatched, tmp_path))
        assert outcome.status != 0
        assert "AccessDeniedException: Invalid signature" in outcome.errors
        assert not aws.sessions


async def test_the_helper_names_its_session_where_the_profile_accepts_it(
    helper: Path, tmp_path: Path
) -> None:
    root, _ = a_root()
    async with FakeAWS.start(small_world(root.certificate, accept_role_session_name=True)) as aws:
        flags = [
            *identity_flags(root.leaf(at=utc_now()), tmp_path),
            "--role-session-name",
            "team-a.web",
        ]
        (await credential_process(helper, aws, *flags)).document()
        assert aws.sessions[0].session.assumed_role_arn.endswith("assumed-role/reports/team-a.web")


async def test_the_helper_may_not_name_its_session_elsewhere(helper: Path, tmp_path: Path) -> None:
    root, world = a_root()
    async with FakeAWS.start(world) as aws:
        flags = [
            *identity_flags(root.leaf(at=utc_now()), tmp_path),
            "--role-session-name",
            "team-a.web",
        ]
        outcome = await credential_process(helper, aws, *flags)
        assert outcome.status != 0
        assert "Not authorized to set roleSessionName." in outcome.errors


async def test_the_helper_reads_the_services_complaint_about_a_duration(
    helper: Path, tmp_path: Path
) -> None:
    root, world = a_root()
    async with FakeAWS.start(world) as aws:
        flags = [*identity_flags(root.leaf(at=utc_now()), tmp_path), "--session-duration", "899"]
        outcome = await credential_process(helper, aws, *flags)
        assert outcome.status != 0
        assert "ValidationException: durationSeconds must be" in outcome.errors


async def test_the_session_ends_when_the_helper_was_told(helper: Path, tmp_path: Path) -> None:
    root, world = a_root()
    now = utc_now().replace(microsecond=0)
    async with FakeAWS.start(world, clock=lambda: now) as aws:
        flags = [*identity_flags(root.leaf(at=utc_now()), tmp_path), "--session-duration", "900"]
        credentials = (await credential_process(helper, aws, *flags)).document()
        ends = (now + timedelta(seconds=900)).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert credentials["Expiration"] == ends


async def test_what_the_helper_sends(helper: Path, tmp_path: Path) -> None:
    """The essence of AWS's own request, spelled out: ours is compared with this."""
    root, world = a_root()
    identity = root.leaf(at=utc_now(), kind="rsa-2048")
    async with FakeAWS.start(world) as aws:
        await credential_process(helper, aws, *identity_flags(identity, tmp_path))
        sent = essence(aws.requests[0].request)
    assert sent["method"] == "POST"
    assert sent["path"] == "/sessions"
    assert sent["query"] == sent["canonical_query"]
    assert sent["canonical_query"].startswith("profileArn=arn%3Aaws%3Arolesanywhere%3Aeu-west-1%3A")
    assert sent["algorithm"] == "AWS4-X509-RSA-SHA256"
    assert sent["credential"] == str(identity.certificate.serial_number)
    assert sent["scope"] == ["eu-west-1", "rolesanywhere", "aws4_request"]
    assert sent["signed_headers"] == ["content-type", "host", "x-amz-x509"]
    assert sent["headers"]["content-type"] == "application/json"
    assert sent["headers"]["host"] == "127.0.0.1"
    assert sent["body"] == {"durationSeconds": 3600}
