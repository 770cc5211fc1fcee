"""What the child makes of a module's answers; real modules are asked in ``tests/hardware``."""

import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
from pkcs11 import Attribute
from pkcs11.attributes import AttributeMapper

from rolesanywhere_sidecar.identities.pkcs11.cryptoki import Cryptoki
from rolesanywhere_sidecar.identities.pkcs11.mechanisms import KeyType


def loaded(then: str = "") -> set[str]:
    """The modules that a process has once it has imported `cryptoki`, and done so much more."""
    program = (
        "import rolesanywhere_sidecar.identities.pkcs11.cryptoki, pkcs11, sys\n"
        f"{then}\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_what_encodes_keys_is_loaded_for_who_looks_into_it_alone() -> None:
    assert not {"asn1crypto", "cryptography"} & loaded()
    assert "asn1crypto" in loaded("pkcs11.util.ec.encode_named_curve_parameters('secp256r1')")


class Held:
    """An object, read by python-pkcs11's own mapper from what a module would give."""

    def __init__(self, raw: Mapping[Attribute, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, wanted: Attribute) -> object:
        return AttributeMapper().unpack_attributes(wanted, self._raw.get(wanted, b""))


class Session:
    """Finds the same objects each time."""

    def __init__(self, *held: Held) -> None:
        self._held = held

    def get_objects(self, _: object) -> Iterator[Held]:
        return iter(self._held)


@pytest.mark.parametrize(
    "strange",
    [
        {Attribute.KEY_TYPE: (0x80000001).to_bytes(8, "little")},
        {Attribute.KEY_TYPE: b"?"},
        {Attribute.LABEL: b"\xff"},
        {Attribute.ALWAYS_AUTHENTICATE: b"??"},
    ],
    ids=str,
)
def test_a_strangers_key_that_cannot_be_read_hides_no_other(
    strange: Mapping[Attribute, bytes],
) -> None:
    ours = {Attribute.KEY_TYPE: KeyType.EC.to_bytes(8, "little"), Attribute.LABEL: b"ours"}
    token = Cryptoki()
    token._sessions[0] = Session(Held({**ours, **strange}), Held(ours))
    answer = token.answer({"do": "keys", "slot": 0, "id": None, "label": None})
    found = answer["result"][-1]
    assert (found["object"], found["key_type"]) == ("ours", KeyType.EC)
