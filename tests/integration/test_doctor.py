"""``doctor`` as a process, against a service that really verifies: all well, then each fault."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes import faults, pki
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import AUTHORITY, LEAF, Authority, Identity
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, World, small_world
from tests.support.commands import PATIENCE_SECONDS, Outcome, finished
from tests.support.ports import free_port
from tests.support.sidecars import a_sidecar

GOLDEN = Path(__file__).parent / "golden" / "doctor.txt"
ROOT = Authority.root(at=utc_now())
MIDDLE = ROOT.intermediate(at=utc_now(), template=replace(AUTHORITY, serial=0x1B1B1B1B1B))
LONG = replace(LEAF, lives=timedelta(days=90, minutes=90), serial=0x2A2A2A2A2A2A2A2A2A2A)
GOOD = MIDDLE.leaf("reports", at=utc_now(), template=LONG)
WORLD = small_world(ROOT.certificate)


@dataclass(frozen=True, slots=True)
class Patient:
    """A workload's folder and environment, to be examined."""

    folder: Path
    aws: FakeAWS
    env: dict[str, str]

    def identity(self, identity: Identity) -> None:
        """Put ``identity`` where the settings say."""
        (self.folder / "tls.crt").write_bytes(identity.certificate_pem + identity.chain_pem)
        (self.folder / "tls.key").write_bytes(identity.key_pem())
        (self.folder / "tls.crt").chmod(0o644)
        (self.folder / "tls.key").chmod(0o600)

    async def examined(self, *flags: str, **env: str) -> Outcome:
        command = ["-m", "rolesanywhere_sidecar", "doctor", *flags]
        return await finished(
            "/usr/bin/env", "-C", str(self.folder), sys.executable, *command,
            env={**self.env, **env},
        )  # fmt: skip

    async def troubles(self, **env: str) -> dict[str, dict[str, str]]:
        """What is not well by its check, of a run that printed JSON and no secret."""
        outcome = await self.examined("--output", "json", **env)
        assert outcome.errors == ""
        report = json.loads(outcome.output)
        found = {each["check"]: each for each in report["findings"] if each["verdict"] != "ok"}
        failed = [each for each in found.values() if each["verdict"] == "failure"]
        assert outcome.status == int(bool(failed))
        assert all(each["remedy"] for each in found.values() if each["verdict"] != "skipped")
        self.nothing_secret_in(outcome)
        return found

    def posted(self) -> int:
        """How often the service was asked for a session."""
        return sum(entry.request.method == "POST" for entry in self.aws.requests)

    def nothing_secret_in(self, outcome: Outcome) -> None:
        said = outcome.output + outcome.errors
        for issued in self.aws.sessions:
            assert issued.secret_access_key not in said
            assert issued.session_token not in said
            assert issued.access_key_id not in said
        assert "PRIVATE KEY" not in said


@asynccontextmanager
async def a_patient(
    folder: Path, *, world: World = WORLD, ahead: timedelta = timedelta()
) -> AsyncIterator[Patient]:
    """Somebody in good health; the service's clock is ``ahead``."""
    async with FakeAWS.start(world, tls_folder=folder, clock=lambda: utc_now() + ahead) as aws:
        env = {
            "PATH": os.environ.get("PATH", ""),
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_ENDPOINT": aws.rolesanywhere_url,
            "ROLESANYWHERE_CA_BUNDLE": "fake-aws-ca.pem",
            "ROLESANYWHERE_CERTIFICATE": "tls.crt",
            "ROLESANYWHERE_PRIVATE_KEY": "tls.key",
            "ROLESANYWHERE_TOKEN_FILE": "bearer",
            "ROLESANYWHERE_PORT": str(free_port()),
            "ROLESANYWHERE_PROBE_PORT": str(free_port()),
        }
        patient = Patient(folder, aws, env)
        patient.identity(GOOD)
        yield patient


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Patient]:
    async with a_patient(tmp_path) as healthy:
        yield healthy


