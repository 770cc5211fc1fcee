"""How the demo's pod is admitted: by an API server where its programs are at hand, else directly.

Never builds anything: a demo that first compiles Kubernetes is none.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jsonpatch

from tests.demo import directly
from tests.fakes.pki import Authority

Json = dict[str, Any]

# Beside these, what an API server has filled in where one was asked.
_CERTIFICATE: Final = "webhook.crt"
_PRIVATE_KEY: Final = "webhook.key"
_AUTHORITY: Final = "webhook-ca.crt"


@dataclass(frozen=True, slots=True)
class Admitted:
    """What the webhook answered, and the pod that came of it."""

    operations: list[Json]
    pod: Json


async def admit_directly(binding: Json, pod: Json, *, folder: Path, at: datetime) -> Admitted:
    """Send the AdmissionReview to the webhook's server ourselves."""
    authority = Authority.root("Demo Webhook CA", at=at)
    server = authority.server(at=at)
    certificate, private_key = folder / _CERTIFICATE, folder / _PRIVATE_KEY
    certificate.write_bytes(server.certificate_pem)
    private_key.write_bytes(server.key_pem())
    ca_file = folder / _AUTHORITY
    ca_file.write_bytes(authority.certificate_pem)
    async with directly.webhook(binding, certificate, private_key) as url:
        response = await directly.ask(url, directly.review_of(pod), ca_file=ca_file)
    operations = directly.patch_in(response)
    injected: Json = jsonpatch.apply_patch(pod, operations)
    return Admitted(operations, injected)
