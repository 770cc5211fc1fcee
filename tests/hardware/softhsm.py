"""SoftHSM2, an HSM in software: a folder is a token, and a copy of it another one of its kind."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.fakes.aws import utc_now
from tests.fakes.pki import Authority
from tests.hardware import workbench
from tests.hardware.tokens import ALGORITHMS, DOCUMENT, Token, TokenKey, certified, read_back
from tests.hardware.workbench import Algorithm, Job

MODULE: Final = Path("/usr/lib/softhsm/libsofthsm2.so")
LABEL: Final = "node-hsm"
PIN: Final = "correct-horse-7731"


@dataclass(frozen=True, slots=True)
class SoftHsm:
    """The store in ``folder``, and the token that tests use it by."""

    folder: Path
    token: Token

    @property
    def store(self) -> Path:
        """Where the tokens lie; without it there are none."""
        return self.folder / "tokens"

    def do(self, *jobs: Job) -> list[object]:
        """Have its owner do ``jobs``."""
        token = self.token
        return list(workbench.work(MODULE, token.label, token.pin, *jobs, env=token.env))

    def with_key(self, algorithm: Algorithm, key: TokenKey) -> Token:
        """The token, where ``algorithm`` is that of another key in it."""
        return replace(self.token, keys={**self.token.keys, algorithm: key})


def copied(folder: Path, to: Path) -> SoftHsm:
    """Another HSM like the one in ``folder``."""
    to.mkdir()
    for part in ("tokens", DOCUMENT):
        copy = shutil.copytree if (folder / part).is_dir() else shutil.copy
        copy(folder / part, to / part)
    return SoftHsm(to, read_back((to / DOCUMENT).read_text(), _configured(to)))


def make(folder: Path) -> Token:
    """Leave in ``folder`` a token that has a key of every algorithm, and its certificate."""
    (folder / "tokens").mkdir(parents=True)
    env = _configured(folder)
    initialize(env, LABEL, PIN)
    ids: Mapping[Algorithm, bytes] = {name: bytes([at]) for at, name in enumerate(ALGORITHMS, 1)}
    generated = workbench.work(
        MODULE, LABEL, PIN,
        *(workbench.generate(name, name, ids[name]) for name in ALGORITHMS), env=env,
    )  # fmt: skip
    root = Authority.root(at=utc_now())
    keys = {
        name: TokenKey(name, ids[name], certified(root, bytes.fromhex(public)))
        for name, public in zip(ALGORITHMS, generated, strict=True)
    }
    workbench.work(
        MODULE, LABEL, PIN,
        *(workbench.certify(key.der, key.label, key.id) for key in keys.values()), env=env,
    )  # fmt: skip
    return Token(label=LABEL, pin=PIN, module=MODULE, env=env, root=root, keys=keys)


def initialize(env: Mapping[str, str], label: str, pin: str) -> None:
    """One more token, empty."""
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label,
         "--so-pin", "11223344", "--pin", pin],
        env={"PATH": os.environ["PATH"], **env}, check=True, capture_output=True,
    )  # fmt: skip


def _configured(folder: Path) -> dict[str, str]:
    file = folder / "softhsm2.conf"
    file.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n"
        "log.level = ERROR\nslots.removable = false\n"
    )
    return {"SOFTHSM2_CONF": str(file)}
