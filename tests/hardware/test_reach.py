"""A node's token at a socket: reached by other users, through mounts, and by many at once."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.hardware import p11kit, packages, workbench
from tests.hardware.p11kit import Server
from tests.hardware.scenes import a_scene, serving
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tokens import Token
from tests.hardware.tpm import Tpm
from tests.support import debian
from tests.support.tools import build_or_skip, skip

ROOT: Final = Path(__file__).parents[2]
NOBODY: Final = 65532
GROUP: Final = 2317
SIDECARS: Final = 8


def as_user(user: int, group: int, *, mounted: tuple[Path, Path] | None = None) -> list[str]:
    """As a kubelet starts a container with runAsUser and runAsGroup.

    ``mounted`` is a folder, and where the container has it read-only.
    """
    needed = {ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    hidden = {each for folder in needed if (each := closed_above(folder))}
    return [
        "unshare", "--mount", str(Path(__file__).with_name("as-container")),
        str(user), str(group), ":".join(map(str, mounted or ())),
        ":".join(map(str, needed)), ":".join(map(str, hidden)),
    ]  # fmt: skip


def closed_above(folder: Path) -> Path | None:
    """The highest folder on the way that other users may not enter."""
    return next((each for each in reversed(folder.parents) if not each.stat().st_mode & 1), None)


@pytest.fixture
def root() -> None:
    """Only root becomes other users."""
    if os.geteuid() != 0:
        skip("other users are tried by root alone")


@pytest.fixture(params=["softhsm", "tpm"])
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Server]:
    """A server over each, of this test's own."""
    build_or_skip(lambda: debian.packages(*packages.SERVER))
    fixture = "hsm" if request.param == "softhsm" else "healthy_tpm"
    owner: SoftHsm | Tpm = request.getfixturevalue(fixture)
    with p11kit.serving(owner.token, folder / "server") as started:
        yield started


@pytest.fixture
def home(folder: Path, root: None) -> Path:
    """A workload's folder that belongs to another user."""
    made = folder / "home"
    made.mkdir()
    os.chown(made, NOBODY, GROUP)
    return made


def give_away(pin_file: Path) -> None:
    os.chown(pin_file, NOBODY, GROUP)


async def test_another_user_of_the_right_group_signs(server: Server, home: Path) -> None:
    server.allow(GROUP)
    async with a_scene(server.token, home) as scene:
        give_away(scene.pin_file)
        async with serving(scene, by=as_user(NOBODY, GROUP)) as sidecar:
            assert ":assumed-role/" in (await scene.who_am_i(sidecar))["arn"]


async def test_a_user_of_another_group_does_not(server: Server, home: Path) -> None:
    server.allow(GROUP + 1)
    async with a_scene(server.token, home) as scene:
        give_away(scene.pin_file)
        outcome = await scene.run_by(as_user(NOBODY, GROUP), "credential-process", **scene.env())
    assert outcome.status != 0
    assert "NoSuchToken" in outcome.errors or "no token" in outcome.errors.lower()


async def test_a_read_only_mount_of_the_folder_is_enough(
    server: Server, home: Path, folder: Path
) -> None:
    server.allow(GROUP)
    mounted = folder / "mounted"
    mounted.mkdir()
    by = as_user(NOBODY, GROUP, mounted=(server.folder, mounted))
    async with a_scene(server.seen_at(mounted), home) as scene:
        give_away(scene.pin_file)
        async with serving(scene, by=by) as sidecar:
            assert ":assumed-role/" in (await scene.who_am_i(sidecar))["arn"]


@pytest.mark.long
async def test_eight_sidecars_share_one_server(server: Server, folder: Path) -> None:
    async with AsyncExitStack() as stack:
        running = []
        for number in range(SIDECARS):
            home = folder / f"home-{number}"
            home.mkdir()
            scene = await stack.enter_async_context(a_scene(server.token, home))
            running.append((scene, await stack.enter_async_context(serving(scene))))
        assert len(server.children()) == SIDECARS
        callers = await asyncio.gather(*(scene.who_am_i(sidecar) for scene, sidecar in running))
        assert all(":assumed-role/" in caller["arn"] for caller in callers)
        await asyncio.gather(*(scene.renewed() for scene, _ in running))
    assert all(request.verdict == "ok" for scene, _ in running for request in scene.requests())


async def test_what_the_server_offers_cannot_be_written(server: Server) -> None:
    token: Token = server.token
    with pytest.raises(AssertionError, match="TokenWriteProtected"):
        workbench.work(
            token.module, token.label, token.pin,
            workbench.certify(token.keys["p256"].der, "new", b"\x99"), env=token.env,
        )  # fmt: skip
