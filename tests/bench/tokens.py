"""What is measured of keys in hardware: ours beside the module by itself, and beside AWS's helper.

Judges nothing and prints nothing. What a measure starts, it ends.
"""

import asyncio
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from tests.bench.measures import MeasureFailed, Times
from tests.bench.processes import Memory, finished, memory, on_core
from tests.fakes import aws_helper
from tests.fakes.world import PROFILE_ARN, REGION, ROLE_ARN, TRUST_ANCHOR_ARN
from tests.hardware.faults import Call, FaultModule
from tests.hardware.scenes import Scene, a_scene, an_identity, below, serving
from tests.hardware.tokens import Token
from tests.hardware.workbench import Algorithm
from tests.support.ports import free_port

ROOT: Final = Path(__file__).parents[2]
PATIENCE_SECONDS: Final = 60.0

# CKM_SHA256_RSA_PKCS and CKM_ECDSA: what the sidecar chooses on the same token.
_SHA256_RSA_PKCS: Final = 0x40
_ECDSA: Final = 0x1041

# As long as a string to sign is.
_TEXT: Final = b"what is signed " * 10

# Seconds: the helper renews within each request below ten minutes.
_SHORT_LIFE_OF_HELPER: Final = 590


@dataclass(frozen=True, slots=True)
class Signing:
    """Microseconds of a signature, by the module alone and through our child; medians."""

    raw: float
    ours: float


async def signing(
    token: Token, algorithm: Algorithm, folder: Path, *, rounds: int, count: int, core: int
) -> Signing:
    """``rounds`` times ``count`` signatures of each, in turn: both meet the same machine."""
    raw: list[float] = []
    ours: list[float] = []
    with on_core(core), an_identity(token, folder, algorithm) as identity:
        _, key = await identity.load()
        for _ in range(rounds):
            raw += _raw_times(token, algorithm, count)
            for number in range(count):
                since = time.perf_counter()
                await key.sign(_TEXT + b"%d" % number)
                ours.append(1e6 * (time.perf_counter() - since))
    return Signing(statistics.median(raw), statistics.median(ours))


