"""Command lines as the page of AWS's helper describes them, given to the helper and to ours.

A service that verifies each request is asked by both, and both come back with a session.
"""

import os
import shlex
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import aws_helper
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority, Identity
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.commands import Outcome, finished
from tests.support.ports import free_port
from tests.support.sidecars import eventually
from tests.support.tools import build_or_skip

ROOT = Authority.root(at=utc_now())


@dataclass(frozen=True, slots=True)
class Scene:
    """A service, and files of an identity that it trusts below an intermediate."""

    aws: FakeAWS
    folder: Path
    identity: Identity

    def words(self, line: str) -> list[str]:
        """A command line with its places filled in, split as a shell does."""
        return shlex.split(
            line.format(
                folder=self.folder,
                endpoint=f"--endpoint {self.aws.rolesanywhere_url}",
                files=f"--certificate {self.folder}/tls.crt --private-key {self.folder}/tls.key "
                f"--intermediates {self.folder}/chain.pem",
                arns=f"--trust-anchor-arn {TRUST_ANCHOR_ARN} --profile-arn {PROFILE_ARN} "
                f"--role-arn {ROLE_ARN}",
                serial=f"{self.identity.certificate.serial_number:X}",
            )
        )


@pytest.fixture(scope="module")
def helper() -> Path:
    return build_or_skip(aws_helper.find_or_build)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    identity = ROOT.intermediate("Issuing", at=utc_now()).leaf(at=utc_now())
    aws_helper.identity_flags(identity, tmp_path)
    world = small_world(ROOT.certificate, accept_role_session_name=True)
    async with FakeAWS.start(world) as aws:
        yield Scene(aws, tmp_path, identity)


def our_environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "")}


async def ours(*arguments: str) -> Outcome:
    return await finished(
        sys.executable, "-m", "rolesanywhere_sidecar", *arguments, env=our_environment()
    )


LINES = (
    "credential-process {files} {arns} {endpoint}",
    "credential-process {files} {arns} {endpoint} --session-duration 900",
    "credential-process {files} {arns} {endpoint} --session-duration=43200",
    "credential-process {files} {arns} {endpoint} --role-session-name team-a.web",
    "credential-process {files} {arns} {endpoint} --region eu-west-1",
    "credential-process {files} {arns} {endpoint} --with-proxy",
    "credential-process {files} {arns} {endpoint} --with-proxy=false",
    "credential-process {files} {arns} {endpoint} --debug",
    "credential-process {files} {arns} {endpoint} --no-verify-ssl=false",
    "credential-process {files} {arns} {endpoint} --pkcs11-lib /usr/lib/softhsm/libsofthsm2.so",
    "credential-process {files} {arns} {endpoint} --reuse-pin --no-tpm-key-password",
    "credential-process {endpoint} --region eu-west-1 {arns} {files} --with-proxy --debug=false",
)


@pytest.mark.parametrize("line", LINES)
async def test_a_documented_command_line_gives_a_session_of_either_program(
    helper: Path, scene: Scene, line: str
) -> None:
    words = scene.words(line)
    printed = [(await aws_helper.run(helper, *words)).document(), (await ours(*words)).document()]
    theirs, our = scene.aws.sessions
    assert [one["AccessKeyId"] for one in printed] == [theirs.access_key_id, our.access_key_id]
    assert [entry.verdict for entry in scene.aws.requests] == ["ok", "ok"]
    assert our.session.assumed_role_arn == theirs.session.assumed_role_arn
    assert scene.aws.requests[1].request.body == scene.aws.requests[0].request.body


async def test_update_writes_the_profile_that_either_program_is_told(
    helper: Path, scene: Scene
) -> None:
    words = scene.words("update {files} {arns} {endpoint} --once --profile reports")
    commands = [[str(helper)], [sys.executable, "-m", "rolesanywhere_sidecar"]]
    for number, program in enumerate(commands):
        file = scene.folder / f"credentials-{number}"
        env = {**our_environment(), **aws_helper.ENVIRONMENT}
        env["AWS_SHARED_CREDENTIALS_FILE"] = str(file)
        assert (await finished(*program, *words, env=env)).status == 0
        text = file.read_text()
        assert text.startswith("[reports]\n")
        assert f"aws_access_key_id = {scene.aws.sessions[number].access_key_id}\n" in text


@pytest.mark.parametrize("more", ["", "--hop-limit 2", "--with-proxy --session-duration 900"])
async def test_serve_listens_where_either_program_is_told(
    helper: Path, scene: Scene, more: str
) -> None:
    programs = [[str(helper)], [sys.executable, "-m", "rolesanywhere_sidecar"]]
    for number, program in enumerate(programs):
        port = free_port()
        words = scene.words(f"serve {{files}} {{arns}} {{endpoint}} --port {port} {more}")
        quiet = [] if number == 0 else ["--probe-port", str(free_port())]
        async with aws_helper.running(Path(program[0]), *program[1:], *words, *quiet):
            key = await served(port)
        assert key == scene.aws.sessions[-1].access_key_id
        assert len(scene.aws.sessions) == number + 1


async def served(port: int) -> str:
    """The access key that an IMDSv2 client gets, once there is one."""
    url = f"http://127.0.0.1:{port}/latest"
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    found: list[str] = []

    async with aiohttp.ClientSession() as client:

        async def asked() -> bool:
            try:
                async with client.put(f"{url}/api/token", headers=ttl) as reply:
                    token = {"X-aws-ec2-metadata-token": await reply.text()}
            except aiohttp.ClientConnectorError:
                return False
            roles = f"{url}/meta-data/iam/security-credentials/"
            async with client.get(f"{roles}reports", headers=token) as reply:
                if reply.status == 200:
                    found.append((await reply.json(content_type=None))["AccessKeyId"])
            return bool(found)

        await eventually(asked, what=lambda: "credentials")
    return found[0]


@pytest.mark.parametrize(
    "selector",
    [
        "Key=x509Serial,Value={serial}",
        "Key=x509Issuer,Value=CN=Issuing Key=x509Serial,Value={serial}",
        "'Key=x509Issuer,Value=CN=Issuing Key=x509Serial,Value={serial}'",
    ],
)
async def test_a_selector_stands_as_documented_quoted_or_not_and_chooses_in_a_folder(
    scene: Scene, selector: str
) -> None:
    """For a store of the operating system in the helper; ours has a folder in its place."""
    line = f"credential-process --cert-selector {selector} --certificate {{folder}} {{arns}} "
    document = (await ours(*scene.words(line + "{endpoint}"))).document()
    assert document["AccessKeyId"] == scene.aws.sessions[0].access_key_id


async def test_tls_that_is_not_verified_is_refused_with_what_to_do_instead(scene: Scene) -> None:
    outcome = await ours(
        *scene.words("credential-process {files} {arns} {endpoint} --no-verify-ssl")
    )
    assert (outcome.status, outcome.output, scene.aws.requests) == (2, "", [])
    assert "--ca-bundle" in outcome.errors
