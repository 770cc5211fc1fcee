"""The webhook's certificate from the controller's hand, with real processes and a real API server.

What the relay is, and is not, is said in `tests.cluster.relay`.
"""

import json
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chart.helm import FULLNAME
from tests.cluster.control_plane import ControlPlane
from tests.cluster.programs import Program
from tests.cluster.relay import PROBE_SECONDS, repeated
from tests.cluster.selfserving import SECRET, Creator, SelfServing, self_serving
from tests.operator.builders import a_raw_binding
from tests.support.waiting import PATIENCE_SECONDS, eventually

LOADED = "serving certificate loaded"
# An authority that takes another's place waits before it signs, and files are looked at in turns.
ROTATION_SECONDS = 90.0


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
        "wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=30s"
    )
    binding = a_raw_binding("reports", name)
    del binding["metadata"]["generation"]
    schema.apply(json.dumps(binding), namespace=name)
    yield name
    schema.kubectl("delete", "namespace", name, "--wait=false")


def serves(creator: Creator) -> bool:
    """Whether a pod that asks is injected by now."""
    creator.create()
    return creator.attempts[-1].is_injected


def ready(program: Program) -> None:
    eventually("the webhook is ready", lambda: program.is_ready, within=60)


def test_without_its_secret_the_webhook_waits_and_the_controller_brings_it(
    release: SelfServing, users: str
) -> None:
    webhook = release.webhook(0)
    eventually("it answers", lambda: webhook.probe()[0])
    assert webhook.probe() == (503, "there is no serving certificate yet; the log says why\n")
    [line] = webhook.lines("serving certificate not usable")
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
    eventually("it is collected", lambda: not release.secret())


@pytest.mark.long
def test_a_deleted_secret_and_an_overwritten_configuration_are_mended(
    release: SelfServing,
) -> None:
    release.controller()
    leaf = eventually("there is a certificate", lambda: release.secret().get("tls.crt"))
    bundle = release.bundle()

    release.control_plane.kubectl(
        "patch", "mutatingwebhookconfiguration", release.configuration, "--type=json",
        '--patch=[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]',
    )  # fmt: skip
    eventually("what is trusted is back", lambda: release.bundle() == bundle, within=15)

    release.control_plane.kubectl("delete", "secret", SECRET, f"--namespace={release.namespace}")
    eventually("the Secret is back", release.secret, within=15)
    fresh = eventually("so is its leaf", lambda: release.secret().get("tls.crt"), within=60)
    assert fresh != leaf
    assert release.bundle().endswith(bundle), "what is served is trusted no more"


@pytest.mark.long
def test_no_pod_is_lost_to_a_rotation_or_an_orderly_end_and_none_comes_out_uninjected(
    release: SelfServing, users: str
) -> None:
    """A process that is killed takes along what it was at, and what comes until it is missed.

    No webhook can help that, and the API server tries none a second time; who made the pod does.
    """
    release.controller()
    first, second = release.webhook(0), release.webhook(1)
    ready(first)
    ready(second)
    creators = [
        Creator(release.control_plane, users, name=name) for name in ("one", "two", "three", "four")
    ]
    eventually("pods are injected", lambda: serves(creators[0]))
    creators[0].attempts.clear()
    with ExitStack() as working:
        for creator in creators:
            working.enter_context(repeated(creator.create, 0.02))
        eventually("both have work", lambda: all(one.lines("admission") for one in (first, second)))

        # An orderly end, as in a rolling update.
        first.popen.send_signal(signal.SIGTERM)
        assert first.popen.wait(timeout=PATIENCE_SECONDS) == 0
        third = release.webhook(0)
        ready(third)

        # Another authority and another certificate, under both replicas.
        loads = len(second.lines(LOADED))
        release.control_plane.kubectl(
            "delete", "secret", SECRET, f"--namespace={release.namespace}"
        )
        eventually(
            "both replicas serve the new certificate",
            lambda: len(second.lines(LOADED)) > loads and len(third.lines(LOADED)) > 1,
            within=ROTATION_SECONDS,
        )
        time.sleep(3)

        killed = time.monotonic()
        second.popen.kill()
        second.popen.wait()
        eventually("it is missed", lambda: second not in release.relay.ready)
        missed = time.monotonic() + PROBE_SECONDS
        fourth = release.webhook(1)
        ready(fourth)
        time.sleep(3)

    attempts = [attempt for creator in creators for attempt in creator.attempts]
    lost = [attempt for attempt in attempts if attempt.status != 201]
    unexplained = [
        attempt.answer["message"]
        for attempt in lost
        if attempt.answered < killed or attempt.sent > missed
    ]
    assert unexplained == []
    assert all("failed calling webhook" in attempt.answer["message"] for attempt in lost)
    made = [attempt for attempt in attempts if attempt.status == 201]
    assert all(attempt.is_injected for attempt in made)
    assert len(made) > 100, "there was no load to speak of"
    assert all(one.lines("admission") for one in (first, second, third))