def steady(text: str) -> str:
    """``text`` without what differs from run to run, each replaced by as many characters.

    But for how long something took: that may have more digits on a busy machine.
    """
    for pattern in (r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\dZ)?", r"(?<=[: ])\d{5}\b"):
        text = re.sub(pattern, lambda found: "#" * len(found[0]), text)
    return re.sub(r"\d+(?= ms)", "#", text)


async def test_a_healthy_sidecar_is_told_so_in_full(patient: Patient) -> None:
    outcome = await patient.examined()
    assert steady(outcome.output) == GOLDEN.read_text()
    assert (outcome.status, outcome.errors) == (0, "")
    assert max(map(len, outcome.output.splitlines())) <= 80
    patient.nothing_secret_in(outcome)


async def test_it_costs_one_session(patient: Patient) -> None:
    await patient.examined()
    assert patient.posted() == len(patient.aws.sessions) == 1


async def test_offline_asks_nobody(patient: Patient) -> None:
    outcome = await patient.examined("--offline")
    assert outcome.status == 0
    assert patient.aws.requests == []
    assert "\nAWS\n" not in outcome.output


async def test_the_json_has_the_same_findings(patient: Patient) -> None:
    report = (await patient.examined("--output", "json")).document()
    text = (await patient.examined()).output
    assert report["verdict"] == "ok"
    assert report["counts"]["failure"] == 0
    for finding in report["findings"]:
        assert set(finding) == {"verdict", "check", "sentence", "remedy"}
        assert f"ok       {finding['check']}: " in text


async def test_a_wrong_flag_is_exit_2(patient: Patient) -> None:
    outcome = await patient.examined("--of-line")
    assert (outcome.status, outcome.output) == (2, "")


async def test_a_key_of_another_certificate(patient: Patient) -> None:
    patient.identity(replace(GOOD, key=pki.new_key("p256")))
    found = await patient.troubles()
    assert found["key-match"]["verdict"] == "failure"
    assert "key-match" in found["create-session"]["sentence"]
    assert patient.aws.sessions == []


def lived(days: float) -> Identity:
    """A certificate that ended so many days ago."""
    template = replace(LEAF, starts=timedelta(days=-100), lives=timedelta(days=100 - days))
    return MIDDLE.leaf("reports", at=utc_now(), template=template)


@pytest.mark.parametrize(
    ("make", "check", "said"),
    [
        (lambda: lived(2), "validity", "the certificate expired at"),
        (
            lambda: MIDDLE.leaf(at=utc_now(), template=replace(LONG, ca=True)),
            "basic-constraints",
            "CA:true",
        ),
        (
            lambda: MIDDLE.leaf(at=utc_now(), template=replace(LONG, usage=frozenset())),
            "key-usage",
            "lacks digitalSignature",
        ),
    ],
    ids=["expired", "ca", "usage"],
)
async def test_a_certificate_that_the_service_would_refuse_is_not_tried(
    patient: Patient, make: Callable[[], Identity], check: str, said: str
) -> None:
    patient.identity(make())
    found = await patient.troubles()
    assert found[check]["verdict"] == "failure"
    assert said in found[check]["sentence"]
    assert check in found["create-session"]["sentence"]
    assert patient.aws.sessions == []


async def test_a_certificate_of_an_unknown_authority(patient: Patient) -> None:
    patient.identity(Authority.root("Stranger", at=utc_now()).leaf(at=utc_now(), template=LONG))
    [refusal] = (await patient.troubles()).values()
    assert (refusal["check"], refusal["verdict"]) == ("create-session", "failure")
    assert "Untrusted Signing Certificate" in refusal["sentence"]
    assert "add the missing intermediates" in refusal["remedy"]


async def test_a_missing_intermediate_is_told_by_the_service(patient: Patient) -> None:
    patient.identity(replace(GOOD, chain=()))
    [refusal] = (await patient.troubles()).values()
    assert "Untrusted Signing Certificate" in refusal["sentence"]


