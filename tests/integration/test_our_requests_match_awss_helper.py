"""Our requests beside those of AWS's own client, for the same key and the same session.

Nothing may differ but the time, ids and attempts of the SDK, User-Agent and signature; both are
sent to a service that verifies them.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere
from tests.fakes import aws_helper
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.aws_helper import identity_flags
from tests.fakes.pki import LEAF, Authority, Identity, KeyForm, KeyKind
from tests.fakes.recorded import essence
from tests.fakes.wire import WireRequest
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.commandlines import settings_of
from tests.support.tools import build_or_skip

ROOT = Authority.root(at=utc_now())


@pytest.fixture(scope="session")
def helper() -> Path:
    return build_or_skip(aws_helper.find_or_build)


def command_line(
    identity: Identity, folder: Path, aws: FakeAWS, form: KeyForm, *more: str
) -> list[str]:
    """One for both."""
    return [
        "credential-process", *identity_flags(identity, folder, form),
        "--endpoint", aws.rolesanywhere_url, "--trust-anchor-arn", TRUST_ANCHOR_ARN,
        "--profile-arn", PROFILE_ARN, "--role-arn", ROLE_ARN, *more,
    ]  # fmt: skip


async def ours(argv: list[str]) -> None:
    settings = settings_of(argv, {})
    client = RolesAnywhere(settings, IdentityFiles.of(settings), now=utc_now, env={})
    try:
        await client.create_session()
    finally:
        await client.close()


async def both(
    helper: Path, identity: Identity, folder: Path, *more: str, form: KeyForm = "pkcs8"
) -> tuple[WireRequest, WireRequest]:
    """The two requests, both of which the service has accepted."""
    world = small_world(ROOT.certificate, accept_role_session_name=True)
    async with FakeAWS.start(world) as aws:
        argv = command_line(identity, folder, aws, form, *more)
        assert (await aws_helper.run(helper, *argv)).document()
        await ours(argv)
        assert [entry.verdict for entry in aws.requests] == ["ok", "ok"]
        their, our = (entry.request for entry in aws.requests)
    return their, our


def signed_headers(request: WireRequest) -> str:
    return (request.get("authorization") or "").partition("SignedHeaders=")[2].partition(",")[0]


def deep(kind: KeyKind = "p256") -> Identity:
    upper = ROOT.intermediate("Upper", at=utc_now())
    return upper.intermediate("Lower", at=utc_now()).leaf(at=utc_now(), kind=kind)


@pytest.mark.parametrize(
    ("kind", "form"),
    [("rsa-2048", "pkcs1"), ("rsa-3072", "pkcs8"), ("p256", "sec1"), ("p384", "pkcs8"),
     ("p521", "pkcs8")],
)  # fmt: skip
async def test_they_are_equal_for_every_kind_of_key(
    helper: Path, tmp_path: Path, kind: KeyKind, form: KeyForm
) -> None:
    their, our = await both(helper, ROOT.leaf(at=utc_now(), kind=kind), tmp_path, form=form)
    assert essence(our) == essence(their)


@pytest.mark.parametrize(
    "more",
    [
        ["--session-duration", "900"],
        ["--role-session-name", "team-a.web=1,2@3"],
        ["--session-duration", "43200", "--role-session-name", "ab"],
        ["--region", "eu-west-1"],
    ],
    ids=" ".join,
)
async def test_they_are_equal_for_every_wish(helper: Path, tmp_path: Path, more: list[str]) -> None:
    their, our = await both(helper, ROOT.leaf(at=utc_now()), tmp_path, *more)
    assert essence(our) == essence(their)
    assert our.body == their.body  # to the byte, beyond what JSON asks for


async def test_they_are_equal_with_a_chain(helper: Path, tmp_path: Path) -> None:
    their, our = await both(helper, deep("rsa-2048"), tmp_path)
    assert essence(our) == essence(their)
    assert len((our.get("x-amz-x509-chain") or "").split(",")) == 2


async def test_they_are_equal_for_a_serial_of_any_size(helper: Path, tmp_path: Path) -> None:
    for serial in (1, 255, 2**159 - 1):
        leaf = ROOT.leaf(at=utc_now(), template=replace(LEAF, serial=serial))
        their, our = await both(helper, leaf, tmp_path)
        assert essence(our) == essence(their)
        assert essence(our)["credential"] == str(serial)


async def test_the_same_headers_are_signed(helper: Path, tmp_path: Path) -> None:
    """Also those whose values are each client's own."""
    their, our = await both(helper, deep(), tmp_path)
    assert signed_headers(our) == signed_headers(their)


async def test_the_comparison_can_fail(helper: Path, tmp_path: Path) -> None:
    their, our = await both(helper, ROOT.leaf(at=utc_now()), tmp_path)

    def with_host(request: WireRequest, host: str) -> dict[str, Any]:
        kept = [(k, v) for k, v in request.headers if k.lower() != "host"]
        return essence(replace(request, headers=(*kept, ("host", host))))

    assert with_host(our, "elsewhere") != essence(their)
    assert essence(replace(our, body=b'{"durationSeconds":901}')) != essence(their)
    assert essence(replace(our, target=our.target.replace("%3A", ":"))) != essence(their)
