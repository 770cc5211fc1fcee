"""Who plays in the demo: an authority, the pretended AWS, a node with one pod, and its app.

Never tells anything: what is worth telling is the story's.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.demo.kubelet import Node, write_secret
from tests.demo.story import ClaimFailed
from tests.fakes.aws import FakeAWS
from tests.fakes.pki import Authority, Identity

# What the application's image would bring: a Python that has boto3.
_AWS_CLIENTS: Final = Path(__file__).parents[2] / ".venv-aws-clients" / "bin"
APP_IMAGE_ENV: Final = {"PATH": f"{_AWS_CLIENTS}:{os.environ.get('PATH', os.defpath)}"}
APP_PATIENCE_SECONDS: Final = 60.0

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: the authority that AWS trusts, the pretended AWS, the node and the pod."""

    authority: Authority
    aws: FakeAWS
    node: Node
    pod: Json

    def container(self, name: str) -> Json:
        """A container or init container of the pod."""
        spec = self.pod["spec"]
        every = [*spec.get("initContainers", ()), *spec["containers"]]
        return next(container for container in every if container["name"] == name)

    def put_into_secret(self, identity: Identity) -> None:
        """Let the pod's Secret hold ``identity``, as cert-manager and the kubelet would."""
        volume = self._identity_volume()
        keys = {"tls.crt": identity.certificate_pem, "tls.key": identity.key_pem()}
        content = {item["path"]: keys[item["key"]] for item in volume["secret"]["items"]}
        write_secret(self.node.volume(volume["name"]), content)

    def _identity_volume(self) -> Json:
        volumes: list[Json] = self.pod["spec"]["volumes"]
        return next(volume for volume in volumes if "secret" in volume)

    async def whoami(self, *without: str) -> str:
        """What the app prints, run with the environment of its container but for ``without``."""
        app = self.container("app")
        app = {**app, "env": [one for one in app["env"] if one["name"] not in without]}
        with self.node.run(app, self.pod, entrypoint=(), image_env=APP_IMAGE_ENV) as process:
            code = await asyncio.to_thread(process.wait, APP_PATIENCE_SECONDS)
        printed = self.node.log(app).read_text().strip()
        if code != 0:
            raise ClaimFailed(f"the app ended with {code}: {printed.splitlines()[-1:]}")
        return printed

    async def app_sees(self, path: str) -> bool:
        """Whether ``path`` exists for the app's container."""
        looking = {**self.container("app"), "command": ["test", "-e", path], "args": []}
        with self.node.run(looking, self.pod, entrypoint=(), image_env=APP_IMAGE_ENV) as process:
            return await asyncio.to_thread(process.wait, APP_PATIENCE_SECONDS) == 0
