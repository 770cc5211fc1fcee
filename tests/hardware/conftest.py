"""One healthy stand-in of each kind for the whole run, and a copy of its own for who breaks it.

Without the programs, tests skip with the reason; under ``CI=true`` they fail instead.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.hardware import faults, p11kit, packages, softhsm, tpm
from tests.hardware.faults import FaultModule
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tokens import DOCUMENT, Token, workshop, written_down
from tests.hardware.tpm import Blueprint, Tpm
from tests.support import debian
from tests.support.tools import build_or_skip

STAND_INS: Final = ("softhsm", "tpm", "server over softhsm", "server over tpm")


@pytest.fixture(scope="session")
def shop() -> Iterator[Path]:
    """A folder for what lasts as long as the run."""
    with workshop() as folder:
        yield folder


@pytest.fixture(scope="session")
def healthy_hsm(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """An HSM that nobody changes."""
    build_or_skip(lambda: debian.packages(*packages.HSM))
    made = made_once("hsm", tmp_path_factory, softhsm.make)
    return softhsm.copied(made, shop / "hsm")


@pytest.fixture(scope="session")
def blueprint(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    """A TPM that is switched off."""
    build_or_skip(lambda: debian.packages(*packages.TPM))
    return Blueprint(made_once("tpm", tmp_path_factory, tpm.make))


def made_once(
    name: str, tmp_path_factory: pytest.TempPathFactory, make: Callable[[Path], Token]
) -> Path:
    """A folder with what ``make`` leaves in one, and the token that it gives written down.

    Making keys takes seconds, so it is done once for all workers that share the tests.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = shared / f"made-{name}"
    with (shared / f"made-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            with workshop() as folder:
                token = make(folder / "token")
                (folder / "token" / DOCUMENT).write_text(written_down(token))
                shutil.copytree(folder / "token", home, ignore=_sockets)
    return home


def _sockets(folder: str, names: list[str]) -> list[str]:
    """What is no file: it cannot be copied, and nobody listens there any more."""
    return [name for name in names if Path(folder, name).is_socket()]


@pytest.fixture(scope="session")
def healthy_tpm(blueprint: Blueprint, shop: Path) -> Iterator[Tpm]:
    """A TPM that nobody changes."""
    with blueprint.started(shop / "tpm") as started:
        yield started


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of this test's, whose path is short enough for sockets."""
    with workshop() as made:
        yield made


@pytest.fixture
def hsm(healthy_hsm: SoftHsm, folder: Path) -> SoftHsm:
    """An HSM of this test's own."""
    return softhsm.copied(healthy_hsm.folder, folder / "hsm")


@pytest.fixture
def own_tpm(blueprint: Blueprint, folder: Path) -> Iterator[Tpm]:
    """A TPM of this test's own."""
    with blueprint.started(folder / "tpm") as started:
        yield started


@pytest.fixture
def faulty(hsm: SoftHsm, folder: Path) -> FaultModule:
    """An HSM of this test's own, behind the module that fails as it is told to."""
    return build_or_skip(lambda: faults.wrapped(hsm.token, folder / "faulty"))


@pytest.fixture(scope="session", params=STAND_INS)
def stand_in(request: pytest.FixtureRequest, shop: Path) -> Iterator[Token]:
    """Each stand-in in turn, healthy."""
    with _reached(request.param, request, shop) as token:
        yield token


@contextmanager
def _reached(name: str, request: pytest.FixtureRequest, shop: Path) -> Iterator[Token]:
    if name.endswith("softhsm"):
        token = request.getfixturevalue("healthy_hsm").token
    else:
        token = request.getfixturevalue("healthy_tpm").token
    if not name.startswith("server"):
        yield token
        return
    build_or_skip(lambda: debian.packages(*packages.SERVER))
    with p11kit.serving(token, shop / f"{token.label}-server") as server:
        yield server.token
