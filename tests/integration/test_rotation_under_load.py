"""A thousand rotations while everybody asks: nothing torn, nothing refused, nothing mismatched.

The identity's volume is swapped as a kubelet does it (its AtomicWriter): a fresh folder, one
renamed link, and the old folder gone at once. Keys change their algorithm from one to the next.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere
from tests.fakes.algorithms import ALGORITHMS
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority, Identity, KeyKind
from tests.fakes.recorded import essence
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.sidecars import RunningSidecar, a_sidecar, eventually

ROTATIONS = 1000
KINDS: tuple[KeyKind, ...] = ("p256", "rsa-2048", "ml-dsa-65", "p384", "rsa-2048", "ml-dsa-44")

# Seconds between two swaps: a thousand in some ten.
PACE = 0.004


@dataclass
class Volume:
    """A Secret volume; ``swaps`` counts what it has been through."""

    path: Path
    swaps: int = field(default=0)

    def swap(self, files: dict[str, bytes]) -> None:
        """Replace all files at once, and forget the old ones."""
        data = self.path / "..data"
        before = data.readlink() if data.is_symlink() else None
        self.swaps += 1
        fresh = self.path / f"..generation-{self.swaps}"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        (self.path / "..data_tmp").symlink_to(fresh.name)
        (self.path / "..data_tmp").replace(data)
        if before is not None:
            shutil.rmtree(self.path / before)

    async def rotate(self, pairs: list[dict[str, bytes]], *, times: int) -> None:
        """``times`` swaps, through ``pairs`` in turn."""
        for number in range(times):
            await asyncio.to_thread(self.swap, pairs[number % len(pairs)])
            await asyncio.sleep(PACE)


def files_of(identity: Identity) -> dict[str, bytes]:
    chain = identity.certificate_pem + identity.chain_pem
    return {"tls.crt": chain, "tls.key": identity.key_pem()}


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.root(at=utc_now())


@pytest.fixture(scope="module")
def identities(root: Authority) -> list[Identity]:
    upper = root.intermediate(at=utc_now())
    return [upper.leaf(f"leaf {number}", at=utc_now(), kind=k) for number, k in enumerate(KINDS)]


@pytest.fixture
def volume(tmp_path: Path, identities: list[Identity]) -> Volume:
    (tmp_path / "identity").mkdir()
    made = Volume(tmp_path / "identity")
    made.swap(files_of(identities[0]))
    return made


async def test_every_load_in_a_thousand_rotations_is_a_whole_pair(
    volume: Volume, identities: list[Identity]
) -> None:
    """By signature: each pair that was loaded signs what its own certificate verifies."""
    held = IdentityFiles(f"{volume.path}/tls.crt", f"{volume.path}/tls.key", pause=0.01)
    known = {each.certificate: each.chain for each in identities}
    done, loads = asyncio.Event(), dict.fromkeys(known, 0)

    async def read() -> None:
        while not done.is_set():
            identity, key = await held.load()
            signature = await key.sign(b"whole")
            public = identity.leaf.public_key()
            fitting = [each for each in ALGORITHMS.values() if each.fits(public)]
            assert [each.verifies(public, signature, b"whole") for each in fitting] == [True]
            assert identity.chain == known[identity.leaf]
            loads[identity.leaf] += 1
            await asyncio.sleep(PACE)

    async def write() -> None:
        try:
            await volume.rotate([files_of(each) for each in identities], times=ROTATIONS)
        finally:
            done.set()

    # For a thread that hangs; a busy machine takes as long as it takes.
    async with asyncio.timeout(300), asyncio.TaskGroup() as group:
        group.create_task(write())
        for _ in range(2):
            group.create_task(read())
    assert volume.swaps == ROTATIONS + 1
    assert min(loads.values()) > 0
    assert sum(loads.values()) > 100


@dataclass
class Crowd:
    """Clients that never stop asking, and what they were told."""

    sidecar: RunningSidecar
    token: str
    documents: dict[str, dict[str, str]] = field(default_factory=dict)
    answers: int = 0
    failures: list[str] = field(default_factory=list)

    async def ask(self, session: aiohttp.ClientSession, way: "Way") -> None:
        while True:
            try:
                status, text = await way(self, session)
                document = json.loads(text)
            except (aiohttp.ClientError, ValueError) as problem:
                self.failures.append(repr(problem))
                continue
            self.answers += 1
            if status != 200:
                self.failures.append(f"{status}: {document}")
            self.documents.setdefault(document.get("AccessKeyId", ""), document)
            await asyncio.sleep(0.005)

    async def of_the_container_endpoint(self, session: aiohttp.ClientSession) -> "Answer":
        url = f"http://127.0.0.1:{self.sidecar.port}/v1/credentials"
        async with session.get(url, headers={"Authorization": self.token}) as response:
            return response.status, await response.text()

    async def of_imds(self, session: aiohttp.ClientSession) -> "Answer":
        """As an SDK asks: a token, the role's name, the role's credentials."""
        url = f"http://127.0.0.1:{self.sidecar.port}/latest"
        wish = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        async with session.put(f"{url}/api/token", headers=wish) as response:
            token = {"X-aws-ec2-metadata-token": await response.text()}
        roles = f"{url}/meta-data/iam/security-credentials"
        async with session.get(f"{roles}/", headers=token) as response:
            role = await response.text()
        async with session.get(f"{roles}/{role}", headers=token) as response:
            return response.status, await response.text()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        ways = (Crowd.of_the_container_endpoint, Crowd.of_imds) * 2
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
            tasks = [asyncio.create_task(self.ask(session, way)) for way in ways]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


Answer = tuple[int, str]
Way = Callable[[Crowd, aiohttp.ClientSession], Awaitable[Answer]]


def environment(aws: FakeAWS, folder: Path) -> dict[str, str]:
    return {
        "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
        "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
        "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
        "ROLESANYWHERE_ENDPOINT": aws.rolesanywhere_url,
        "ROLESANYWHERE_CERTIFICATE": f"{folder}/identity/tls.crt",
        "ROLESANYWHERE_PRIVATE_KEY": f"{folder}/identity/tls.key",
        "ROLESANYWHERE_TOKEN_FILE": f"{folder}/token",
    }


async def test_no_request_fails_in_a_thousand_rotations(
    volume: Volume, identities: list[Identity], root: Authority, tmp_path: Path
) -> None:
    async with (
        FakeAWS.start(small_world(root.certificate, create_session_rate=1000)) as aws,
        a_sidecar(tmp_path, environment(aws, tmp_path)) as sidecar,
    ):
        await sidecar.until_ready()
        crowd = Crowd(sidecar, (tmp_path / "token").read_text())

        async def several() -> bool:
            return len(crowd.documents) > 1

        async with crowd.asking():
            await volume.rotate([files_of(each) for each in identities], times=ROTATIONS)
            # A rotation is used within a look and its spread, which may be longer than all of it.
            await eventually(several, what=lambda: f"a second session; its log: {sidecar.log}")
        assert (await sidecar.probe("/readyz"))[0] == 200
        assert sidecar.process.returncode is None
    assert crowd.failures == []
    assert crowd.answers > 200
    assert {entry.verdict for entry in aws.requests} == {"ok"}
    issued = {each.access_key_id: each for each in aws.sessions}
    for key_id, document in crowd.documents.items():
        assert document["SecretAccessKey"] == issued[key_id].secret_access_key
        assert document["Token"] == issued[key_id].session_token
    for each in identities:
        secret = each.key_pem().decode().splitlines()[1]
        assert secret not in sidecar.log


Files = dict[str, bytes]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda old, new: {**old, "tls.key": new["tls.key"]}, "KeyMismatch"),
        (lambda old, new: {**old, "tls.crt": new["tls.crt"]}, "KeyMismatch"),
        (lambda old, _: {**old, "tls.crt": b""}, "InvalidIdentity"),
        (lambda old, _: {**old, "tls.key": b""}, "InvalidKey"),
        (lambda old, _: {**old, "tls.key": b"\0garbage\xff" * 99}, "InvalidKey"),
        (lambda old, _: {**old, "tls.crt": b"\0garbage\xff" * 99}, "InvalidIdentity"),
        (lambda old, _: {**old, "tls.key": old["tls.key"][:99]}, "InvalidKey"),
        (lambda old, _: {**old, "tls.crt": old["tls.crt"][:-40]}, "InvalidIdentity"),
        (lambda old, _: {"tls.crt": old["tls.crt"]}, "UnreadableFile"),
        (lambda _, __: {}, "UnreadableFile"),
    ],
    ids=["another key", "another certificate", "empty certificate", "empty key", "garbage key",
         "garbage certificate", "half a key", "half a chain", "no key", "nothing"],
)  # fmt: skip
async def test_every_fault_of_files_is_named_survived_and_healed(
    volume: Volume,
    identities: list[Identity],
    root: Authority,
    tmp_path: Path,
    damage: Callable[[Files, Files], Files],
    code: str,
) -> None:
    first, second = identities[:2]
    async with FakeAWS.start(small_world(root.certificate, create_session_rate=1000)) as aws:
        settings = Settings.from_env(environment(aws, tmp_path))
        held = replace(IdentityFiles.of(settings), pause=0.001)
        client = RolesAnywhere(settings, held, now=utc_now, env={})
        try:
            await client.create_session()
            volume.swap(damage(files_of(first), files_of(second)))
            await client.create_session()
            assert client.last_problem is not None
            assert client.last_problem.code == code
            volume.swap(files_of(second))
            await client.create_session()
            assert client.last_problem is None
        finally:
            await client.close()
    assert {entry.verdict for entry in aws.requests} == {"ok"}
    serials = [essence(entry.request)["credential"] for entry in aws.requests]
    assert serials == [str(each.certificate.serial_number) for each in (first, first, second)]
