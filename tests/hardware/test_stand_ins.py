"""The stand-ins are tokens to others too: OpenSC finds in them what the tests say is there."""

import hashlib
import os
import re
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from tests.hardware.tokens import Token

DIGEST = hashlib.sha256(b"what is signed").digest()


def opensc(token: Token, *arguments: str) -> str:
    """What pkcs11-tool says of a token."""
    done = subprocess.run(
        ["pkcs11-tool", "--module", str(token.module), "--token-label", token.label, *arguments],
        env={"PATH": os.environ["PATH"], **token.env}, check=True,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout


def test_opensc_lists_the_same_certificates(stand_in: Token) -> None:
    told = opensc(stand_in, "--list-objects", "--type", "cert")
    found = re.findall(r"label: +(.+)\n(?:.*\n)*? *ID: +([0-9a-f]+)", told)
    assert dict(found) == {key.label: key.id.hex() for key in stand_in.keys.values()}


def test_opensc_signs_for_the_certificate(stand_in: Token, folder: Path) -> None:
    key = stand_in.keys["p256"]
    (folder / "digest").write_bytes(DIGEST)
    opensc(
        stand_in, "--login", "--pin", stand_in.pin, "--sign", "--mechanism", "ECDSA",
        "--id", key.id.hex(), "--input-file", f"{folder}/digest",
        "--output-file", f"{folder}/signature", "--signature-format", "rs",
    )  # fmt: skip
    raw = (folder / "signature").read_bytes()
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    public = key.certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(encode_dss_signature(r, s), DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))
