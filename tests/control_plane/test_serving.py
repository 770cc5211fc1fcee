"""The webhook's certificate from the controller's hand, with real processes and a real API server.

What the relay is, and is not, is said in `tests.cluster.relay`.
"""

import json
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.chart.helm import FULLNAME
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import PATIENCE
from tests.cluster.programs import Program
from tests.cluster.relay import PROBE_SECONDS, repeated
from tests.cluster.selfserving import SECRET, Creator, SelfServing, self_serving
from tests.operator.builders import a_raw_binding
from tests.support.waiting import PATIENCE_SECONDS, eventually

LOADED = "serving certificate loaded"
# An authority that takes another's place waits before it signs, and files are looked at in turns.
ROTATION_SECONDS = 90.0
# A controller and a webhook, and the first certificate between them, on a busy machine.
STARTING_SECONDS = 120.0
# The garbage collector may have to learn again what kinds of objects there are.
COLLECTION_SECONDS = 120.0
# How long an API server waits for the first answer, as the chart comes.
ATTEMPT_SECONDS = 3.0


@pytest.fixture
def release(
    schema: ControlPlane, helm: Path, namespace: str, tmp_path: Path
) -> Iterator[SelfServing]:
    with self_serving(schema, helm, namespace=namespace, folder=tmp_path) as there:
        yield there


@pytest.fixture
def users(schema: ControlPlane) -> Iterator[str]:
    """A namespace of users with a binding."""
    name = f"users-{uuid.uuid4().hex[:8]}"
    schema.kubectl("create", "namespace", name)
    schema.kubectl(
        "wait", "--for=create", "serviceaccount/default", f"--namespace={name}", PATIENCE
    )
    binding = a_raw_binding("reports", name)
    del binding["metadata"]["generation"]
    schema.apply(json.dumps(binding), namespace=name)
    yield name
    schema.kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def load(release: SelfServing, users: str, *replicas: Program) -> Iterator[list[Creator]]:
    """Four who create pods all the time, once all ``replicas`` have work; no pod may fail.

    None may come out uninjected either.
    """
    creators = [
        Creator(release.control_plane, users, name=name) for name in ("one", "two", "three", "four")
    ]
    eventually("pods are injected", lambda: serves(creators[0]))
    creators[0].attempts.clear()
    with ExitStack() as working:
        for creator in creators:
            working.enter_context(repeated(creator.create, 0.02))
        eventually("all have work", lambda: all(one.lines("admission") for one in replicas))
        yield creators
    attempts = [attempt for creator in creators for attempt in creator.attempts]
    failed = [attempt for attempt in attempts if attempt.status != HTTPStatus.CREATED]
    assert [attempt.answer["message"] for attempt in failed] == []
    assert all(attempt.is_injected for attempt in attempts)


def serves(creator: Creator) -> bool:
    """Whether a pod that asks is injected by now."""
    creator.create()
    return creator.attempts[-1].is_injected


def ready(program: Program) -> None:
    eventually("the webhook is ready", lambda: program.is_ready, within=STARTING_SECONDS)


def called(release: SelfServing, *replicas: Program) -> None:
    """Return once the Service leads to all of them."""
    eventually(
        "they are called",
        lambda: all(one in release.relay.ready for one in replicas),
        within=STARTING_SECONDS,
    )


def test_without_its_secret_the_webhook_waits_and_the_controller_brings_it(
    release: SelfServing, users: str
) -> None:
    webhook = release.webhook(0)
    eventually("it answers", lambda: webhook.probe()[0])
    assert webhook.probe() == (503, "there is no serving certificate yet; the log says why\n")
    # It answers before it has looked for the files.
    [line] = eventually("it says why", lambda: webhook.lines("serving certificate not usable"))
    assert "No such file" in line["problem"]
    release.controller()
    ready(webhook)
    creator = Creator(release.control_plane, users, name="first")
    eventually("pods are injected", lambda: serves(creator))


def test_the_secret_goes_with_the_release(release: SelfServing) -> None:
    controller = release.controller()
    eventually("there is a certificate", lambda: release.secret().get("tls.crt"))
    # As helm uninstall does; its Deployment is gone by then.
    controller.popen.terminate()
    controller.popen.wait(PATIENCE_SECONDS)
    assert release.secret()
    here = f"--namespace={release.namespace}"
    release.control_plane.kubectl("delete", "serviceaccount", f"{FULLNAME}-controller", here)
    eventually("it is collected", lambda: not release.secret(), within=COLLECTION_SECONDS)


