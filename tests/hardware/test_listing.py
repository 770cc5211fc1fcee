"""``read-certificate-data`` of tokens: what they hold, by URIs to copy, and which keys."""

import json
from pathlib import Path
from typing import Any

from tests.fakes.aws import utc_now
from tests.fakes.pki import Authority
from tests.hardware import softhsm, workbench
from tests.hardware.faults import FaultModule
from tests.hardware.scenes import Scene, a_scene
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tokens import ALGORITHMS, Token


async def listed(scene: Scene, uri: str = "pkcs11:", *, pin: bool = True) -> list[dict[str, Any]]:
    """What is printed of ``uri``."""
    env = scene.env(certificate=uri)
    del env["ROLESANYWHERE_PRIVATE_KEY"]
    if not pin:
        del env["ROLESANYWHERE_PIN_FILE"]
    told = await scene.run("read-certificate-data", **env)
    assert (told.status, told.errors) == (0, "")
    assert scene.token.pin not in told.output
    found: list[dict[str, Any]] = json.loads(told.output)
    return found


async def test_every_certificate_has_a_uri_that_names_it_alone(
    stand_in: Token, folder: Path
) -> None:
    async with a_scene(stand_in, folder) as scene:
        every = await listed(scene)
        assert {each["subject"] for each in every} == {"CN=hardware"}
        assert sorted(each["serialNumber"] for each in every) == sorted(
            str(key.certificate.serial_number) for key in stand_in.keys.values()
        )
        assert [each["privateKey"] for each in every] == [True] * len(ALGORITHMS)
        for each in every:
            [again] = await listed(scene, each["uri"])
            assert again == each


async def test_a_uri_of_the_list_is_one_to_get_credentials_by(
    stand_in: Token, folder: Path
) -> None:
    async with a_scene(stand_in, folder) as scene:
        every = await listed(scene)
        uri = next(each["uri"] for each in every if each["keyType"] == "EC")
        env = scene.env(certificate=uri)
        del env["ROLESANYWHERE_PRIVATE_KEY"]
        told = await scene.run("credential-process", **env)
        assert told.status == 0, told.errors
        assert scene.granted() == 1


async def test_without_a_pin_nobody_logs_in_and_certificates_are_listed_all_the_same(
    faulty: FaultModule, folder: Path
) -> None:
    async with a_scene(faulty.token, folder) as scene:
        every = await listed(scene, pin=False)
    assert len(every) == len(ALGORITHMS)
    assert {each["privateKey"] for each in every} == {None}
    assert "asks for a PIN, and none is set" in every[0]["privateKeyUnseen"]
    assert faulty.calls("C_Login") == []


async def test_a_wrong_pin_is_tried_once_and_hides_no_certificate(
    faulty: FaultModule, folder: Path
) -> None:
    async with a_scene(faulty.token, folder, pin="wrong-pin-5150") as scene:
        for _ in range(3):
            every = await listed(scene)
            assert {each["privateKey"] for each in every} == {None}
            assert "refused the PIN" in every[0]["privateKeyUnseen"]
    assert len(faulty.calls("C_Login")) == 1


async def test_of_two_tokens_neither_is_given_the_pin(faulty: FaultModule, folder: Path) -> None:
    softhsm.initialize(faulty.token.env, "another", "another-pin-22")
    async with a_scene(faulty.token, folder) as scene:
        assert {each["privateKey"] for each in await listed(scene)} == {None}
        assert faulty.calls("C_Login") == []
        assert {each["privateKey"] for each in await listed(scene, "pkcs11:token=node-hsm")} == {
            True
        }


async def test_a_certificate_without_its_key_is_told_from_those_that_have_one(
    hsm: SoftHsm, folder: Path
) -> None:
    lonely = Authority.root(at=utc_now()).leaf(at=utc_now())
    hsm.do(
        workbench.destroy("PRIVATE_KEY", "p384"),
        workbench.certify(lonely.der, "without an id", b""),
    )
    async with a_scene(hsm.token, folder) as scene:
        every = await listed(scene)
    names = [each["uri"].partition("object=")[2].partition(";")[0] for each in every]
    keys = [each["privateKey"] for each in every]
    assert dict(zip(names, keys, strict=True)) == {
        "rsa-2048": True, "rsa-3072": True, "p256": True, "p384": False,
        "without%20an%20id": False,
    }  # fmt: skip
