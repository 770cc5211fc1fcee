"""``serve`` as a real process: what an unmodified SDK gets from it, and what it survives."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes import aws_clients
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.faults import Reset, server_error
from tests.fakes.pki import Authority, Identity
from tests.fakes.recorded import essence
from tests.fakes.world import ACCOUNT, PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.sidecars import PATIENCE_SECONDS, RunningSidecar, a_sidecar, eventually

WHO_AM_I = """
import boto3, json, sys
given = json.load(sys.stdin)
session = boto3.Session(region_name="eu-west-1")
caller = session.client("sts", endpoint_url=given["sts"]).get_caller_identity()
method = session.get_credentials().method
print(json.dumps({"arn": caller["Arn"], "account": caller["Account"], "method": method}))
"""


@dataclass
class Stage:
    """A workload's folder and identity, and the AWS that knows its authority."""

    aws: FakeAWS
    root: Authority
    identity: Identity
    folder: Path

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def token(self) -> str:
        return self.token_file.read_text()

    @property
    def env(self) -> dict[str, str]:
        return {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_ENDPOINT": self.aws.rolesanywhere_url,
            "ROLESANYWHERE_CA_BUNDLE": str(self.aws.ca_file),
            "ROLESANYWHERE_CERTIFICATE": str(self.folder / "identity" / "tls.crt"),
            "ROLESANYWHERE_PRIVATE_KEY": str(self.folder / "identity" / "tls.key"),
            "ROLESANYWHERE_TOKEN_FILE": str(self.token_file),
            "ROLESANYWHERE_LOG_LEVEL": "debug",
        }

    def new_identity(self) -> Identity:
        return self.root.leaf(at=utc_now())

    def mount(self, certificate: bytes, key: bytes) -> None:
        """Replace the identity's files as a kubelet does: all at once, by one renamed link."""
        volume = self.folder / "identity"
        fresh = volume / f"..{len(list(volume.iterdir()))}"
        fresh.mkdir()
        (fresh / "tls.crt").write_bytes(certificate)
        (fresh / "tls.key").write_bytes(key)
        (volume / "..next").symlink_to(fresh.name)
        (volume / "..next").replace(volume / "..data")
        for name in ("tls.crt", "tls.key"):
            if not (volume / name).is_symlink():
                (volume / name).symlink_to(f"..data/{name}")

    def serials(self) -> list[str]:
        """The serial numbers that signed the requests for sessions so far."""
        asked = [one for one in self.aws.requests if one.service == "rolesanywhere"]
        return [essence(one.request)["credential"] for one in asked]

    def assert_discreet(self, log: str) -> None:
        """Nothing that was secret in this test is in ``log``."""
        secrets = [self.token] if self.token_file.exists() else []
        for session in self.aws.sessions:
            secrets += [session.secret_access_key, session.session_token]
        key = self.identity.key_pem().decode().splitlines()[1:-1]
        assert log
        assert [secret for secret in [*secrets, *key] if secret in log] == []


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    root = Authority.root(at=utc_now())
    (tmp_path / "identity").mkdir()
    async with FakeAWS.start(small_world(root.certificate), tls_folder=tmp_path) as aws:
        stage = Stage(aws, root, root.leaf(at=utc_now()), tmp_path)
        stage.mount(stage.identity.certificate_pem, stage.identity.key_pem())
        yield stage


@asynccontextmanager
async def serving(stage: Stage, **more: str) -> AsyncIterator[RunningSidecar]:
    """A ready sidecar whose log is searched for secrets in the end."""
    async with a_sidecar(stage.folder, stage.env | more) as sidecar:
        await sidecar.until_ready()
        yield sidecar
    stage.assert_discreet(sidecar.log)


async def test_boto3_gets_container_credentials_that_sts_accepts(stage: Stage) -> None:
    async with serving(stage) as sidecar:
        caller = await aws_clients.run(
            WHO_AM_I,
            {"sts": stage.aws.sts_url},
            AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{sidecar.port}/v1/credentials",
            AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(stage.token_file),
            AWS_CA_BUNDLE=str(stage.aws.ca_file),
        )
    assert caller["method"] == "container-role"
    assert caller["account"] == ACCOUNT
    assert ":assumed-role/reports/" in caller["arn"]


@pytest.mark.parametrize("slash", ["", "/"])
async def test_boto3_gets_credentials_by_imdsv2(stage: Stage, slash: str) -> None:
    async with serving(stage) as sidecar:
        caller = await aws_clients.run(
            WHO_AM_I,
            {"sts": stage.aws.sts_url},
            AWS_EC2_METADATA_SERVICE_ENDPOINT=f"http://127.0.0.1:{sidecar.port}{slash}",
            AWS_EC2_METADATA_DISABLED="false",
            AWS_EC2_METADATA_V1_DISABLED="true",
            AWS_CA_BUNDLE=str(stage.aws.ca_file),
        )
    assert caller["method"] == "iam-role"
    assert ":assumed-role/reports/" in caller["arn"]


