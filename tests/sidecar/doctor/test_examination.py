"""The examination as a whole: what goes on, what is left out, and when it ends."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from rolesanywhere_sidecar.doctor import examination, journey, network, places, ports
from rolesanywhere_sidecar.doctor.coherence import Told
from rolesanywhere_sidecar.doctor.examination import Examination
from rolesanywhere_sidecar.doctor.findings import Check, Finding
from tests.fakes.pki import LEAF, Authority
from tests.support.examined import FAILURE, OK, SKIPPED, of, told, troubles
from tests.support.ports import free_port

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
AWS_STEPS = [*journey.STEPS, Check.CREATE_SESSION]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    leaf = Authority.root(at=NOW).leaf(at=NOW, template=replace(LEAF, lives=timedelta(days=90)))
    path = tmp_path / "identity.pem"
    path.touch(mode=0o600)
    path.write_bytes(leaf.certificate_pem + leaf.key_pem())
    return {
        "certificate": str(path),
        "port": str(free_port()),
        "probe_port": str(free_port()),
    }


async def examined(given: Told, *, offline: bool = False) -> list[Finding]:
    whole = Examination(given, {}, lambda: NOW, offline=offline)
    return [finding async for finding in whole.findings()]


async def test_offline_nothing_of_the_network_is_touched(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("the network was touched")

    for name in ("resolve", "connect", "shake_hands", "ask_time"):
        monkeypatch.setattr(network, name, forbidden)
    found = await examined(told(**files), offline=True)
    assert troubles(found) == []
    assert not {each.check for each in found} & set(AWS_STEPS)


async def test_checks_come_in_the_order_of_their_words(files: dict[str, str]) -> None:
    found = await examined(told(**files, endpoint="https://127.0.0.1:1"))
    order = list(Check)
    ranks = [order.index(each.check) for each in found]
    assert ranks == sorted(ranks)


async def test_a_closed_port_leaves_out_what_comes_after_it(files: dict[str, str]) -> None:
    found = await examined(told(**files, endpoint=f"https://127.0.0.1:{free_port()}"))
    assert troubles(found) == [
        (FAILURE, Check.TCP), (SKIPPED, Check.TLS), (SKIPPED, Check.CLOCK),
        (SKIPPED, Check.CREATE_SESSION),
    ]  # fmt: skip
    assert of(found, Check.TLS).sentence == "not until tcp is mended"
    assert "Connection refused" in of(found, Check.TCP).sentence


async def test_wrong_settings_still_let_the_rest_be_examined(files: dict[str, str]) -> None:
    endpoint = f"https://127.0.0.1:{free_port()}"
    found = await examined(told(**files, role_arn="oops", endpoint=endpoint))
    assert of(found, Check.SETTINGS).verdict is FAILURE
    assert of(found, Check.KEY_MATCH).verdict is OK
    assert of(found, Check.DNS).verdict is OK
    assert "settings" in of(found, Check.CREATE_SESSION).sentence


async def test_a_ca_bundle_that_is_none_leaves_out_the_network(
    files: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("garbage")
    found = await examined(told(**files, ca_bundle=str(tmp_path / "ca.pem")))
    assert of(found, Check.CA_BUNDLE).verdict is FAILURE
    assert {of(found, check).verdict for check in AWS_STEPS} == {SKIPPED}


async def test_a_name_server_that_hangs_is_not_waited_for(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any) -> NoReturn:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(network, "resolve", hang)
    monkeypatch.setattr(journey, "STEP_SECONDS", 0.05)
    found = await examined(told(**files, endpoint="https://aws.example"))
    assert of(found, Check.DNS).verdict is FAILURE
    assert "no answer within" in of(found, Check.DNS).sentence


async def test_a_file_system_that_hangs_is_told_and_the_rest_goes_on(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: Any) -> Sequence[Finding]:
        time.sleep(0.3)
        return []

    monkeypatch.setattr(places, "examine", hang)
    monkeypatch.setattr(examination, "FILES_SECONDS", 0.05)
    monkeypatch.setattr(ports, "ANSWER_SECONDS", 0.0)
    found = await examined(told(**files), offline=True)
    assert (FAILURE, Check.DEADLINE) in troubles(found)
    assert of(found, Check.SETTINGS).verdict is OK


async def test_the_whole_has_an_end_whatever_a_step_does(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> NoReturn:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(journey, "examine", hang)
    monkeypatch.setattr(examination, "WHOLE_SECONDS", 0.5)
    found = await examined(told(**files))
    assert found[-1].check is Check.DEADLINE


def test_the_limits_of_all_steps_end_within_half_a_minute() -> None:
    assert examination.WHOLE_SECONDS + 1 < 30