def _raw_times(token: Token, algorithm: Algorithm, count: int) -> Sequence[float]:
    hashing = algorithm.startswith("rsa")
    order = {
        "module": str(token.module), "label": token.label, "pin": token.pin,
        "key": token.keys[algorithm].label, "count": count,
        "mechanism": _SHA256_RSA_PKCS if hashing else _ECDSA,
        "data": (_TEXT if hashing else hashlib.sha256(_TEXT).digest()).hex(),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.rawsign"], cwd=ROOT, env=dict(token.env),
        input=json.dumps(order), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise MeasureFailed(f"the module by itself: {done.stderr.strip()[-500:]}")
    times: list[float] = json.loads(done.stdout)
    return times


async def first_signature(token: Token, folder: Path, *, runs: int, core: int) -> Times:
    """Seconds from nothing to a verified signature: spawn, module, login, search, proof."""
    found = []
    for _ in range(runs):
        with on_core(core), an_identity(token, folder) as identity:
            since = time.perf_counter()
            _, key = await identity.load()
            await key.sign(_TEXT)
            found.append(time.perf_counter() - since)
    return Times.of(found)


async def child_memory(token: Token, folder: Path) -> Memory:
    """What the child of a serving sidecar holds."""
    async with a_scene(token, folder) as scene, serving(scene) as sidecar:
        [child] = below(sidecar.process.pid)
        return memory(child)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one CreateSession: seconds of the token's module, its signatures, and logins to it."""

    in_module: float
    signatures: float
    logins: float

    @classmethod
    def of(cls, calls: Sequence[Call], sessions: int) -> "Cost":
        """A share of ``calls`` for each of ``sessions``."""
        signatures = [call for call in calls if call.name == "C_Sign" and call.detail]
        logins = [call for call in calls if call.name == "C_Login"]
        spent = sum(call.micros for call in calls) / 1e6
        return cls(spent / sessions, len(signatures) / sessions, len(logins) / sessions)


@dataclass(frozen=True, slots=True)
class Contender:
    """Who gets sessions with a key in a token, by words of its own."""

    name: str
    program: Sequence[str | Path]
    env: Callable[[Scene], Mapping[str, str]]
    arguments: Callable[[Scene], Sequence[str]]

    def credential_process(self, scene: Scene) -> Sequence[str | Path]:
        return [*self.program, "credential-process", *self.arguments(scene)]


def ours() -> Contender:
    """The sidecar from this checkout."""
    return Contender(
        name="rolesanywhere-sidecar",
        program=(sys.executable, "-m", "rolesanywhere_sidecar"),
        env=lambda scene: scene.env(),
        arguments=lambda scene: (),
    )


def the_helper(binary: Path, name: str) -> Contender:
    """AWS's helper, whose only way to a PIN without a terminal is the URI on its command line."""
    return Contender(
        name=name,
        program=(binary,),
        env=lambda scene: {**aws_helper.ENVIRONMENT, **scene.token.env},
        arguments=lambda scene: (
            "--endpoint", scene.aws.rolesanywhere_url, "--region", REGION,
            "--trust-anchor-arn", TRUST_ANCHOR_ARN, "--profile-arn", PROFILE_ARN,
            "--role-arn", ROLE_ARN, "--pkcs11-lib", str(scene.token.module),
            "--certificate", scene.token.uri("p256"),
            "--private-key", f"{scene.token.uri('p256')}?pin-value={scene.token.pin}",
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class OneShots:
    """Runs of ``credential-process``, and what one costs the token."""

    times: Times
    cost: Cost


async def one_shots(
    contender: Contender, counted: FaultModule, folder: Path, *, runs: int, core: int
) -> OneShots:
    """One run after another; ``counted`` has no faults here, and counts."""
    async with a_scene(counted.token, folder) as scene:
        counted.forget()
        times = []
        for _ in range(runs):
            since = time.perf_counter()
            outcome = await finished(
                contender.credential_process(scene), contender.env(scene), core=core
            )
            times.append(time.perf_counter() - since)
            if outcome.status:
                raise MeasureFailed(f"{contender.name}: {outcome.errors.strip()[-500:]}")
        return OneShots(Times.of(times), Cost.of(counted.calls(), scene.granted()))


async def our_renewals(counted: FaultModule, folder: Path, *, count: int) -> Cost:
    """What a renewal costs that ``serve`` makes, after its first session."""
    async with a_scene(counted.token, folder) as scene, serving(scene):
        counted.forget()
        before = scene.granted()
        for _ in range(count):
            await scene.renewed()
        return Cost.of(counted.calls(), scene.granted() - before)


async def renewals_of_helper(
    helper: Contender, counted: FaultModule, folder: Path, *, count: int
) -> Cost:
    """The same of the helper, which renews within a request."""
    port = free_port()
    async with a_scene(counted.token, folder, life=_SHORT_LIFE_OF_HELPER) as scene:
        command = [*helper.arguments(scene), "--port", str(port)]
        async with (
            aws_helper.running(
                Path(helper.program[0]), "serve", *command, **dict(counted.token.env)
            ),
            _asked(port) as ask,
        ):
            await ask()
            counted.forget()
            before = scene.granted()
            for _ in range(count):
                await ask()
            return Cost.of(counted.calls(), scene.granted() - before)


@asynccontextmanager
async def _asked(port: int) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Asks IMDSv2 at ``port`` for credentials, as soon as somebody is there."""
    base = f"http://127.0.0.1:{port}/latest"
    path = f"{base}/meta-data/iam/security-credentials/reports"
    async with aiohttp.ClientSession() as client:

        async def ask() -> None:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
                    async with client.put(f"{base}/api/token", headers=ttl) as response:
                        token = {"X-aws-ec2-metadata-token": await response.text()}
                    async with client.get(path, headers=token) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                if time.monotonic() > deadline:
                    raise MeasureFailed("the helper served no credentials")
                await asyncio.sleep(0.02)

        yield ask
