"""Hardware goes away and comes back: what is in memory is served, and signing resumes by itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hardware import p11kit, packages
from tests.hardware.faults import FaultModule
from tests.hardware.scenes import Scene, a_scene, below, serving, until
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tpm import Tpm
from tests.support import debian
from tests.support.sidecars import RunningSidecar, a_sidecar
from tests.support.tools import build_or_skip
from tests.support.waiting import runs


@dataclass(frozen=True, slots=True)
class Watched:
    """A sidecar that is asked again and again, by somebody who counts the answers."""

    scene: Scene
    sidecar: RunningSidecar
    answers: list[int]

    async def resumed(self) -> None:
        """Wait for a session that the sidecar has got by itself, from now on."""
        before = self.scene.granted()
        await until(
            lambda: self.scene.granted() > before,
            what=f"one more session; its log: {self.sidecar.log[-3000:]}",
        )

    async def failing(self, *codes: str) -> None:
        """Have the session renewed, and wait until that has failed for one of these reasons."""
        before = len(self.sidecar.log)
        self.scene.touch()
        await until(
            lambda: any(code in self.sidecar.log[before:] for code in codes),
            what=f"one of {codes}; its log: {self.sidecar.log[-3000:]}",
        )

    def never_refused(self) -> bool:
        """Whether each who asked was given credentials."""
        return bool(self.answers) and set(self.answers) == {200}


@asynccontextmanager
async def watched(scene: Scene) -> AsyncIterator[Watched]:
    """A sidecar with credentials, which is asked for them twenty times a second."""
    async with serving(scene) as sidecar:
        answers: list[int] = []

        async def ask() -> None:
            while True:
                answers.append((await sidecar.credentials(scene.token_file.read_text()))[0])
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(ask())
            yield Watched(scene, sidecar, answers)
            asking.cancel()


@pytest.mark.parametrize(
    ("function", "rv"),
    [
        ("C_SignInit", 0xB3),
        ("C_SignInit", 0x60),
        ("C_SignInit", 0x101),
        ("C_Sign", 0x5),
        ("C_Sign", 0x30),
        ("C_Sign", 0x32),
        ("C_Sign", 0x90),
        ("C_Sign", 0xE0),
        ("C_Sign", 0x80000001),
    ],
    ids=lambda each: hex(each) if isinstance(each, int) else each,
)
async def test_any_error_of_a_signature_costs_nobody_anything(
    faulty: FaultModule, folder: Path, function: str, rv: int
) -> None:
    async with (
        a_scene(faulty.token, folder) as scene,
        watched(scene) as seen,
    ):
        faulty.fault(function, "rv", hex(rv), once=True)
        await scene.renewed()
        assert not faulty.pending(function)
        assert seen.never_refused()


@pytest.mark.parametrize("function", ["C_Sign", "C_SignInit"])
async def test_a_module_that_crashes_takes_nothing_with_it(
    faulty: FaultModule, folder: Path, function: str
) -> None:
    async with (
        a_scene(faulty.token, folder) as scene,
        watched(scene) as seen,
    ):
        pid = seen.sidecar.process.pid
        faulty.fault(function, "crash", once=True)
        await scene.renewed()
        assert not faulty.pending(function)
        assert seen.sidecar.process.pid == pid
        assert seen.never_refused()
    assert len({call.pid for call in faulty.calls()}) == 2


async def test_a_signature_that_does_not_verify_is_never_sent(
    faulty: FaultModule, folder: Path
) -> None:
    async with a_scene(faulty.token, folder) as scene, watched(scene) as seen:
        faulty.fault("C_Sign", "spoil")
        await seen.failing("SignatureWrong", "KeyMismatch")
        faulty.heal("C_Sign")
        await seen.resumed()
        assert seen.never_refused()
    assert {request.verdict for request in scene.requests()} == {"ok"}


async def test_a_module_that_always_crashes_is_not_started_in_a_loop(
    faulty: FaultModule, folder: Path
) -> None:
    faulty.fault("C_Initialize", "crash")
    async with a_scene(faulty.token, folder) as scene, a_sidecar(folder, scene.env()) as sidecar:
        await until(lambda: "ModuleCrashed" in sidecar.log, what="a crash")
        await asyncio.sleep(5)
        assert sidecar.log.count("ModuleCrashed") < 30
        assert sidecar.process.returncode is None
        faulty.heal("C_Initialize")
        await sidecar.until_ready()


async def test_credentials_stay_served_while_the_token_is_away(hsm: SoftHsm, folder: Path) -> None:
    async with a_scene(hsm.token, folder) as scene, watched(scene) as seen:
        hsm.store.rename(hsm.folder / "away")
        await seen.failing("TokenUnavailable", "NoSuchToken", "NoSuchKey")
        assert seen.never_refused()
        (hsm.folder / "away").rename(hsm.store)
        await seen.resumed()
        assert seen.never_refused()


async def test_a_restart_while_the_token_is_away_costs_no_credentials(
    hsm: SoftHsm, folder: Path
) -> None:
    async with a_scene(hsm.token, folder) as scene:
        kept = str(folder / "session")
        async with serving(scene, session_file=kept) as before:
            # Not by force: a session is served before it is kept.
            assert await before.terminated() == 0
        hsm.store.rename(hsm.folder / "away")
        env = scene.env(session_file=kept)
        async with a_sidecar(folder, env) as sidecar:
            await sidecar.until_ready()
            assert (await sidecar.credentials(scene.token_file.read_text()))[0] == 200
            assert scene.granted() == 1
            (hsm.folder / "away").rename(hsm.store)
            await until(lambda: scene.granted() == 2, what="a session of the token that is back")


async def test_a_one_shot_while_the_token_is_away_hands_out_what_is_kept(
    hsm: SoftHsm, folder: Path
) -> None:
    async with a_scene(hsm.token, folder) as scene:
        env = scene.env(session_file=str(folder / "session"))
        first = await scene.run("credential-process", **env)
        assert first.status == 0, first.errors
        hsm.store.rename(hsm.folder / "away")
        again = await scene.run("credential-process", **env)
        assert (again.status, again.output) == (0, first.output), again.errors
        assert "earlier session used" in again.errors
        refused = await scene.run("credential-process", **scene.env())
        assert refused.status != 0
        assert scene.granted() == 1


@pytest.mark.long
async def test_a_frozen_tpm_is_waited_for_by_nobody(own_tpm: Tpm, folder: Path) -> None:
    async with a_scene(own_tpm.token, folder) as scene, watched(scene) as seen:
        own_tpm.freeze()
        await seen.failing("TokenSilent", "TokenUnavailable")
        assert seen.never_refused()
        own_tpm.thaw()
        await seen.resumed()
        assert seen.never_refused()


async def test_a_resource_manager_that_was_killed_is_found_again(
    own_tpm: Tpm, folder: Path
) -> None:
    async with a_scene(own_tpm.token, folder) as scene, watched(scene) as seen:
        own_tpm.lose_manager()
        await seen.failing("TokenUnavailable", "NoSuchToken", "TokenSilent")
        assert seen.never_refused()
        own_tpm.new_manager()
        await seen.resumed()
        assert seen.never_refused()


@pytest.fixture
def serve_hsm(hsm: SoftHsm, folder: Path) -> p11kit.Serve:
    """Starts a server for this test's HSM, as often as it is killed."""
    build_or_skip(lambda: debian.packages(*packages.SERVER))
    return lambda: p11kit.serving(hsm.token, folder / "server")


