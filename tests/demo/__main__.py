"""``make demo``: the whole path once on this machine, told step by step.

Nothing leaves loopback, nothing stays behind. Exits 1 as soon as a step did not happen as told.
"""

import asyncio
import os
import socket
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from subprocess import Popen
from typing import Any, Final

import yaml

from rolesanywhere_contract.names import (
    CREDENTIALS_PORT,
    IDENTITY_DIRECTORY,
    PROBE_PORT,
    SIDECAR_CONTAINER,
)
from tests.demo import readable
from tests.demo.admission import Admitted, Tools, by_api_server, directly_asked
from tests.demo.cast import Cast
from tests.demo.kubelet import Node, await_startup, environment
from tests.demo.story import ClaimFailed, Story
from tests.fakes.aws import FakeAWS
from tests.fakes.pki import Authority, Identity
from tests.fakes.world import small_world

HERE: Final = Path(__file__).parent
# What the sidecar's image would bring.
SIDECAR_ENTRYPOINT: Final = (sys.executable, "-m", "rolesanywhere_sidecar")
SIDECAR_IMAGE_ENV: Final = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
}

# The sidecar looks at its files every few seconds, and spreads what follows over a few more.
ROTATION_PATIENCE_SECONDS: Final = 30.0
STOP_PATIENCE_SECONDS: Final = 10.0

Json = dict[str, Any]


async def tell(story: Story, folder: Path) -> None:
    """The story, from an authority to a rotated certificate."""
    async with AsyncExitStack() as stack:
        authority, leaf = make_identities(story)
        aws = await start_aws(story, authority, stack)
        binding, pod = show_manifests(story, aws)
        admitted = await admit(story, binding, pod, folder)
        cast = Cast(authority, aws, Node.at(folder), admitted.pod)
        sidecar = await start_sidecar(story, cast, leaf, stack)
        await use_credentials(story, cast, leaf)
        await rotate(story, cast)
        await stop(story, sidecar)


def make_identities(story: Story) -> tuple[Authority, Identity]:
    """A root authority, and a leaf certificate for the workload."""
    with story.step("A certificate authority of our own, and a certificate for the workload"):
        now = datetime.now(UTC)
        authority = Authority.root("Demo Root", at=now)
        leaf = authority.leaf("reports", at=now)
        story.say("authority CN=Demo Root, which the trust anchor below names")
        story.say(f"workload  CN=reports, P-256, serial {serial_of(leaf)}")
        return authority, leaf


async def start_aws(story: Story, authority: Authority, stack: AsyncExitStack) -> FakeAWS:
    """AWS is what cannot be had here; what plays it believes nothing."""
    with story.step("An IAM Roles Anywhere and an STS that verify what they receive"):
        world = small_world(authority.certificate)
        aws = await stack.enter_async_context(FakeAWS.start(world))
        story.say(
            f"Roles Anywhere at {aws.rolesanywhere_url}: chain, dates, usage, scope, signature"
        )
        story.say(f"STS at {aws.sts_url}: SigV4 of the credentials that the former handed out")
        return aws


def show_manifests(story: Story, aws: FakeAWS) -> tuple[Json, Json]:
    """The two manifests a user writes."""
    with story.step("A binding, and a pod that asks for credentials by annotation"):
        places = {"rolesanywhere_url": aws.rolesanywhere_url, "sts_url": aws.sts_url}
        texts = [
            Template((HERE / name).read_text()).substitute(places)
            for name in ("binding.yaml", "pod.yaml")
        ]
        story.show("---\n".join(texts))
        binding, pod = map(yaml.safe_load, texts)
        return binding, pod


async def admit(story: Story, binding: Json, pod: Json, folder: Path) -> Admitted:
    """The webhook's answer."""
    with story.step("Admission: what the webhook makes of the pod"):
        if tools := Tools.at_hand():
            story.say("by a real API server, which calls the webhook as the chart configures it")
            admitted = await by_api_server(tools, binding, pod, folder=folder, at=datetime.now(UTC))
        else:
            story.say("no API server is at hand (make test builds one), so the AdmissionReview")
            story.say("goes to the webhook directly")
            admitted = await directly_asked(binding, pod, folder=folder, at=datetime.now(UTC))
        story.show(readable.patch(admitted.operations))
        names = [container["name"] for container in admitted.pod["spec"]["initContainers"]]
        story.check("the sidecar is the first init container", names[0] == SIDECAR_CONTAINER)
        return admitted