async def test_three_hundred_callers_at_once_cost_one_session(stage: Stage) -> None:
    async with serving(stage) as sidecar:
        async with asyncio.timeout(PATIENCE_SECONDS):
            answers = await asyncio.gather(*(sidecar.credentials(stage.token) for _ in range(300)))
        assert [status for status, _ in answers] == [200] * 300
    assert len(stage.serials()) == 1


async def test_a_rotated_certificate_is_picked_up_long_before_the_session_ages(
    stage: Stage,
) -> None:
    async with serving(stage) as sidecar:
        _, before = await sidecar.credentials(stage.token)
        rotated = stage.new_identity()
        stage.mount(rotated.certificate_pem, rotated.key_pem())

        async def renewed() -> bool:
            return (await sidecar.credentials(stage.token))[1] != before

        await eventually(renewed)
        stage.identity = rotated
    assert stage.serials()[-1] == str(rotated.certificate.serial_number)


async def test_a_sighup_renews_long_before_the_session_ages(stage: Stage) -> None:
    async with serving(stage) as sidecar:
        await sidecar.until_ready()
        _, first = await sidecar.credentials(stage.token)
        sidecar.process.send_signal(signal.SIGHUP)

        async def renewed() -> bool:
            _, document = await sidecar.credentials(stage.token)
            return document["AccessKeyId"] != first["AccessKeyId"]

        await eventually(renewed)
        assert [one["signal"] for one in sidecar.events("renewal asked for")] == ["SIGHUP"]
        for _ in range(50):
            sidecar.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.02)
        assert len(stage.aws.requests) <= 5  # not a request for each


async def test_a_certificate_that_the_service_refuses_takes_nothing_away(stage: Stage) -> None:
    async with serving(stage) as sidecar:
        served = await sidecar.credentials(stage.token)
        stranger = Authority.root("stranger", at=utc_now()).leaf(at=utc_now())
        stage.mount(stranger.certificate_pem, stranger.key_pem())

        async def told() -> bool:
            status, sentence = await sidecar.probe("/readyz")
            return status == 200 and "Untrusted Signing Certificate" in sentence

        await eventually(told)
        assert await sidecar.credentials(stage.token) == served
        [failed] = sidecar.events("session renewal failed")
        assert (failed["level"], failed["code"]) == ("error", "AccessDenied")
        assert failed["still_serving"]
        assert failed["retry_in_seconds"] >= 15
        healed = stage.new_identity()
        stage.mount(healed.certificate_pem, healed.key_pem())

        async def renewed() -> bool:
            return stage.serials()[-1] == str(healed.certificate.serial_number)

        await eventually(renewed)


async def test_garbage_in_mid_rotation_is_survived_and_named(stage: Stage) -> None:
    async with serving(stage) as sidecar:
        served = await sidecar.credentials(stage.token)
        stage.mount(b"not a certificate", b"not a key")

        async def complained() -> bool:
            return "tls." in sidecar.log and '"level": "warning"' in sidecar.log

        async def readiness_tells() -> bool:
            status, sentence = await sidecar.probe("/readyz")
            return status == 200 and sentence.startswith("ready, for now") and "tls." in sentence

        await eventually(complained)
        await eventually(readiness_tells)
        assert (await sidecar.credentials(stage.token))[0] == 200
        assert served[0] == 200
        healed = stage.new_identity()
        stage.mount(healed.certificate_pem, healed.key_pem())

        async def picked_up() -> bool:
            return str(healed.certificate.serial_number) in stage.serials()

        await eventually(picked_up)
        assert (await sidecar.probe("/readyz")) == (200, "ready\n")


async def test_it_starts_with_aws_down_says_so_and_heals(stage: Stage) -> None:
    stage.aws.faults.always(server_error())
    async with a_sidecar(stage.folder, stage.env) as sidecar:

        async def unready() -> bool:
            status, sentence = await sidecar.probe("/readyz")
            return status == 503 and "ServiceUnavailable" in sentence

        await eventually(unready)
        status, error = await sidecar.credentials(stage.token)
        assert (status, error["code"]) == (503, "ServiceUnavailable")
        assert (await sidecar.probe("/livez"))[0] == 200
        stage.aws.faults.clear()
        await sidecar.until_ready()
    stage.assert_discreet(sidecar.log)


async def test_it_starts_with_an_unreadable_certificate_says_so_and_heals(stage: Stage) -> None:
    stage.mount(b"", b"")
    async with a_sidecar(stage.folder, stage.env) as sidecar:

        async def unready() -> bool:
            status, sentence = await sidecar.probe("/readyz")
            return status == 503 and "tls." in sentence

        await eventually(unready)
        stage.mount(stage.identity.certificate_pem, stage.identity.key_pem())
        await sidecar.until_ready()