async def test_a_character_that_tags_refuse_is_a_warning_before_it_is_a_refusal(
    patient: Patient,
) -> None:
    patient.identity(MIDDLE.leaf("web (prod)", at=utc_now(), template=LONG))
    found = await patient.troubles()
    assert found["session-tags"]["verdict"] == "warning"
    assert "x509Subject/CN" in found["session-tags"]["sentence"]
    assert "Some attributes failed to be mapped" in found["create-session"]["sentence"]
    assert "session tags allow letters, digits" in found["create-session"]["remedy"]


async def test_a_name_that_the_profile_does_not_accept(patient: Patient) -> None:
    found = await patient.troubles(ROLESANYWHERE_ROLE_SESSION_NAME="web")
    assert "Not authorized to set roleSessionName" in found["create-session"]["sentence"]
    assert "acceptRoleSessionName" in found["create-session"]["remedy"]


async def test_a_shorter_session_than_asked_for(patient: Patient) -> None:
    found = await patient.troubles(ROLESANYWHERE_DURATION_SECONDS="7200")
    assert list(found) == ["session-length"]
    assert found["session-length"]["verdict"] == "warning"
    assert "7200 were asked for" in found["session-length"]["sentence"]


@pytest.mark.parametrize(("hours", "direction"), [(1, "behind"), (-1, "ahead of")])
async def test_a_clock_that_is_off_by_an_hour(tmp_path: Path, hours: int, direction: str) -> None:
    """By the service's time the session is granted all the same, and with one request."""
    yesterday = utc_now() - timedelta(days=1)
    root = Authority.root(at=yesterday)
    identity = root.leaf("reports", at=yesterday, template=LONG)
    world = small_world(root.certificate)
    async with a_patient(tmp_path, world=world, ahead=timedelta(hours=hours)) as patient:
        patient.identity(identity)
        found = await patient.troubles()
        assert list(found) == ["clock"]
        assert found["clock"]["verdict"] == "failure"
        assert f"seconds {direction} the service's" in found["clock"]["sentence"]
        assert patient.posted() == len(patient.aws.sessions) == 1


async def test_a_name_that_does_not_resolve(patient: Patient) -> None:
    found = await patient.troubles(ROLESANYWHERE_ENDPOINT="https://nonexistent.invalid")
    assert found["dns"]["verdict"] == "failure"
    assert {found[check]["verdict"] for check in ("tcp", "tls", "clock")} == {"skipped"}


async def test_a_closed_port(patient: Patient) -> None:
    endpoint = f"https://127.0.0.1:{free_port()}"
    found = await patient.troubles(ROLESANYWHERE_ENDPOINT=endpoint)
    assert found["tcp"]["verdict"] == "failure"
    assert "Connection refused" in found["tcp"]["sentence"]


async def test_a_server_that_nobody_vouches_for_is_named_by_its_issuer(patient: Patient) -> None:
    found = await patient.troubles(ROLESANYWHERE_CA_BUNDLE="")
    assert found["tls"]["verdict"] == "failure"
    assert "'CN=Fake AWS TLS'" in found["tls"]["sentence"]
    assert "--ca-bundle" in found["tls"]["remedy"]


async def test_a_service_that_fails(patient: Patient) -> None:
    patient.aws.faults.always(faults.server_error(503))
    found = await patient.troubles()
    assert "answered 503" in found["create-session"]["sentence"]


