"""A TPM 2.0 in software (swtpm) with its resource manager, and a token made of it by its own tool.

Each has a message bus and sockets of its own, in one folder; all of it ends with the block.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.cluster.processes import Process, running
from tests.fakes.aws import utc_now
from tests.fakes.pki import Authority
from tests.hardware import workbench
from tests.hardware.tokens import ALGORITHMS, DOCUMENT, Token, TokenKey, certified, read_back
from tests.hardware.workbench import Algorithm
from tests.support.waiting import eventually

MODULE: Final = Path(f"/usr/lib/{os.uname().machine}-linux-gnu/pkcs11/libtpm2_pkcs11.so")
LABEL: Final = "node-tpm"
PIN: Final = "correct-staple-4402"

# What tpm2_ptool calls them.
_ALGORITHMS: Final[Mapping[Algorithm, str]] = {
    "rsa-2048": "rsa2048", "rsa-3072": "rsa3072", "p256": "ecc256", "p384": "ecc384",
}  # fmt: skip

_BUS: Final = """
<busconfig>
  <type>session</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


@dataclass
class Tpm:
    """A running TPM; ``chip`` and ``manager`` are its processes."""

    folder: Path
    stack: ExitStack = field(repr=False)
    chip: Process
    manager: Process
    token: Token = field(init=False)

    @property
    def env(self) -> dict[str, str]:
        """What module and tools need to find it; they write their errors to stderr otherwise."""
        return _surroundings(self.folder)

    def lockout_counter(self) -> int:
        """How many wrong PINs it remembers (TPM2_PT_LOCKOUT_COUNTER)."""
        told = self.tool("tpm2_getcap", "properties-variable")
        found = re.search(r"TPM2_PT_LOCKOUT_COUNTER: (0x[0-9A-Fa-f]+)", told)
        assert found, told
        return int(found[1], 16)

    def tool(self, *command: str) -> str:
        """What one of the TPM's own tools says."""
        done = subprocess.run(
            command, env={"PATH": os.environ["PATH"], **self.env},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command[0]}: {done.stderr}"
        return done.stdout

    def freeze(self) -> None:
        """It answers nothing from now on."""
        self.chip.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.chip.popen.send_signal(signal.SIGCONT)

    def lose_manager(self) -> None:
        """Kill the resource manager, and with it what it held for its clients."""
        self.manager.popen.kill()
        self.manager.popen.wait()

    def new_manager(self) -> None:
        self.manager = _manager(self.folder, self.stack)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A TPM that is switched off, and its store: every start of it is a copy."""

    folder: Path

    @contextmanager
    def started(self, folder: Path) -> Iterator[Tpm]:
        """One TPM like this, whose memory and store lie in ``folder``."""
        for part in ("state", "store"):
            shutil.copytree(self.folder / part, folder / part)
        with powered(folder) as tpm:
            tpm.token = read_back((self.folder / DOCUMENT).read_text(), tpm.env)
            yield tpm


def make(folder: Path, algorithms: Sequence[Algorithm] = ALGORITHMS) -> Token:
    """Leave in ``folder`` a TPM whose token has a key of each algorithm, and its certificate."""
    for part in ("state", "store"):
        (folder / part).mkdir(parents=True)
    with powered(folder) as tpm:
        store = f"--path={folder / 'store'}"
        tpm.tool("tpm2_ptool", "init", store)
        add_token(tpm, LABEL, PIN)
        root = Authority.root(at=utc_now())
        keys = {name: _key(tpm, name, root) for name in algorithms}
        # One that just loses power counts it as a wrong PIN (TPM 2.0 library, part 1, 19.8.6).
        tpm.tool("tpm2_shutdown")
        return Token(label=LABEL, pin=PIN, module=MODULE, env=tpm.env, root=root, keys=keys)


def add_token(tpm: Tpm, label: str, pin: str) -> None:
    """One more token, empty, in the same store."""
    tpm.tool(
        "tpm2_ptool", "addtoken", "--pid=1", f"--label={label}", "--sopin=sopin-99",
        f"--userpin={pin}", f"--path={tpm.folder / 'store'}",
    )  # fmt: skip


def _key(tpm: Tpm, name: Algorithm, root: Authority) -> TokenKey:
    where = (f"--label={LABEL}", f"--path={tpm.folder / 'store'}")
    tpm.tool(
        "tpm2_ptool", "addkey", *where,
        f"--userpin={PIN}", f"--algorithm={_ALGORITHMS[name]}", f"--key-label={name}",
    )  # fmt: skip
    [told] = workbench.work(MODULE, LABEL, PIN, workbench.read_public(name), env=tpm.env)
    key = TokenKey(name, bytes.fromhex(told["id"]), certified(root, bytes.fromhex(told["public"])))
    file = tpm.folder / "certificate.pem"
    file.write_bytes(key.pem)
    tpm.tool("tpm2_ptool", "addcert", *where, f"--key-label={name}", str(file))
    return key


@contextmanager
def powered(folder: Path) -> Iterator[Tpm]:
    """A TPM whose memory lies in ``folder``, with its bus and its manager."""
    with ExitStack() as stack:
        chip = _chip(folder, stack)
        _bus(folder, stack)
        yield Tpm(folder, stack, chip, _manager(folder, stack))


def _chip(folder: Path, stack: ExitStack) -> Process:
    socket = folder / "chip"
    chip = stack.enter_context(running(
        ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder / 'state'}",
         "--ctrl", f"type=unixio,path={socket}.ctrl", "--server", f"type=unixio,path={socket}",
         "--flags", "not-need-init,startup-clear"],
        logs=folder,
    ))  # fmt: skip
    _until(chip, socket.exists)
    return chip


def _bus(folder: Path, stack: ExitStack) -> None:
    config = folder / "bus.conf"
    config.write_text(_BUS.format(folder=folder))
    bus = stack.enter_context(
        running(["dbus-daemon", f"--config-file={config}", "--nofork"], logs=folder)
    )
    _until(bus, (folder / "bus").exists)


def _manager(folder: Path, stack: ExitStack) -> Process:
    manager = stack.enter_context(running(
        ["tpm2-abrmd", "--session", "--allow-root", "--flush-all",
         f"--tcti=swtpm:path={folder / 'chip'}"],
        logs=folder, env={"PATH": os.environ["PATH"], **_surroundings(folder)},
    ))  # fmt: skip
    ask = ("tpm2_getcap", "properties-fixed")
    env = {"PATH": os.environ["PATH"], **_surroundings(folder)}

    def answers() -> bool:
        return subprocess.run(ask, env=env, capture_output=True, check=False).returncode == 0

    _until(manager, answers)
    return manager


def _until(process: Process, ready: Callable[[], bool]) -> None:
    """Wait for a program that was just started, or fail with its own words."""

    def look() -> bool:
        assert process.exit_code() is None, f"{process.name} ended: {process.tail()}"
        return ready()

    eventually(f"{process.name} is ready", look)


def _surroundings(folder: Path) -> dict[str, str]:
    return {
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus",
        "TPM2TOOLS_TCTI": "tabrmd:bus_type=session",
        "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
        "TPM2_PKCS11_STORE": str(folder / "store"),
        "TSS2_LOG": "all+none",
    }
