"""The module that fails as it is told to does so, and else is the module that it stands before."""

import subprocess
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.hardware import workbench
from tests.hardware.faults import FaultModule

DATA = b"what is signed"


def signed(faulty: FaultModule) -> bytes:
    token = faulty.token
    job = workbench.sign("rsa-2048", "SHA256_RSA_PKCS", DATA)
    [signature] = workbench.work(token.module, token.label, token.pin, job, env=token.env)
    return bytes.fromhex(signature)


def verify(faulty: FaultModule, signature: bytes) -> None:
    public = faulty.token.keys["rsa-2048"].certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(signature, DATA, padding.PKCS1v15(), hashes.SHA256())


def test_without_a_fault_it_is_the_real_one_and_tells_its_calls(faulty: FaultModule) -> None:
    verify(faulty, signed(faulty))
    [login] = faulty.calls("C_Login")
    assert (login.rv, login.detail) == (0, 1)
    assert [call.detail for call in faulty.calls("C_SignInit")] == [0x40]
    assert len(faulty.signatures()) == 1
    assert faulty.token.pin not in (faulty.folder / "calls").read_text()


@pytest.mark.parametrize(
    ("function", "rv", "told"),
    [
        ("C_Initialize", 0x30, "DeviceError"),
        ("C_OpenSession", 0xB1, "SessionCount"),
        ("C_Login", 0xA4, "PinLocked"),
        ("C_FindObjectsInit", 0x101, "UserNotLoggedIn"),
        ("C_SignInit", 0x70, "MechanismInvalid"),
        ("C_Sign", 0x32, "DeviceRemoved"),
        ("C_GetInfo", 0x5, "GeneralError"),
    ],
)
def test_any_return_code_at_any_call(
    faulty: FaultModule, function: str, rv: int, told: str
) -> None:
    faulty.fault(function, "rv", rv)
    with pytest.raises(AssertionError, match=told):
        signed(faulty)
    assert rv in {call.rv for call in faulty.calls(function)}


def test_a_fault_that_is_to_happen_once_does(faulty: FaultModule) -> None:
    faulty.fault("C_Sign", "rv", 0x30, once=True)
    assert faulty.pending("C_Sign")
    with pytest.raises(AssertionError, match="DeviceError"):
        signed(faulty)
    assert not faulty.pending("C_Sign")
    verify(faulty, signed(faulty))


def test_a_spoiled_signature_has_its_length_and_is_wrong(faulty: FaultModule) -> None:
    faulty.fault("C_Sign", "spoil")
    signature = signed(faulty)
    assert len(signature) == 256
    with pytest.raises(InvalidSignature):
        verify(faulty, signature)


def test_a_fault_of_one_slot_leaves_the_others(faulty: FaultModule) -> None:
    faulty.fault("C_GetTokenInfo", "rv", 0x30, 4_294_967_295)
    verify(faulty, signed(faulty))
    assert {call.rv for call in faulty.calls("C_GetTokenInfo")} == {0}


def test_a_crash_is_the_end_of_the_process(faulty: FaultModule) -> None:
    faulty.fault("C_Sign", "crash")
    with pytest.raises(AssertionError, match=r"refused: $"):
        signed(faulty)


def test_it_hangs_until_it_is_killed(faulty: FaultModule, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty.fault("C_Sign", "hang")
    monkeypatch.setattr(workbench, "TIMEOUT_SECONDS", 2.0)
    since = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        signed(faulty)
    assert time.monotonic() - since >= 2