async def test_a_server_that_is_killed_under_load_and_started_again_is_found(
    serve_hsm: p11kit.Serve, folder: Path
) -> None:
    with serve_hsm() as first:
        token = first.token
        async with a_scene(token, folder) as scene, watched(scene) as seen:
            clients = first.children()
            assert clients
            first.process.popen.kill()
            for client in clients:
                os.kill(client, signal.SIGKILL)
            await seen.failing("TokenUnavailable", "NoSuchToken")
            first.socket.unlink(missing_ok=True)
            with serve_hsm():
                await seen.resumed()
            assert seen.never_refused()


async def test_the_child_of_a_server_that_is_killed_alone_is_no_loss(
    serve_hsm: p11kit.Serve, folder: Path
) -> None:
    with serve_hsm() as server:
        async with (
            a_scene(server.token, folder) as scene,
            watched(scene) as seen,
        ):
            for client in server.children():
                os.kill(client, signal.SIGKILL)
            await scene.renewed()
            assert seen.never_refused()


async def test_a_token_that_is_not_there_yet_is_waited_for(hsm: SoftHsm, folder: Path) -> None:
    hsm.store.rename(hsm.folder / "away")
    async with a_scene(hsm.token, folder) as scene, a_sidecar(folder, scene.env()) as sidecar:
        await until(lambda: "NoSuchToken" in sidecar.log or "TokenUnavailable" in sidecar.log,
                    what="a refusal")  # fmt: skip
        (hsm.folder / "away").rename(hsm.store)
        await sidecar.until_ready()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_child_ends_with_the_sidecar(
    faulty: FaultModule, folder: Path, number: signal.Signals
) -> None:
    async with a_scene(faulty.token, folder) as scene, serving(scene) as sidecar:
        children = below(sidecar.process.pid)
        assert children
        await sidecar.terminated(number)
    await until(lambda: not any(map(runs, children)), what="the end of the child")


async def test_a_child_inside_a_module_that_hangs_ends_with_the_sidecar(
    faulty: FaultModule, folder: Path
) -> None:
    faulty.fault("C_Sign", "hang")
    async with a_scene(faulty.token, folder) as scene, a_sidecar(folder, scene.env()) as sidecar:
        await until(lambda: bool(faulty.calls("C_SignInit")), what="a call that hangs")
        children = below(sidecar.process.pid)
        assert children
        await sidecar.terminated(signal.SIGKILL)
    await until(lambda: not any(map(runs, children)), what="the end of the child")
