"""A PIN is tried once, is known to nobody who need not know it, and a new one is taken up."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.hardware import workbench
from tests.hardware.faults import FaultModule
from tests.hardware.scenes import a_scene, below, serving, until
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tokens import Token, TokenKey, certified
from tests.hardware.tpm import Tpm
from tests.support.sidecars import RunningSidecar, a_sidecar

WRONG = "wrong-pin-5150"
RESTARTS = 20

# CKF_USER_PIN_COUNT_LOW, _FINAL_TRY and _LOCKED.
COUNT_LOW, FINAL_TRY, LOCKED = 0x10000, 0x20000, 0x40000


async def refused(sidecar: RunningSidecar, code: str) -> None:
    """Wait until the sidecar says so, to its prober too, and see that it stays."""
    await until(lambda: code in sidecar.log, what=f"{code}; its log: {sidecar.log}")
    status, sentence = await sidecar.probe("/readyz")
    assert status == 503
    assert "PIN" in sentence, sentence
    assert (await sidecar.probe("/livez"))[0] == 200
    assert sidecar.process.returncode is None


@pytest.mark.long
async def test_a_wrong_pin_over_twenty_restarts_costs_a_tpm_one_try(
    own_tpm: Tpm, folder: Path
) -> None:
    before = own_tpm.lockout_counter()
    async with a_scene(own_tpm.token, folder, pin=WRONG) as scene:
        for _ in range(RESTARTS):
            async with a_sidecar(folder, scene.env()) as sidecar:
                await refused(sidecar, "PinIncorrect")
                await sidecar.terminated(signal.SIGKILL)
        assert own_tpm.lockout_counter() == before + 1
        # It is not locked: the right PIN signs at once.
        scene.replace_pin(own_tpm.token.pin)
        async with serving(scene) as sidecar:
            assert ":assumed-role/" in (await scene.who_am_i(sidecar))["arn"]


async def test_one_shots_share_what_a_token_has_refused(faulty: FaultModule, folder: Path) -> None:
    async with a_scene(faulty.token, folder, pin=WRONG) as scene:
        for _ in range(3):
            outcome = await scene.run("credential-process", **scene.env())
            assert outcome.status != 0
            assert "PIN" in outcome.errors
            assert WRONG not in outcome.errors
    assert len(faulty.calls("C_Login")) == 1


async def test_a_wrong_pin_leaves_the_process_up_until_another_is_there(
    faulty: FaultModule, folder: Path
) -> None:
    async with (
        a_scene(faulty.token, folder, pin=WRONG) as scene,
        a_sidecar(folder, scene.env()) as sidecar,
    ):
        await refused(sidecar, "PinIncorrect")
        await asyncio.sleep(3)
        assert len(faulty.calls("C_Login")) == 1
        scene.replace_pin(faulty.token.pin)
        await sidecar.until_ready()
        assert ":assumed-role/" in (await scene.who_am_i(sidecar))["arn"]
    assert [call.rv for call in faulty.calls("C_Login")] == [0xA0, 0]


@pytest.mark.parametrize(
    ("rv", "code"),
    [
        (0xA4, "PinLocked"),
        (0xA3, "PinExpired"),
        (0x102, "PinNotInitialized"),
        (0xA2, "PinLengthWrong"),
    ],
)
async def test_what_a_token_says_of_a_pin_is_said_once_and_plainly(
    faulty: FaultModule, folder: Path, rv: int, code: str
) -> None:
    faulty.fault("C_Login", "rv", hex(rv))
    async with (
        a_scene(faulty.token, folder) as scene,
        a_sidecar(folder, scene.env()) as sidecar,
    ):
        await refused(sidecar, code)
        await asyncio.sleep(1)
        assert len(faulty.calls("C_Login")) == 1


@pytest.mark.parametrize(("flag", "code"), [(FINAL_TRY, "PinFinalTry"), (LOCKED, "PinLocked")])
async def test_a_token_that_says_it_would_lock_is_not_tried(
    faulty: FaultModule, folder: Path, flag: int, code: str
) -> None:
    faulty.fault("C_GetTokenInfo", "flags", hex(flag))
    async with (
        a_scene(faulty.token, folder) as scene,
        a_sidecar(folder, scene.env()) as sidecar,
    ):
        await refused(sidecar, code)
        assert not faulty.calls("C_Login")


async def test_without_a_pin_it_is_said_how_to_give_one(hsm: SoftHsm, folder: Path) -> None:
    async with a_scene(hsm.token, folder) as scene:
        env = scene.env()
        del env["ROLESANYWHERE_PIN_FILE"]
        outcome = await scene.run("credential-process", **env)
    assert outcome.status != 0
    assert "PIN" in outcome.errors
    assert "pin-file" in outcome.errors.lower().replace("_", "-")


async def test_a_key_that_asks_for_the_pin_each_time_gets_it(hsm: SoftHsm, folder: Path) -> None:
    token = with_another_key(hsm, always_authenticate=True)
    async with a_scene(token, folder) as scene, serving(scene):
        for _ in range(2):
            await scene.renewed()


def with_another_key(hsm: SoftHsm, *, always_authenticate: bool) -> Token:
    """``hsm``'s token, whose P-256 key is a new one."""
    identifier = b"\x55"
    [public] = hsm.do(
        workbench.generate("p256", "other", identifier, always_authenticate=always_authenticate)
    )
    certificate = certified(hsm.token.root, bytes.fromhex(str(public)))
    key = TokenKey("other", identifier, certificate)
    hsm.do(workbench.certify(key.der, key.label, key.id))
    return hsm.with_key("p256", key)


def holders(secret: str, *pids: int) -> list[str]:
    """Where any other process, or a mount of /proc, would read it."""
    assert pids
    places = [
        Path(f"/proc/{pid}/{name}")
        for pid in pids
        for name in ("cmdline", "environ", "comm", "status")
    ]
    return [str(place) for place in places if secret.encode() in place.read_bytes()]


def files_with(secret: str, folder: Path, *, but: Path) -> list[str]:
    """The files in ``folder`` that hold it."""
    kept = [each for each in folder.rglob("*") if each.is_file() and each != but]
    return [each.name for each in kept if secret.encode() in each.read_bytes()]


async def test_no_process_shows_the_pin(stand_in: Token, folder: Path) -> None:
    async with a_scene(stand_in, folder) as scene, serving(scene) as sidecar:
        children = below(sidecar.process.pid)
        assert children
        assert holders(scene.token.pin, sidecar.process.pid, *children) == []


async def test_nothing_that_is_kept_holds_the_pin(faulty: FaultModule, folder: Path) -> None:
    async with (
        a_scene(faulty.token, folder, pin=WRONG) as scene,
        a_sidecar(folder, scene.env()) as sidecar,
    ):
        await refused(sidecar, "PinIncorrect")
        assert files_with(WRONG, folder, but=scene.pin_file) == []


async def test_a_pin_in_the_uri_is_warned_about_and_never_repeated(
    hsm: SoftHsm, folder: Path
) -> None:
    async with a_scene(hsm.token, folder) as scene:
        env = scene.env()
        del env["ROLESANYWHERE_PIN_FILE"]
        uri = f"{hsm.token.uri('p256')}?pin-value={hsm.token.pin}"
        env |= {"ROLESANYWHERE_PRIVATE_KEY": uri, "ROLESANYWHERE_CERTIFICATE": uri}
        async with a_sidecar(folder, env) as sidecar:
            await sidecar.until_ready()
            assert hsm.token.pin not in sidecar.log
            assert "pin-value" in sidecar.log
            assert holders(hsm.token.pin, *below(sidecar.process.pid)) == []
