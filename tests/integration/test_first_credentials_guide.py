"""The guide to the first credentials, as far as it is about AWS: run by AWS's own command line."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import Final

import pytest
from aiohttp import web
from cryptography import x509

from tests.fakes import trust
from tests.fakes.administration import Administration
from tests.fakes.servers import Account
from tests.fakes.world import ROLE_ARN, World
from tests.support import debian, guides
from tests.support.clients import ROOT, python
from tests.support.tools import build_or_skip

GUIDE: Final = guides.blocks("first-credentials.md")
WAYS: Final = ("By CloudFormation", "By aws commands")


@asynccontextmanager
async def administered() -> AsyncIterator[tuple[Administration, str]]:
    """An account with nothing in it, and where it is administered."""
    made = Administration(Account(World(), lambda: datetime.now(UTC), token_bytes))
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield made, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def follow(blocks: list[guides.Block], url: str, folder: Path) -> None:
    """Run them in one shell; ends the test with what it said should it fail."""
    interpreter = Path(build_or_skip(lambda: python("boto3"))[0])
    programs = folder / "bin"
    programs.mkdir()
    (programs / "aws").symlink_to(interpreter.with_name("aws"))
    operator = ROOT / ".venv" / "bin" / "rolesanywhere-operator"
    (programs / operator.name).symlink_to(operator)
    shell = await asyncio.create_subprocess_exec(
        "bash", "-eu", "-o", "pipefail", "-c", "\n".join(block.shell for block in blocks),
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={
            "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder),
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "of an administrator",
        },
    )  # fmt: skip
    said, _ = await asyncio.wait_for(shell.communicate(), timeout=120)
    assert shell.returncode == 0, said.decode()[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
async def test_aws_is_told_what_the_certificate_of_the_guide_needs(
    way: str, tmp_path: Path
) -> None:
    build_or_skip(lambda: debian.packages("jq", "openssl"))
    [other] = set(WAYS) - {way}
    without_cluster = [
        block for block in guides.without(GUIDE, other) if "kubectl" not in block.shell
    ]
    async with administered() as (made, url):
        await follow(without_cluster, url, tmp_path)
        [(arn, anchor)] = made.account.world.trust_anchors.items()
        [profile] = made.account.world.profiles.values()

    assert profile.role_arns == {ROLE_ARN}
    leaf = x509.load_pem_x509_certificate((tmp_path / "reports.pem").read_bytes())
    trust.check_leaf(leaf, datetime.now(UTC))
    trust.check_path(leaf, anchor.certificates, [], datetime.now(UTC))
    *before, last = made.policies["reports"]
    assert last["Statement"][0]["Condition"] == {
        "ArnEquals": {"aws:SourceArn": arn},
        "StringEquals": {"aws:PrincipalTag/x509Subject/CN": "reports"},
    }
    if way == "By CloudFormation":
        assert before == [last], "the template trusts others than trust-policy prints"