async def start_sidecar(
    story: Story, cast: Cast, leaf: Identity, stack: AsyncExitStack
) -> Popen[bytes]:
    """The injected container as a process, until its startup probe succeeds."""
    with story.step("The injected container, run as the kubelet would"):
        for port in (CREDENTIALS_PORT, PROBE_PORT):
            require_free(port)
        cast.put_into_secret(leaf)
        if cast.node.moved:
            story.say("this user may not mount, so the mount paths are moved below a folder")
        container = cast.container(SIDECAR_CONTAINER)
        process = stack.enter_context(
            cast.node.run(
                container, cast.pod, entrypoint=SIDECAR_ENTRYPOINT, image_env=SIDECAR_IMAGE_ENV
            )
        )
        attempts = await asyncio.to_thread(
            await_startup,
            container,
            process,
            env={**SIDECAR_IMAGE_ENV, **environment(container, cast.pod)},
        )
        story.show(cast.node.log(container).read_text())
        story.check(f"its startup probe succeeds, at attempt {attempts}", process.poll() is None)
        story.check(
            "one CreateSession was asked for, and its signature verified",
            [request.verdict for request in cast.aws.requests] == ["ok"],
        )
        return process


async def use_credentials(story: Story, cast: Cast, leaf: Identity) -> None:
    """boto3 by each of the two endpoints."""
    with story.step("boto3, told nothing but the environment that was injected"):
        story.check(
            "the app's container does not see the private key",
            not await cast.app_sees(IDENTITY_DIRECTORY),
        )
        printed = await cast.whoami()
        story.show(printed)
        story.check("container credentials, by token file", printed.endswith("by container-role"))
        story.check("STS knows the session by the certificate's serial", serial_of(leaf) in printed)
    with story.step("The same app, as an SDK that knows only the instance metadata service"):
        printed = await cast.whoami(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
        )
        story.show(printed)
        story.check("IMDSv2, with a session token", printed.endswith("by iam-role"))
        story.check("still one CreateSession", len(cast.aws.sessions) == 1)


async def rotate(story: Story, cast: Cast) -> None:
    """A new certificate with a new key of another kind, picked up by the running sidecar."""
    with story.step("The certificate is rotated under it, from P-256 to RSA-2048"):
        fresh = cast.authority.leaf("reports", at=datetime.now(UTC), kind="rsa-2048")
        story.say(f"workload  CN=reports, RSA-2048, serial {serial_of(fresh)}")
        cast.put_into_secret(fresh)
        seconds = await until_second_session(cast)
        story.say(f"picked up after {seconds:.1f} s, without a restart")
        printed = await cast.whoami()
        story.show(printed)
        story.check("the session is the new certificate's", serial_of(fresh) in printed)


async def until_second_session(cast: Cast) -> float:
    """Seconds until AWS has granted another session. Raises `ClaimFailed`."""
    started = time.monotonic()
    while len(cast.aws.sessions) < 2:
        if time.monotonic() - started > ROTATION_PATIENCE_SECONDS:
            log = cast.node.log(cast.container(SIDECAR_CONTAINER)).read_text()
            raise ClaimFailed(f"the new certificate was not picked up; the sidecar's log:\n{log}")
        await asyncio.sleep(0.1)
    return time.monotonic() - started


async def stop(story: Story, sidecar: Popen[bytes]) -> None:
    """The pod's end."""
    with story.step("The pod ends: SIGTERM"):
        sidecar.terminate()
        code = await asyncio.to_thread(sidecar.wait, STOP_PATIENCE_SECONDS)
        story.check("the sidecar exits with 0", code == 0, otherwise=f"but with {code}")


def serial_of(identity: Identity) -> str:
    """The certificate's serial number in hexadecimal, as a session is named by it."""
    serial = identity.certificate.serial_number
    return serial.to_bytes((serial.bit_length() + 7) // 8).hex()


def require_free(port: int) -> None:
    """Raises `ClaimFailed` when something on this machine listens on a port of the pod's."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ClaimFailed(
                f"port {port} of 127.0.0.1 is in use, and the sidecar needs it: stop what listens"
                " there and run the demo again"
            )


def main() -> int:
    """Tell the story, then its summary."""
    story = Story(sys.stdout)
    failure: Exception | None = None
    with tempfile.TemporaryDirectory(prefix="rolesanywhere-demo-") as folder:
        try:
            asyncio.run(tell(story, Path(folder)))
        except Exception as failed:
            failure = failed
    print(f"\n{story.summary()}")
    if failure is not None:
        print(f"\nThe demo failed: {failure}", file=sys.stderr)
        return 1
    print("\nEvery step happened as told, and nothing was left behind.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
