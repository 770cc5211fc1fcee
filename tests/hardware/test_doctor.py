"""``doctor`` with keys in tokens: what is wrong, what to do, and no PIN is tried twice."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.hardware import softhsm, workbench
from tests.hardware.faults import FaultModule
from tests.hardware.scenes import Scene, a_scene
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tokens import Token, certified, encoded
from tests.hardware.tpm import Tpm

# What stands in for AWS has a name of its own and speaks plain HTTP; its leaves end within a day.
OF_THE_SCENE = ("endpoint", "validity")

WRONG = "wrong-pin-5150"
COUNT_LOW, FINAL_TRY, LOCKED = 0x10000, 0x20000, 0x40000


@dataclass(frozen=True)
class Report:
    """What doctor has found, by check."""

    status: int
    findings: dict[str, dict[str, Any]]

    def troubles(self) -> dict[str, str]:
        """All that is neither ok nor skipped, but for what is so in every test."""
        return {
            check: each["verdict"]
            for check, each in self.findings.items()
            if each["verdict"] not in ("ok", "skipped") and check not in OF_THE_SCENE
        }

    def says(self, check: str) -> str:
        return f"{self.findings[check]['sentence']} → {self.findings[check].get('remedy', '')}"


async def report(scene: Scene, *flags: str, **env: str) -> Report:
    told = await scene.run("doctor", "--output", "json", *(flags or ("--offline",)), **env)
    assert told.errors == ""
    assert scene.token.pin not in told.output
    assert WRONG not in told.output
    document = json.loads(told.output)
    return Report(told.status, {each["check"]: each for each in document["findings"]})


def in_the_token(scene: Scene, **more: str) -> dict[str, str]:
    """The settings of a certificate in the token that its key is found by."""
    env = scene.env("p256", **more)
    del env["ROLESANYWHERE_PRIVATE_KEY"]
    return env


async def test_a_healthy_token_is_all_well_up_to_the_session(stand_in: Token, folder: Path) -> None:
    async with a_scene(stand_in, folder) as scene:
        found = await report(scene, "--output", "json", **in_the_token(scene))
        assert scene.granted() == 1
    assert (found.status, found.troubles()) == (0, {})
    assert "one of" in found.says("token") or "is in slot" in found.says("token")
    assert "the token takes the PIN of" in found.says("pin")
    assert "trial signature" in found.says("key-match")
    assert found.findings["create-session"]["verdict"] == "ok"


async def test_it_logs_in_once(faulty: FaultModule, folder: Path) -> None:
    async with a_scene(faulty.token, folder) as scene:
        assert (await report(scene, **in_the_token(scene))).status == 0
    assert [call.rv for call in faulty.calls("C_Login")] == [0]


async def test_a_wrong_pin_is_tried_once_however_often_one_asks(
    faulty: FaultModule, folder: Path
) -> None:
    async with a_scene(faulty.token, folder, pin=WRONG) as scene:
        for _ in range(3):
            found = await report(scene, **in_the_token(scene))
            assert found.troubles()["pin"] == "failure"
            assert "refused the PIN of the file" in found.says("pin")
            # The certificate can be seen all the same.
            assert found.findings["certificate"]["verdict"] == "ok"
            assert found.findings["private-key"]["verdict"] == "skipped"
        assert "and is not asked again" in found.says("pin")
    assert len(faulty.calls("C_Login")) == 1


@pytest.mark.parametrize(
    ("flag", "check", "says"),
    [
        (COUNT_LOW, "token", "somebody has tried a wrong PIN"),
        (FINAL_TRY, "pin", "one more wrong PIN would lock"),
        (LOCKED, "pin", "is locked"),
    ],
)
async def test_what_a_token_says_of_its_pin_is_told(
    faulty: FaultModule, folder: Path, flag: int, check: str, says: str
) -> None:
    faulty.fault("C_GetTokenInfo", "flags", hex(flag))
    async with a_scene(faulty.token, folder) as scene:
        found = await report(scene, **in_the_token(scene))
    assert says in found.says(check)
    assert found.troubles()["token"] == "warning"
    assert len(faulty.calls("C_Login")) == (flag == COUNT_LOW)


async def test_without_a_pin_it_says_where_to_put_one(hsm: SoftHsm, folder: Path) -> None:
    async with a_scene(hsm.token, folder) as scene:
        env = in_the_token(scene)
        del env["ROLESANYWHERE_PIN_FILE"]
        found = await report(scene, **env)
    assert found.troubles() == {"pin": "failure"}
    assert "asks for a PIN, and none is set → " in found.says("pin")
    assert "--pin-file" in found.says("pin")


async def test_a_pin_in_a_uri_works_and_is_warned_of(hsm: SoftHsm, folder: Path) -> None:
    async with a_scene(hsm.token, folder) as scene:
        uri = f"{hsm.token.uri('p256')}?pin-value={hsm.token.pin}"
        env = in_the_token(scene, certificate=uri)
        del env["ROLESANYWHERE_PIN_FILE"]
        found = await report(scene, **env)
    assert (found.status, found.troubles()) == (0, {"pin": "warning"})
    assert "pin-source" in found.says("pin")


async def test_a_pin_source_is_looked_at_as_the_file_that_it_is(hsm: SoftHsm, folder: Path) -> None:
    async with a_scene(hsm.token, folder) as scene:
        uri = f"{hsm.token.uri('p256')}?pin-source=file:{scene.pin_file}"
        env = in_the_token(scene, certificate=uri)
        del env["ROLESANYWHERE_PIN_FILE"]
        scene.pin_file.chmod(0o644)
        found = await report(scene, **env)
        assert (found.status, found.troubles()) == (0, {"pin-file": "warning"})
        scene.pin_file.unlink()
        found = await report(scene, **env)
        assert found.troubles() == {"pin-file": "failure"}


@pytest.mark.parametrize(
    ("module", "says"),
    [("/nowhere/module.so", "no file that can be read"), ("/etc/passwd", "cannot be loaded")],
)
async def test_a_module_that_is_none_is_named(
    hsm: SoftHsm, folder: Path, module: str, says: str
) -> None:
    async with a_scene(hsm.token, folder) as scene:
        found = await report(scene, **in_the_token(scene, pkcs11_module=module))
    assert found.troubles() == {"module": "failure"}
    assert module in found.says("module")
    assert says in found.says("module")
    assert "--pkcs11-lib" in found.says("module")


async def test_a_module_without_tokens_is_told_from_one_without_the_right_one(
    faulty: FaultModule, folder: Path
) -> None:
    async with a_scene(faulty.token, folder) as scene:
        found = await report(scene, **in_the_token(scene, certificate="pkcs11:token=elsewhere"))
        assert found.troubles() == {"token": "failure"}
        assert "there are pkcs11:" in found.says("token")
        assert "token=node-hsm" in found.says("token")
        faulty.fault("C_GetSlotList", "empty")
        found = await report(scene, **in_the_token(scene))
        assert found.troubles() == {"token": "failure"}
        assert "shows no token at all" in found.says("token")
        assert "P11_KIT_SERVER_ADDRESS" in found.says("token")


async def test_a_uri_that_asks_for_what_is_not_done_is_told(hsm: SoftHsm, folder: Path) -> None:
    async with a_scene(hsm.token, folder) as scene:
        uri = f"{hsm.token.uri('p256')}?module-path=/tmp/evil.so"
        found = await report(scene, **in_the_token(scene, certificate=uri))
    assert found.troubles() == {"token": "failure"}
    assert "code is not loaded for a URI" in found.says("token")


async def test_a_certificate_without_its_key_is_told(hsm: SoftHsm, folder: Path) -> None:
    hsm.do(workbench.destroy("PRIVATE_KEY", "p256"))
    async with a_scene(hsm.token, folder) as scene:
        found = await report(scene, **in_the_token(scene))
    assert found.troubles() == {"private-key": "failure"}
    assert "--private-key" in found.says("private-key")
    assert "the token takes the PIN" in found.says("pin")


async def test_a_key_that_is_not_the_certificates_is_told(hsm: SoftHsm, folder: Path) -> None:
    token = hsm.token
    [public] = hsm.do(workbench.generate("p256", "new", b"\x55"))
    # The certificate of the new key has the id of the old one.
    foreign = certified(token.root, bytes.fromhex(str(public)))
    held = token.keys["p256"]
    hsm.do(workbench.destroy("CERTIFICATE", "p256"))
    async with a_scene(token, folder) as scene:
        file = folder / "tls.crt"
        file.write_bytes(foreign.public_bytes(Encoding.PEM))
        key = f"pkcs11:token={token.label};id={encoded(held.id)}"
        found = await report(scene, **scene.env(certificate=str(file), private_key=key))
    assert found.troubles() == {"key-match": "failure"}
    assert "does not belong to certificate" in found.says("key-match")


async def test_a_module_that_hangs_or_crashes_is_told_in_time(
    faulty: FaultModule, folder: Path
) -> None:
    faulty.fault("C_Initialize", "crash")
    async with a_scene(faulty.token, folder) as scene:
        found = await report(scene, **in_the_token(scene))
        assert found.troubles() == {"module": "failure"}
        assert "ended by itself" in found.says("module")
        faulty.heal("C_Initialize")
        faulty.fault("C_Login", "hang")
        found = await report(scene, **in_the_token(scene))
        assert found.troubles() == {"private-key": "failure"}
        assert "did not answer" in found.says("private-key")
    assert found.findings["certificate"]["verdict"] == "ok"


async def test_two_tokens_of_one_label_are_told(hsm: SoftHsm, folder: Path) -> None:
    softhsm.initialize(hsm.token.env, softhsm.LABEL, softhsm.PIN)
    async with a_scene(hsm.token, folder) as scene:
        key = f"pkcs11:token={softhsm.LABEL}"
        file = folder / "tls.crt"
        file.write_bytes(hsm.token.keys["p256"].pem)
        found = await report(scene, **scene.env(certificate=str(file), private_key=key))
    assert found.troubles() == {"private-key": "failure"}
    assert found.says("private-key").count("serial=") >= 2


async def test_an_id_that_is_text_is_told_from_one_that_is_not_there(
    healthy_tpm: Tpm, folder: Path
) -> None:
    """tpm2_ptool makes ids of sixteen characters; many would write the eight bytes they spell."""
    key = healthy_tpm.token.keys["p256"]
    assert len(key.id) == 16
    spelt = bytes.fromhex(key.id.decode())
    async with a_scene(healthy_tpm.token, folder) as scene:
        uri = f"pkcs11:token={healthy_tpm.token.label};id={encoded(spelt)}"
        found = await report(scene, **in_the_token(scene, certificate=uri))
    assert found.troubles() == {"certificate": "failure"}
    assert f"its id is text: write pkcs11:id={encoded(key.id)}" in found.says("certificate")
