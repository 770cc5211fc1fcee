"""Which token, certificate and key a URI means, and what is said when that is not one of each."""

import base64
import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.aws import utc_now
from tests.fakes.pki import LEAF, Authority
from tests.fakes.recorded import essence
from tests.fakes.world import TRUST_ANCHOR_ARN, TrustAnchor
from tests.hardware import softhsm, workbench
from tests.hardware.scenes import Scene, a_scene
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tokens import Token, certified, encoded
from tests.support.commands import Outcome


async def told_of(scene: Scene, uri: str, *, certificate: str | None = None) -> Outcome:
    """What a one-shot makes of ``uri`` for the key, and, unless given, for the certificate."""
    env = scene.env(certificate=certificate or uri, private_key=uri)
    return await scene.run("credential-process", **env)


def public_key(hsm: SoftHsm) -> bytes:
    """Of the P-256 key, DER."""
    held = hsm.token.keys["p256"].certificate.public_key()
    return held.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


async def test_two_tokens_of_one_label_are_listed_and_a_serial_number_picks_one(
    hsm: SoftHsm, folder: Path
) -> None:
    softhsm.initialize(hsm.token.env, softhsm.LABEL, softhsm.PIN)
    async with a_scene(hsm.token, folder) as scene:
        refused = await told_of(scene, hsm.token.uri("p256"))
        assert refused.status != 0
        assert refused.errors.count("serial=") >= 2
        serials = {part.split(";")[0] for part in refused.errors.split("serial=")[1:]}
        picked = [
            await told_of(scene, f"{hsm.token.uri('p256')};serial={each.strip(',. )')}")
            for each in sorted(serials)
        ]
    assert sorted(each.status == 0 for each in picked) == [False, True]


async def test_two_keys_of_one_label_are_listed_by_id(hsm: SoftHsm, folder: Path) -> None:
    hsm.do(workbench.generate("p256", "p256", b"\x77"))
    key = hsm.token.keys["p256"]
    file = folder / "tls.crt"
    file.write_bytes(key.pem)
    async with a_scene(hsm.token, folder) as scene:
        refused = await told_of(scene, "pkcs11:token=node-hsm;object=p256", certificate=str(file))
        assert refused.status != 0
        assert encoded(key.id) in refused.errors
        assert "%77" in refused.errors or "=w" in refused.errors
        picked = await told_of(
            scene, f"pkcs11:token=node-hsm;object=p256;id={encoded(key.id)}", certificate=str(file)
        )
        assert picked.status == 0, picked.errors


def put_in_latin_1(token: Token, folder: Path) -> None:
    """A certificate and a key of somebody whose tool is of another century."""
    label = "schl\xfcssel".encode("latin-1")
    (folder / "stranger.der").write_bytes(token.root.certificate.public_bytes(Encoding.DER))
    tool: list[str | bytes] = [
        "pkcs11-tool", "--module", str(token.module), "--token-label", token.label, "--login",
        "--pin", token.pin, "--id", "66", "--label", label,
    ]  # fmt: skip
    for job in (
        ["--write-object", str(folder / "stranger.der"), "--type", "cert"],
        ["--keypairgen", "--key-type", "EC:prime256v1"],
    ):
        subprocess.run(
            [*tool, *job], env={"PATH": os.environ["PATH"], **token.env}, check=True,
            capture_output=True,
        )  # fmt: skip


async def test_a_strangers_object_whose_label_is_no_utf8_hides_nothing(
    hsm: SoftHsm, folder: Path
) -> None:
    token = hsm.token
    put_in_latin_1(token, folder)
    async with a_scene(token, folder) as scene:
        got = await told_of(scene, token.uri("p256"))
        listed = await scene.run(
            "read-certificate-data", **scene.env(certificate=f"pkcs11:token={token.label}")
        )
    assert got.status == 0, got.errors
    assert listed.status == 0, listed.errors
    assert "id=%66" in listed.output


async def test_a_certificate_without_its_key_is_called_so(hsm: SoftHsm, folder: Path) -> None:
    hsm.do(workbench.destroy("PRIVATE_KEY", "p256"))
    async with a_scene(hsm.token, folder) as scene:
        refused = await told_of(scene, hsm.token.uri("p256"))
    assert refused.status != 0
    assert "private key" in refused.errors
    assert encoded(hsm.token.keys["p256"].id) in refused.errors
    assert scene.requests() == []


