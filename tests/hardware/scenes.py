"""A workload whose key is in a token, the AWS that trusts it, and the sidecar between them."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rolesanywhere_contract.settings import IdentitySettings
from rolesanywhere_sidecar.identities.sources import source
from rolesanywhere_sidecar.identities.token_identity import TokenIdentity
from tests.fakes import aws_clients
from tests.fakes.aws import FakeAWS
from tests.fakes.recorded import Recorded
from tests.fakes.world import PROFILE_ARN, REGION, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.hardware.tokens import Token
from tests.hardware.workbench import Algorithm
from tests.support.commands import Outcome, finished
from tests.support.sidecars import RunningSidecar, a_sidecar, eventually

# Of CreateSession calls, a second: what is measured here is the token.
UNLIMITED: Final = 1e6

WHO_AM_I: Final = """
import boto3, json, sys
given = json.load(sys.stdin)
session = boto3.Session(region_name=given["region"])
caller = session.client("sts", endpoint_url=given["sts"]).get_caller_identity()
print(json.dumps({"arn": caller["Arn"], "method": session.get_credentials().method}))
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """``folder`` is the workload's own; ``token`` is how it reaches its key."""

    aws: FakeAWS
    folder: Path
    token: Token

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    @property
    def token_file(self) -> Path:
        """Of the container endpoint; no hardware."""
        return self.folder / "token"

    def env(self, algorithm: Algorithm = "p256", **more: str) -> dict[str, str]:
        """All that a sidecar must be told but for its ports; ``more`` are settings in lower case.

        Certificate and key are both in the token, unless told otherwise.
        """
        uri = self.token.uri(algorithm)
        settings = {
            "trust_anchor_arn": TRUST_ANCHOR_ARN,
            "profile_arn": PROFILE_ARN,
            "role_arn": ROLE_ARN,
            "endpoint": self.aws.rolesanywhere_url,
            "certificate": uri,
            "private_key": uri,
            "pkcs11_module": str(self.token.module),
            "pin_file": str(self.pin_file),
            "pin_latch_file": str(self.folder / "pin-latch"),
            "token_file": str(self.token_file),
            "log_level": "debug",
            **more,
        }
        told = {f"ROLESANYWHERE_{name.upper()}": value for name, value in settings.items()}
        return {**self.token.env, **told}

    def requests(self) -> Sequence[Recorded]:
        """Every CreateSession that was asked for, with the verdict on its signature."""
        return [one for one in self.aws.requests if one.service == "rolesanywhere"]

    def granted(self) -> int:
        """How many of them were signed as the certificate says."""
        return sum(one.verdict == "ok" for one in self.requests())

    def touch(self) -> None:
        """Have a sidecar renew its session soon: it looks after files that have changed.

        The PIN stays what it is; its line ends now, or does not any more.
        """
        pin = self.pin_file.read_text()
        self.replace_pin(pin.removesuffix("\n") if pin.endswith("\n") else f"{pin}\n")

    def replace_pin(self, content: str) -> None:
        """As a kubelet does: nobody ever reads half of it."""
        fresh = self.pin_file.with_name("pin.next")
        fresh.touch(mode=0o600)
        fresh.write_text(content)
        owner = self.pin_file.stat()
        os.chown(fresh, owner.st_uid, owner.st_gid)
        fresh.replace(self.pin_file)

    async def renewed(self) -> None:
        """Have the session renewed, and wait for it."""
        before = self.granted()
        self.touch()
        await until(lambda: self.granted() > before, what="a renewal")

    async def run(self, command: str, *flags: str, **env: str) -> Outcome:
        """One run of a command of the sidecar with nothing but ``env`` and ``flags``."""
        return await self.run_by((), command, *flags, **env)

    async def run_by(
        self, by: Sequence[str | Path], command: str, *flags: str, **env: str
    ) -> Outcome:
        """The same, ``by`` a command that becomes it."""
        return await finished(
            *by, sys.executable, "-m", "rolesanywhere_sidecar", command, *flags,
            env={"PATH": os.environ.get("PATH", ""), **env},
        )  # fmt: skip

    async def who_am_i(self, sidecar: RunningSidecar) -> dict[str, str]:
        """What an application with an unmodified SDK finds out at the sidecar."""
        return await aws_clients.run(
            WHO_AM_I,
            {"sts": self.aws.sts_url, "region": REGION},
            AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{sidecar.port}/v1/credentials",
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(self.token_file),
        )


@asynccontextmanager
async def a_scene(
    token: Token, folder: Path, *, life: int = 3600, pin: str | None = None
) -> AsyncIterator[Scene]:
    """AWS with sessions of ``life`` seconds, and the right PIN in a file unless another is given.

    No service lets sessions be short; here they may be, so that a test sees them renewed.
    """
    world = small_world(
        token.root.certificate, duration_seconds=life, create_session_rate=UNLIMITED
    )
    async with FakeAWS.start(world) as aws:
        scene = Scene(aws, folder, token)
        scene.pin_file.touch(mode=0o600)
        scene.pin_file.write_text(token.pin if pin is None else pin)
        yield scene


@asynccontextmanager
async def serving(
    scene: Scene, algorithm: Algorithm = "p256", *, by: Sequence[str | Path] = (), **more: str
) -> AsyncIterator[RunningSidecar]:
    """A sidecar that has credentials; its log is searched for the PIN in the end."""
    async with a_sidecar(scene.folder, scene.env(algorithm, **more), by=by) as sidecar:
        await sidecar.until_ready()
        yield sidecar
    assert scene.token.pin not in sidecar.log


async def until(holds: Callable[[], bool], *, what: str) -> None:
    """Wait until ``holds`` does."""

    async def look() -> bool:
        return holds()

    await eventually(look, what=lambda: what)


def below(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        found = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [*found, *(each for child in found for each in below(child))]


@contextmanager
def an_identity(
    token: Token, folder: Path, algorithm: Algorithm = "p256"
) -> Iterator[TokenIdentity]:
    """The sidecar's own hands, in this process, with everything in a token."""
    pin_file = folder / "pin"
    pin_file.write_text(token.pin)
    settings = IdentitySettings(
        certificate=token.uri(algorithm),
        pkcs11_module=str(token.module),
        pin_file=str(pin_file),
        pin_latch_file=str(folder / "pin-latch"),
    )
    made = source(settings, env={"PATH": os.environ.get("PATH", ""), **token.env})
    assert isinstance(made, TokenIdentity)
    try:
        yield made
    finally:
        made.close()


def descriptors(pid: int | str) -> int:
    """How many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