async def test_an_endpoint_that_accepts_and_says_nothing_does_not_hold_it_up(
    patient: Patient,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = f"https://127.0.0.1:{mute.getsockname()[1]}"
        start = time.monotonic()
        found = await patient.troubles(ROLESANYWHERE_ENDPOINT=endpoint)
    assert time.monotonic() - start < 30
    assert found["tls"]["verdict"] == "failure"
    assert "no answer within" in found["tls"]["sentence"]


async def test_beside_a_running_sidecar_its_ports_are_its_own(patient: Patient) -> None:
    env = {name: value for name, value in patient.env.items() if not name.endswith("PORT")}
    async with a_sidecar(patient.folder, env) as sidecar:
        await sidecar.until_ready()
        ports = {
            "ROLESANYWHERE_PORT": str(sidecar.port),
            "ROLESANYWHERE_PROBE_PORT": str(sidecar.probe_port),
        }
        outcome = await patient.examined("--offline", **ports)
    assert f"the sidecar itself listens on port {sidecar.port}" in " ".join(outcome.output.split())
    assert f"listens on port {sidecar.probe_port} and says" in " ".join(outcome.output.split())
    assert outcome.status == 0


async def test_a_port_of_somebody_else_is_a_warning(patient: Patient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = await patient.troubles(ROLESANYWHERE_PORT=str(other.getsockname()[1]))
    assert found["port"]["verdict"] == "warning"


async def test_an_interrupt_ends_it_at_once_and_without_a_traceback(patient: Patient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        env = {
            **patient.env,
            "ROLESANYWHERE_ENDPOINT": f"https://127.0.0.1:{mute.getsockname()[1]}",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rolesanywhere_sidecar", "doctor",
            env=env, cwd=patient.folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert process.stdout is not None
                await process.stdout.readuntil(b"Ports\n")
                start = time.monotonic()
                process.send_signal(signal.SIGINT)
                _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert (process.returncode, errors) == (130, b"")
    assert time.monotonic() - start < 3


async def test_a_reader_that_has_seen_enough_is_no_crash(patient: Patient) -> None:
    command = f"{sys.executable} -m rolesanywhere_sidecar doctor --offline | head -1"
    outcome = await finished(
        "/usr/bin/env", "-C", str(patient.folder), "sh", "-c", command, env=patient.env
    )
    assert (outcome.output, outcome.errors) == ("Settings\n", "")


HANGING = """
import socket, sys, time
socket.getaddrinfo = lambda *_, **__: time.sleep(60)
from rolesanywhere_sidecar.__main__ import main
sys.argv = ["rolesanywhere-sidecar", "doctor"]
sys.exit(main())
"""


async def test_a_name_server_that_hangs_does_not_hold_it_up(patient: Patient) -> None:
    """Nobody can interrupt a thread in the resolver: the process ends all the same."""
    env = {**patient.env, "ROLESANYWHERE_ENDPOINT": "https://aws.example"}
    start = time.monotonic()
    outcome = await finished(
        "/usr/bin/env", "-C", str(patient.folder), sys.executable, "-c", HANGING, env=env
    )
    assert time.monotonic() - start < 15
    assert outcome.status == 1
    assert "failure  dns: aws.example does not resolve: no answer within 4" in outcome.output
    assert outcome.output.splitlines()[-1].endswith("1 failure, 4 skipped")


@asynccontextmanager
async def a_proxy(port: int, *, answer: bytes) -> AsyncIterator[str]:
    """The URL of a proxy that leads every tunnel to ``port``, after ``answer``."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.transport.abort()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # somebody looked whether we listen
            writer.close()
            return
        writer.write(answer)
        if b" 200 " not in answer:
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, back), pipe(there, writer))

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    try:
        yield f"http://svc:hunter2@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "not trusted (Hostname mismatch"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407"),
    ],
)
async def test_through_a_proxy_each_step_says_whose_it_is(
    patient: Patient, answer: bytes, said: str
) -> None:
    port = int(patient.env["ROLESANYWHERE_ENDPOINT"].rpartition(":")[2])
    async with a_proxy(port, answer=answer) as proxy:
        env = {"ROLESANYWHERE_ENDPOINT": "https://aws.invalid", "https_proxy": proxy}
        outcome = await patient.examined(**env)
        found = await patient.troubles(**env)
    text = " ".join(outcome.output.split())
    assert f"aws.invalid is reached through {proxy.rpartition('@')[2]}" in text
    assert "the proxy 127.0.0.1 port" in text
    assert said in found["tls"]["sentence"]
    assert "hunter2" not in outcome.output + outcome.errors
