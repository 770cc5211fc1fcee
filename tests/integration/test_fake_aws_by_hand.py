"""The pretended services as a process of their own."""

import asyncio
import shlex
import signal
import sys
from pathlib import Path

from tests.fakes import by_hand
from tests.fakes.dialogue import send
from tests.fakes.pki import Authority
from tests.fakes.scene import NOW, a_scene
from tests.support.commands import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


async def test_it_serves_until_told_to_stop(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.aws", tmp_path, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    try:
        settings = {}
        while "AWS_ENDPOINT_URL_STS" not in settings:
            line = await asyncio.wait_for(process.stdout.readline(), timeout=PATIENCE_SECONDS)
            name, _, value = shlex.split(line.decode())[1].partition("=")
            settings[name] = value
        stranger = a_scene()
        reply = await send(settings["ROLESANYWHERE_ENDPOINT"], stranger.request())
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), timeout=PATIENCE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert reply.status == 403
    assert process.returncode == 0
    assert errors.decode().startswith("rolesanywhere: AccessDeniedException Signature expired")


def test_the_key_it_writes_is_for_its_owner_alone(tmp_path: Path) -> None:
    root = Authority.root(at=NOW)
    by_hand.write(root.leaf(at=NOW), tmp_path)
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600
