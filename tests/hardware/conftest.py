"""One healthy stand-in of each kind for the whole run, and a copy of its own for who breaks it.

Without the programs, tests skip with the reason; under ``CI=true`` they fail instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.hardware import faults, p11kit, packages, softhsm, tpm
from tests.hardware.faults import FaultModule
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tokens import Token, workshop
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
def healthy_hsm(shop: Path) -> SoftHsm:
    """An HSM that nobody changes."""
    build_or_skip(lambda: debian.packages(*packages.HSM))
    return softhsm.make(shop / "hsm")


@pytest.fixture(scope="session")
def blueprint(shop: Path) -> Blueprint:
    """A TPM that is switched off."""
    build_or_skip(lambda: debian.packages(*packages.TPM))
    return tpm.make(shop / "blueprint")


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
    return healthy_hsm.copied(folder / "hsm")


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
