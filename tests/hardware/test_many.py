"""Many signatures, one after another and at once: nothing leaks, nothing crashes, all verify."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from rolesanywhere_sidecar.identities.token_identity import TokenIdentity
from tests.hardware.faults import FaultModule
from tests.hardware.scenes import an_identity, descriptors
from tests.hardware.tokens import Token
from tests.hardware.tpm import Tpm
from tests.hardware.workbench import Algorithm

MANY: Final = 10_000
THREADS: Final = 8


@pytest.fixture
def identity(faulty: FaultModule, folder: Path) -> Iterator[TokenIdentity]:
    with an_identity(faulty.token, folder) as made:
        yield made


@pytest.mark.long
async def test_ten_thousand_signatures_leave_no_session_and_no_descriptor(
    faulty: FaultModule, identity: TokenIdentity
) -> None:
    _, key = await identity.load()
    await key.sign(b"the first")
    [child] = {call.pid for call in faulty.calls()}
    ours, its = descriptors("self"), descriptors(child)
    sessions = open_sessions(faulty)
    for number in range(MANY):
        # The key verifies each with the certificate.
        await key.sign(b"%d" % number)
    assert len(faulty.signatures()) >= MANY + 1
    assert {call.pid for call in faulty.calls()} == {child}
    assert (descriptors("self"), descriptors(child)) == (ours, its)
    assert open_sessions(faulty) == sessions
    assert len(faulty.calls("C_Login")) == 1


def open_sessions(faulty: FaultModule) -> int:
    counted = Counter(call.name for call in faulty.calls() if not call.rv)
    return counted["C_OpenSession"] - counted["C_CloseSession"]


async def test_threads_that_sign_at_once_crash_nothing(stand_in: Token, folder: Path) -> None:
    with an_identity(stand_in, folder) as identity:
        _, key = await identity.load()
        failed: list[BaseException] = []

        async def ten() -> None:
            for number in range(10):
                await key.sign(b"%d" % number)

        def work() -> None:
            try:
                asyncio.run(ten())
            except BaseException as wrong:  # whatever it was, the test shall tell
                failed.append(wrong)

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        await asyncio.gather(*(key.sign(b"%d" % number) for number in range(50)))
        for thread in threads:
            await asyncio.to_thread(thread.join)
        assert failed == []


@pytest.mark.parametrize("algorithm", ["rsa-2048", "p256"])
@pytest.mark.parametrize("payload", [bytearray(b"what"), memoryview(b"what")], ids=type)
async def test_no_module_meets_anything_but_bytes(
    faulty: FaultModule, folder: Path, algorithm: Algorithm, payload: bytes
) -> None:
    with an_identity(faulty.token, folder, algorithm) as identity:
        _, key = await identity.load()
        with suppress(TypeError):
            await key.sign(payload)
        await key.sign(b"what")
    assert {call.rv for call in faulty.calls("C_SignInit", "C_Sign")} == {0}
    assert len({call.pid for call in faulty.calls()}) == 1


async def test_a_signature_costs_one_call_for_it_and_no_search(
    faulty: FaultModule, identity: TokenIdentity
) -> None:
    _, key = await identity.load()
    await key.sign(b"the first")
    faulty.forget()
    await key.sign(b"the second")
    assert len(faulty.signatures()) == 1
    assert not faulty.calls("C_FindObjectsInit", "C_Login", "C_OpenSession", "C_GetSlotList")


async def test_a_tpm_signs_a_hundred_times_on_end(healthy_tpm: Tpm, folder: Path) -> None:
    with an_identity(healthy_tpm.token, folder) as identity:
        _, key = await identity.load()
        for number in range(100):
            await key.sign(b"%d" % number)
