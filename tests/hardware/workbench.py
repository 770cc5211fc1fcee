"""What a token's owner does to it, in a process of its own: ``python -m tests.hardware.workbench``.

Reads one JSON document: module, token label, PIN, and a list of jobs. Prints a list of what they
gave. A process of its own, because a PKCS#11 module keeps the settings that it was loaded with, and
because the sidecar may not share one with its tests.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_SECONDS: Final = 60.0

Algorithm: TypeAlias = Literal["rsa-2048", "rsa-3072", "p256", "p384"]
Job: TypeAlias = Mapping[str, Any]

# What PKCS#11 and OpenSSL call the curves.
_CURVES: Final[Mapping[str, str]] = {"p256": "secp256r1", "p384": "secp384r1"}


def generate(
    algorithm: Algorithm, label: str, identifier: bytes, *, always_authenticate: bool = False
) -> Job:
    """Make a key pair; gives its public key (DER, hexadecimal)."""
    return {
        "do": "generate", "algorithm": algorithm, "label": label, "identifier": identifier.hex(),
        "always_authenticate": always_authenticate,
    }  # fmt: skip


def certify(der: bytes, label: str, identifier: bytes) -> Job:
    """Put a certificate into the token."""
    return {"do": "certify", "der": der.hex(), "label": label, "identifier": identifier.hex()}


def read_public(label: str) -> Job:
    """Gives id and public key (DER), both hexadecimal, of the key pair ``label``."""
    return {"do": "read_public", "label": label}


def sign(label: str, mechanism: str, data: bytes) -> Job:
    """Gives a signature, hexadecimal."""
    return {"do": "sign", "label": label, "mechanism": mechanism, "data": data.hex()}


def destroy(kind: Literal["PRIVATE_KEY", "PUBLIC_KEY", "CERTIFICATE"], label: str) -> Job:
    """Take the objects of a kind with this label out of the token."""
    return {"do": "destroy", "kind": kind, "label": label}


def work(module: Path, label: str, pin: str, *jobs: Job, env: Mapping[str, str]) -> Sequence[Any]:
    """Do ``jobs``, and say what each gave."""
    asked = {"module": str(module), "label": label, "pin": pin, "jobs": jobs}
    done = subprocess.run(
        [sys.executable, "-m", "tests.hardware.workbench"],
        cwd=ROOT, env={"PATH": os.environ.get("PATH", ""), **env}, input=json.dumps(asked),
        capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"the token {label} refused: {done.stderr.strip()[-1000:]}")
    given: list[Any] = json.loads(done.stdout)
    return given


def _main() -> None:
    import pkcs11

    asked = json.load(sys.stdin)
    token = pkcs11.lib(asked["module"]).get_token(token_label=asked["label"])
    with token.open(rw=True, user_pin=asked["pin"]) as session:
        print(json.dumps([_DO[job.pop("do")](session, **job) for job in asked["jobs"]]))


def _generate(
    session: Any, *, algorithm: str, label: str, identifier: str, always_authenticate: bool
) -> str:
    from pkcs11 import Attribute, KeyType
    from pkcs11.util.ec import encode_named_curve_parameters

    told: dict[str, Any] = {
        "id": bytes.fromhex(identifier), "label": label, "store": True,
        "private_template": {Attribute.ALWAYS_AUTHENTICATE: True} if always_authenticate else {},
    }  # fmt: skip
    if algorithm in _CURVES:
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[algorithm])}
        maker = session.create_domain_parameters(KeyType.EC, curve, local=True)
        public, _ = maker.generate_keypair(**told)
    else:
        public, _ = session.generate_keypair(KeyType.RSA, int(algorithm[-4:]), **told)
    return _public_der(public).hex()


def _certify(session: Any, *, der: str, label: str, identifier: str) -> None:
    from pkcs11 import Attribute
    from pkcs11.util.x509 import decode_x509_certificate

    session.create_object(
        decode_x509_certificate(bytes.fromhex(der))
        | {Attribute.TOKEN: True, Attribute.LABEL: label, Attribute.ID: bytes.fromhex(identifier)}
    )


def _read_public(session: Any, *, label: str) -> dict[str, str]:
    from pkcs11 import Attribute, ObjectClass

    wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: label}
    [public] = list(session.get_objects(wanted))
    return {"id": public[Attribute.ID].hex(), "public": _public_der(public).hex()}


def _sign(session: Any, *, label: str, mechanism: str, data: str) -> str:
    from pkcs11 import Mechanism, ObjectClass

    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
    signature: bytes = key.sign(bytes.fromhex(data), mechanism=Mechanism[mechanism])
    return signature.hex()


def _destroy(session: Any, *, kind: str, label: str) -> None:
    from pkcs11 import Attribute, ObjectClass

    wanted = {Attribute.CLASS: ObjectClass[kind], Attribute.LABEL: label}
    for held in list(session.get_objects(wanted)):
        held.destroy()


def _public_der(public: Any) -> bytes:
    from pkcs11 import KeyType
    from pkcs11.util.ec import encode_ec_public_key
    from pkcs11.util.rsa import encode_rsa_public_key

    encode = encode_rsa_public_key if public.key_type is KeyType.RSA else encode_ec_public_key
    der: bytes = encode(public)
    return der


_DO: Final[Mapping[str, Callable[..., Any]]] = {
    "generate": _generate, "certify": _certify, "read_public": _read_public, "sign": _sign,
    "destroy": _destroy,
}  # fmt: skip

if __name__ == "__main__":
    _main()