@pytest.mark.long
def test_a_deleted_secret_and_an_overwritten_configuration_are_mended(
    release: SelfServing,
) -> None:
    release.controller()
    leaf = eventually("there is a certificate", lambda: release.secret().get("tls.crt"))
    bundle = eventually("it is trusted", release.bundle)

    release.control_plane.kubectl(
        "patch", "mutatingwebhookconfiguration", release.configuration, "--type=json",
        '--patch=[{"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"}]',
    )  # fmt: skip
    eventually("what is trusted is back", lambda: release.bundle() == bundle, within=15)

    release.control_plane.kubectl("delete", "secret", SECRET, f"--namespace={release.namespace}")
    eventually("the Secret is back", release.secret, within=15)
    fresh = eventually(
        "so is its leaf", lambda: release.secret().get("tls.crt"), within=ROTATION_SECONDS
    )
    assert fresh != leaf
    assert release.bundle().endswith(bundle), "what is served is trusted no more"


@pytest.mark.long
def test_no_pod_fails_while_replicas_end_and_are_killed_and_the_certificate_is_rotated(
    release: SelfServing, users: str
) -> None:
    """And none comes out uninjected."""
    release.controller()
    first, second = release.webhook(0), release.webhook(1)
    # Not before: connections that one of them has are kept, and no other is opened.
    called(release, first, second)
    with load(release, users, first, second) as creators:
        # An orderly end, as in a rolling update.
        first.popen.send_signal(signal.SIGTERM)
        assert first.popen.wait(timeout=PATIENCE_SECONDS) == 0
        third = release.webhook(0)
        called(release, third)

        # Another authority and another certificate, under both replicas.
        loads = [len(one.lines(LOADED)) for one in (second, third)]
        release.control_plane.kubectl(
            "delete", "secret", SECRET, f"--namespace={release.namespace}"
        )
        eventually(
            "both replicas serve the new certificate",
            lambda: all(
                len(one.lines(LOADED)) > before
                for one, before in zip((second, third), loads, strict=True)
            ),
            within=ROTATION_SECONDS,
        )
        time.sleep(3)

        # One of the second half, and when there is another, the one of the first half.
        kill(second)
        eventually("what is left has all the work", lambda: third.lines("admission"))
        fourth = release.webhook(1)
        called(release, fourth)
        kill(third)
        eventually("what is left has all the work", lambda: fourth.lines("admission"))
        time.sleep(2 * PROBE_SECONDS)

    attempts = sum(len(creator.attempts) for creator in creators)
    assert attempts > 100, "there was no load to speak of"


@pytest.mark.long
def test_a_replica_that_falls_silent_costs_seconds_and_no_pod(
    release: SelfServing, users: str
) -> None:
    """As one whose node is gone: for a while the Service leads to it, and nothing comes back."""
    release.controller()
    first, second = release.webhook(0), release.webhook(1)
    called(release, first, second)
    with load(release, users, first, second) as creators:
        third = release.webhook(1)
        called(release, third)
        first.popen.send_signal(signal.SIGSTOP)
        silent = time.monotonic()
        # What is kept of connections leads to the silent one then. A pod ends once it is forgotten.
        del release.relay.backends[second]
        eventually("the Service forgets it", lambda: second not in release.relay.ready)
        second.popen.send_signal(signal.SIGTERM)
        assert second.popen.wait(timeout=PATIENCE_SECONDS) == 0
        eventually("they have waited for it", lambda: any(late(one, silent) for one in creators))
        first.popen.send_signal(signal.SIGCONT)
        time.sleep(1)


def late(creator: Creator, since: float) -> bool:
    """Whether the first attempt for a pod has come to nothing ``since``."""
    return any(
        attempt.answered > since and attempt.answered - attempt.sent > ATTEMPT_SECONDS
        for attempt in creator.attempts
    )


def kill(program: Program) -> None:
    """Without a chance to say so."""
    program.popen.kill()
    program.popen.wait()