async def test_files_that_come_late_are_used_without_waiting_out_a_back_off(stage: Stage) -> None:
    (stage.folder / "identity" / "..data").unlink()
    async with a_sidecar(stage.folder, stage.env) as sidecar:
        failed = await sidecar.logged("session renewal failed")
        stage.mount(stage.identity.certificate_pem, stage.identity.key_pem())
        await sidecar.until_ready()
    wait = timedelta(seconds=failed["retry_in_seconds"])
    [issued] = stage.aws.sessions
    asked_at = issued.session.expires - timedelta(hours=1)
    assert asked_at < datetime.fromisoformat(failed["time"]) + wait


async def test_with_aws_down_a_session_is_served_to_its_end_and_not_beyond(stage: Stage) -> None:
    # No service lets sessions be so short; this way one ends while a test waits.
    stage.aws.account.world = small_world(stage.root.certificate, duration_seconds=8)
    stage.aws.faults.next(None)
    stage.aws.faults.always(Reset())
    async with a_sidecar(stage.folder, stage.env) as sidecar:
        await sidecar.until_ready()
        [issued] = stage.aws.sessions
        served: list[bool] = []

        async def over() -> bool:
            asked_at = utc_now()
            status, document = await sidecar.credentials(stage.token)
            served.append(status == 200)
            if status == 200:
                assert asked_at < issued.session.expires
                assert document["AccessKeyId"] == issued.access_key_id
            else:
                assert utc_now() >= issued.session.expires
            return status == 503

        await eventually(over)
        assert any(served)
        assert (await sidecar.probe("/readyz"))[0] == 503
        assert (await sidecar.probe("/livez"))[0] == 200
        assert sidecar.process.returncode is None
    assert issued.secret_access_key not in sidecar.log
    assert issued.session_token not in sidecar.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_exit_code_0(stage: Stage, number: signal.Signals) -> None:
    async with serving(stage) as sidecar:
        assert await sidecar.terminated(number) == 0
    assert sidecar.events("stopped")


async def test_sigterm_ends_it_in_the_middle_of_an_attempt_too(stage: Stage) -> None:
    stage.aws.faults.always(Reset())
    async with a_sidecar(stage.folder, stage.env) as sidecar:

        async def failing() -> bool:
            return bool(stage.aws.requests)

        await eventually(failing)
        assert await sidecar.terminated() == 0


async def test_a_thread_that_hangs_delays_the_end_by_seconds_only(stage: Stage) -> None:
    trap = stage.folder / "trap"
    os.mkfifo(trap)  # whoever opens it to read waits for a writer that never comes
    env = stage.env | {"ROLESANYWHERE_CA_BUNDLE": str(trap)}
    async with a_sidecar(stage.folder, env) as sidecar:

        async def alive() -> bool:
            return (await sidecar.probe("/livez"))[0] == 200

        await eventually(alive)
        assert await sidecar.terminated() == 0


async def test_the_token_survives_a_restart(stage: Stage) -> None:
    async with serving(stage):
        first = stage.token
    async with serving(stage):
        assert stage.token == first


@pytest.mark.parametrize("which", ["ROLESANYWHERE_PORT", "ROLESANYWHERE_PROBE_PORT"])
async def test_a_port_that_is_taken_is_one_sentence_and_exit_code_1(
    stage: Stage, which: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with a_sidecar(stage.folder, stage.env | {which: port}) as sidecar:
            assert await sidecar.ended() == 1
    [record] = sidecar.events("cannot serve")
    assert record["code"] == "PortUnavailable"
    assert port in record["problem"]
    assert "Traceback" not in sidecar.log


async def test_a_token_file_in_no_folder_is_one_sentence_and_exit_code_1(stage: Stage) -> None:
    env = stage.env | {"ROLESANYWHERE_TOKEN_FILE": "/nonexistent/token"}
    async with a_sidecar(stage.folder, env) as sidecar:
        assert await sidecar.ended() == 1
    [record] = sidecar.events("cannot serve")
    assert record["code"] == "TokenFileUnusable"
    assert "/nonexistent/token" in record["problem"]


async def test_every_wrong_setting_is_named_at_once_with_exit_code_2(tmp_path: Path) -> None:
    env = {"ROLESANYWHERE_ROLE_ARN": "oops", "ROLESANYWHERE_DURATION_SECONDS": "soon"}
    async with a_sidecar(tmp_path, env) as sidecar:
        assert await sidecar.ended() == 2
    for name in ("ROLE_ARN", "DURATION_SECONDS", "PROFILE_ARN", "CERTIFICATE"):
        assert f"ROLESANYWHERE_{name}" in sidecar.log
