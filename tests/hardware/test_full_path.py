"""From a key in hardware to an SDK's call, on every stand-in and with every kind of key."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rolesanywhere_sidecar.commands.inspection import fixed_text
from tests.fakes.recorded import essence
from tests.hardware.scenes import a_scene, serving
from tests.hardware.tokens import ALGORITHMS, Token
from tests.hardware.workbench import Algorithm

every_key = pytest.mark.parametrize("algorithm", ALGORITHMS)


@every_key
async def test_boto3_is_who_the_certificate_says(
    stand_in: Token, algorithm: Algorithm, folder: Path
) -> None:
    async with a_scene(stand_in, folder) as scene, serving(scene, algorithm) as sidecar:
        caller = await scene.who_am_i(sidecar)
    assert ":assumed-role/reports/" in caller["arn"]
    assert caller["method"] == "container-role"
    [request] = scene.requests()
    certificate = stand_in.keys[algorithm].certificate
    assert request.verdict == "ok"
    assert essence(request.request)["credential"] == str(certificate.serial_number)
    assert essence(request.request)["algorithm"] == (
        f"AWS4-X509-{'RSA' if algorithm.startswith('rsa') else 'ECDSA'}-SHA256"
    )


@every_key
async def test_one_shot_gets_a_session(stand_in: Token, algorithm: Algorithm, folder: Path) -> None:
    async with a_scene(stand_in, folder) as scene:
        outcome = await scene.run("credential-process", **scene.env(algorithm))
        assert outcome.document()["AccessKeyId"] == scene.aws.sessions[0].access_key_id
    assert scene.granted() == 1


@every_key
async def test_a_fixed_text_is_signed(stand_in: Token, algorithm: Algorithm, folder: Path) -> None:
    async with a_scene(stand_in, folder) as scene:
        flags = ["--pkcs11-lib", str(stand_in.module), "--pin-file", str(scene.pin_file)]
        outcome = await scene.run(
            "sign-string", "--private-key", stand_in.uri(algorithm), "--format", "text", *flags,
            **stand_in.env,
        )  # fmt: skip
    assert outcome.status == 0, outcome.errors
    public = stand_in.keys[algorithm].certificate.public_key()
    signature = bytes.fromhex(outcome.output)
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, fixed_text(public), padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(signature, fixed_text(public), ec.ECDSA(hashes.SHA256()))


async def test_the_certificate_may_be_in_a_file(stand_in: Token, folder: Path) -> None:
    certificate = folder / "tls.crt"
    certificate.write_bytes(stand_in.keys["p256"].pem)
    async with (
        a_scene(stand_in, folder) as scene,
        serving(scene, "p256", certificate=str(certificate)) as sidecar,
    ):
        assert ":assumed-role/reports/" in (await scene.who_am_i(sidecar))["arn"]


async def test_one_uri_is_enough_for_both(stand_in: Token, folder: Path) -> None:
    async with a_scene(stand_in, folder) as scene:
        env = scene.env("p256")
        del env["ROLESANYWHERE_PRIVATE_KEY"]
        outcome = await scene.run("credential-process", **env)
    assert outcome.status == 0, outcome.errors
    assert scene.granted() == 1


async def test_the_pin_may_come_by_the_uri(stand_in: Token, folder: Path) -> None:
    async with a_scene(stand_in, folder) as scene:
        env = scene.env("p256")
        del env["ROLESANYWHERE_PIN_FILE"]
        uri = f"{stand_in.uri('p256')}?pin-source=file:{scene.pin_file}"
        env |= {"ROLESANYWHERE_PRIVATE_KEY": uri, "ROLESANYWHERE_CERTIFICATE": uri}
        outcome = await scene.run("credential-process", **env)
    assert outcome.status == 0, outcome.errors
    assert scene.granted() == 1
