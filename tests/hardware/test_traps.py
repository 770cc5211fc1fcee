"""What modules and the library between them do to the unwary, each trap walked into on purpose."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.hardware import softhsm, tpm
from tests.hardware.faults import FaultModule
from tests.hardware.scenes import Scene, a_scene, serving, until
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tokens import encoded
from tests.hardware.tpm import Tpm
from tests.hardware.workbench import Algorithm
from tests.support.sidecars import a_sidecar
from tests.support.waiting import runs

# CKM_SHA256_RSA_PKCS, CKM_RSA_PKCS and CKM_ECDSA.
SHA256_RSA_PKCS, RSA_PKCS, ECDSA = 0x40, 0x1, 0x1041


async def test_a_refused_login_leaves_no_session_open(faulty: FaultModule, folder: Path) -> None:
    async with (
        a_scene(faulty.token, folder, pin="wrong-1234") as scene,
        a_sidecar(folder, scene.env()) as sidecar,
    ):
        await until(lambda: "PinIncorrect" in sidecar.log, what="the token's refusal")
        await asyncio.sleep(2)
        assert len(faulty.calls("C_Login")) == 1
        child = faulty.calls("C_Login")[0].pid
        opened = [call for call in faulty.calls("C_OpenSession") if call.pid == child]
        closed = [call for call in faulty.calls("C_CloseSession") if call.pid == child]
        assert len(opened) - len(closed) <= 1 or not runs(child)


async def test_one_login_lasts_for_every_signature(faulty: FaultModule, folder: Path) -> None:
    async with a_scene(faulty.token, folder) as scene, serving(scene):
        for _ in range(2):
            await scene.renewed()
        assert len(faulty.signatures()) >= 3
        assert len(faulty.calls("C_Login")) == 1
        assert not faulty.calls("C_Logout")
        assert len({call.pid for call in faulty.calls()}) == 1


async def test_a_failed_signature_ends_its_session_and_another_one_signs(
    faulty: FaultModule, folder: Path
) -> None:
    async with a_scene(faulty.token, folder) as scene, serving(scene):
        used = faulty.signatures()[-1].handle
        faulty.fault("C_Sign", "rv", 0x30, once=True)
        await scene.renewed()
        failed = next(call for call in faulty.calls("C_Sign") if call.rv)
        assert failed.handle == used
        after = faulty.calls()[faulty.calls().index(failed) + 1 :]
        assert any(call.name == "C_CloseSession" and call.handle == used for call in after) or any(
            call.name == "C_CloseAllSessions" for call in after
        )
        assert len({call.pid for call in faulty.calls()}) == 1


@pytest.mark.parametrize(
    ("algorithm", "mechanism"), [("rsa-2048", SHA256_RSA_PKCS), ("p256", ECDSA), ("p384", ECDSA)]
)
async def test_the_mechanism_is_never_left_to_a_default(
    faulty: FaultModule, folder: Path, algorithm: Algorithm, mechanism: int
) -> None:
    async with a_scene(faulty.token, folder) as scene:
        outcome = await scene.run("credential-process", **scene.env(algorithm))
        assert outcome.status == 0, outcome.errors
    assert {call.detail for call in faulty.calls("C_SignInit")} == {mechanism}


async def test_an_rsa_token_without_hashing_signs_what_we_hashed(
    faulty: FaultModule, folder: Path
) -> None:
    faulty.fault("C_GetMechanismList", "hide", hex(SHA256_RSA_PKCS))
    async with a_scene(faulty.token, folder) as scene:
        outcome = await scene.run("credential-process", **scene.env("rsa-2048"))
        assert outcome.status == 0, outcome.errors
    assert {call.detail for call in faulty.calls("C_SignInit")} == {RSA_PKCS}
    assert scene.granted() == 1


async def test_a_token_without_a_mechanism_for_its_key_is_told_which_are_missing(
    faulty: FaultModule, folder: Path
) -> None:
    faulty.fault("C_GetMechanismList", "hide", hex(ECDSA))
    async with a_scene(faulty.token, folder) as scene:
        outcome = await scene.run("credential-process", **scene.env("p256"))
    assert outcome.status != 0
    assert "CKM_ECDSA" in outcome.errors
    assert "CKM_ECDSA_SHA256" in outcome.errors
    assert not faulty.calls("C_SignInit")


@pytest.mark.parametrize(
    "function", ["C_Sign", "C_Login", "C_Initialize", "C_OpenSession", "C_CloseSession"]
)
async def test_a_module_that_hangs_is_killed_and_started_anew(
    faulty: FaultModule, folder: Path, function: str
) -> None:
    faulty.fault(function, "hang", once=True)
    async with a_scene(faulty.token, folder) as scene, serving(scene) as sidecar:
        assert ":assumed-role/" in (await scene.who_am_i(sidecar))["arn"]
        assert not faulty.pending(function)
        assert sidecar.process.returncode is None


async def test_a_module_that_never_finishes_does_not_hold_up_the_end(
    faulty: FaultModule, folder: Path
) -> None:
    async with a_scene(faulty.token, folder) as scene, serving(scene) as sidecar:
        faulty.fault("C_Finalize", "hang")
        faulty.fault("C_CloseSession", "hang")
        child = faulty.calls("C_Sign")[-1].pid
        loop = asyncio.get_running_loop()
        since = loop.time()
        assert await sidecar.terminated() == 0
        assert loop.time() - since < 5
    await until(lambda: not runs(child), what="the child's end")


async def test_one_slot_that_fails_hides_no_other(
    hsm: SoftHsm, faulty: FaultModule, folder: Path
) -> None:
    softhsm.initialize(hsm.token.env, "broken", "9999-wrong")
    outcomes = []
    async with a_scene(faulty.token, folder) as scene:
        for slot in await _slots_asked(scene, faulty):
            faulty.fault("C_GetTokenInfo", "rv", 0x30, slot)
            outcome = await scene.run("credential-process", **scene.env())
            outcomes.append(outcome.status)
    # The one that holds the key is missed, each other is not.
    assert Counter(status == 0 for status in outcomes)[False] == 1
    assert len(outcomes) >= 3


async def _slots_asked(scene: Scene, faulty: FaultModule) -> set[int]:
    outcome = await scene.run("credential-process", **scene.env())
    assert outcome.status == 0, outcome.errors
    return {call.handle for call in faulty.calls("C_GetTokenInfo")}


async def test_tpms_have_one_serial_number_and_are_told_apart_by_label(
    own_tpm: Tpm, folder: Path
) -> None:
    tpm.add_token(own_tpm, "other", "other-pin-1")
    async with a_scene(own_tpm.token, folder) as scene:
        outcome = await scene.run("credential-process", **scene.env())
        assert outcome.status == 0, outcome.errors
        key = f"pkcs11:serial=0000000000000000;id={encoded(own_tpm.token.keys['p256'].id)}"
        (folder / "tls.crt").write_bytes(own_tpm.token.keys["p256"].pem)
        env = scene.env(certificate=str(folder / "tls.crt"), private_key=key)
        refused = await scene.run("credential-process", **env)
    assert refused.status != 0
    assert "token=node-tpm" in refused.errors
    assert "token=other" in refused.errors


async def test_no_slots_at_all_is_a_server_out_of_reach(
    hsm: SoftHsm, faulty: FaultModule, folder: Path
) -> None:
    faulty.fault("C_GetSlotList", "empty")
    async with a_scene(faulty.token, folder) as scene:
        outcome = await scene.run("credential-process", **scene.env())
    assert outcome.status != 0
    assert "NoSuchToken" in outcome.errors or "no token" in outcome.errors