async def test_a_certificate_without_an_id_finds_no_key_by_chance(
    hsm: SoftHsm, folder: Path
) -> None:
    lonely = Authority.root(at=utc_now()).leaf(at=utc_now())
    hsm.do(workbench.certify(lonely.der, "lonely", b""))
    async with a_scene(hsm.token, folder) as scene:
        refused = await told_of(scene, "pkcs11:token=node-hsm;object=lonely")
    assert refused.status != 0
    assert scene.requests() == []


async def test_a_key_that_does_not_match_its_certificate_is_found_out_before_aws_is_asked(
    hsm: SoftHsm, folder: Path
) -> None:
    wrong = hsm.token.keys["p256"]
    hsm.do(
        workbench.destroy("PRIVATE_KEY", "p256"),
        workbench.destroy("PUBLIC_KEY", "p256"),
        workbench.generate("p256", "p256", wrong.id),
    )
    async with a_scene(hsm.token, folder) as scene:
        refused = await told_of(scene, hsm.token.uri("p256"))
    assert refused.status != 0
    assert "match" in refused.errors or "verif" in refused.errors
    assert scene.requests() == []


async def test_an_expired_certificate_in_a_token_is_called_so(hsm: SoftHsm, folder: Path) -> None:
    past = replace(LEAF, starts=timedelta(days=-9), lives=timedelta(days=2))
    key = hsm.token.keys["p256"]
    expired = certified(hsm.token.root, public_key(hsm), template=past)
    hsm.do(
        workbench.destroy("CERTIFICATE", "p256"),
        workbench.certify(expired.public_bytes(Encoding.DER), "p256", key.id),
    )
    async with a_scene(hsm.token, folder) as scene:
        refused = await told_of(scene, hsm.token.uri("p256"))
    assert refused.status != 0
    assert "expired" in refused.errors


async def test_a_chain_in_the_token_goes_along_in_its_order_and_without_strangers(
    hsm: SoftHsm, folder: Path
) -> None:
    root = Authority.root(at=utc_now())
    upper = root.intermediate("Upper", at=utc_now())
    lower = upper.intermediate("Lower", at=utc_now())
    stranger = Authority.root("Stranger", at=utc_now())
    leaf = certified(lower, public_key(hsm))
    key = hsm.token.keys["p256"]
    hsm.do(
        workbench.destroy("CERTIFICATE", "p256"),
        workbench.certify(root.der, "root", b"\xa0"),
        workbench.certify(upper.der, "upper", b"\xa1"),
        workbench.certify(stranger.der, "stranger", b"\xa2"),
        workbench.certify(lower.der, "lower", b"\xa3"),
        workbench.certify(leaf.public_bytes(Encoding.DER), "p256", key.id),
    )
    async with a_scene(hsm.token, folder) as scene:
        scene.aws.account.world = replace(
            scene.aws.account.world,
            trust_anchors={TRUST_ANCHOR_ARN: TrustAnchor((root.certificate,))},
        )
        granted = await told_of(scene, hsm.token.uri("p256"))
        assert granted.status == 0, granted.errors
    [request] = scene.requests()
    sent = essence(request.request)["headers"]["x-amz-x509-chain"].split(",")
    assert sent == [_base64(lower.der), _base64(upper.der)]


def _base64(der: bytes) -> str:
    return base64.b64encode(der).decode()


async def test_a_label_that_nobody_has_is_told_what_there_is(hsm: SoftHsm, folder: Path) -> None:
    async with a_scene(hsm.token, folder) as scene:
        refused = await told_of(scene, "pkcs11:token=nobody;id=%03")
    assert refused.status != 0
    assert "node-hsm" in refused.errors


async def test_a_module_that_is_none_is_named(hsm: SoftHsm, folder: Path) -> None:
    other = folder / "libnothing.so"
    other.write_text("not a library")
    async with a_scene(hsm.token, folder) as scene:
        for module in (other, folder / "missing.so"):
            env = scene.env(pkcs11_module=str(module))
            refused = await scene.run("credential-process", **env)
            assert refused.status != 0
            assert str(module) in refused.errors


async def test_a_module_is_never_taken_from_the_uri(hsm: SoftHsm, folder: Path) -> None:
    async with a_scene(hsm.token, folder) as scene:
        refused = await told_of(scene, f"{hsm.token.uri('p256')}?module-path={hsm.token.module}")
    assert refused.status != 0
    assert "module-path" in refused.errors
