"""A PKCS#11 module that fails as it is told to, round a real one, and keeps a list of its calls.

`faultmodule/faultmodule.c` says which faults there are. It works in any process that loads it.
"""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.hardware import packages
from tests.hardware.tokens import Token
from tests.support import debian
from tests.support.cache import cache_dir
from tests.support.tools import ToolMissing

SOURCE: Final = Path(__file__).parent / "faultmodule" / "faultmodule.c"
COMMAND: Final = (
    "gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-fvisibility=hidden",
    "-I/usr/include/p11-kit-1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function by a process; ``micros`` is how long it took.

    ``detail`` is the user type of a login, the mechanism of C_SignInit, and 1 for a C_Sign that
    was to sign.
    """

    pid: int
    name: str
    handle: int
    rv: int
    detail: int
    micros: int

    @classmethod
    def parse(cls, line: str) -> "Call":
        pid, name, *numbers = line.split()
        handle, rv, detail, micros = (int(number, 0) for number in numbers)
        return cls(int(pid), name, handle, rv, detail, micros)


@dataclass(frozen=True, slots=True)
class FaultModule:
    """The module in ``folder``; ``token`` is the same token, reached by it."""

    folder: Path
    token: Token

    def fault(self, function: str, *words: object, once: bool = False) -> None:
        """From now on, or the next time only, ``function`` does as ``words`` say."""
        faults = self.folder / "faults"
        (faults / ".next").write_text(" ".join(map(str, words)))
        (faults / ".next").rename(faults / (f"{function}.once" if once else function))

    def heal(self, function: str) -> None:
        """From now on ``function`` is the real one."""
        (self.folder / "faults" / function).unlink()

    def pending(self, function: str) -> bool:
        """Whether a fault that is to happen once has not happened yet."""
        return (self.folder / "faults" / f"{function}.once").exists()

    def calls(self, *names: str) -> Sequence[Call]:
        """What was called so far and has returned; of these functions, or all."""
        file = self.folder / "calls"
        # What follows the last end of a line is a call that is being written down.
        *lines, _ = file.read_text().split("\n") if file.exists() else [""]
        found = [Call.parse(line) for line in lines]
        return [call for call in found if not names or call.name in names]

    def signatures(self) -> Sequence[Call]:
        """The calls that gave a signature."""
        return [call for call in self.calls("C_Sign") if call.detail and not call.rv]

    def forget(self) -> None:
        """Begin a new list of calls."""
        (self.folder / "calls").unlink(missing_ok=True)


def wrapped(token: Token, folder: Path) -> FaultModule:
    """``token`` behind a module of its own in ``folder``, without any fault yet."""
    (folder / "faults").mkdir(parents=True)
    # A copy: who resolves a link would find neither its faults nor its list of calls beside it.
    module = Path(shutil.copy(find_or_build(), folder))
    (folder / "real").symlink_to(token.module)
    return FaultModule(folder, replace(token, module=module))


def find_or_build() -> Path:
    """The module as built from its source. Raises `ToolMissing`."""
    recipe = hashlib.sha256(SOURCE.read_bytes() + " ".join(COMMAND).encode()).hexdigest()
    home = cache_dir() / "bin" / f"faultmodule-{recipe[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    library = home / "faultmodule.so"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            debian.packages(*packages.COMPILER)
            _compile(library)
    return library


def _compile(library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        fresh = Path(scratch) / library.name
        done = subprocess.run(
            [*COMMAND, "-o", fresh, SOURCE, "-ldl"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ToolMissing(f"gcc could not build {SOURCE.name}: {done.stderr.strip()[:500]}")
        fresh.replace(library)
