"""AWS for a cluster: the services that verify, at an address that every pod reaches.

They run in this process, so that a test sees what they were asked and can make them fail. They
listen in the cluster's network, by TLS of the authority that every image trusts.
"""

import base64
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.e2e.background import in_background
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster
from tests.e2e.harness.configuration import NETWORK
from tests.fakes.aws import FakeAWS
from tests.fakes.pki import Authority, Identity
from tests.fakes.recorded import Recorded
from tests.fakes.scene import trusting
from tests.fakes.sessions import Issued
from tests.fakes.trust import read_header
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Aws:
    """``services`` trust identities that ``workloads`` has issued, and let them be one role."""

    services: FakeAWS
    workloads: Authority

    def identity(self, name: str, **more: Any) -> Identity:
        """A key and certificate that the services trust; ``more`` as `Authority.leaf` has it."""
        return self.workloads.leaf(name, at=datetime.now(UTC), **more)

    def sessions(self, subject: str) -> list[Issued]:
        """The sessions granted to certificates with that common name, oldest first."""
        return [one for one in self.services.sessions if one.session.source_identity == subject]

    def tries(self, subject: str, *, since: int = 0) -> list[Recorded]:
        """What asked for a session by such a certificate, from request number ``since`` on."""
        asked = [one for one in self.services.requests[since:] if one.service == "rolesanywhere"]
        return [one for one in asked if _subject(one) == subject]

    @contextmanager
    def trusting(self, authority: x509.Certificate) -> Iterator[None]:
        """The services trust what ``authority`` has issued too, for the length of the block."""
        account = self.services.account
        known = account.world
        account.world = trusting(known, self.workloads.certificate, authority)
        try:
            yield
        finally:
            account.world = known

    def environment(self) -> list[dict[str, str]]:
        """What an app is told of where the services are, and of nothing else."""
        told = {
            "AWS_ENDPOINT_URL_STS": self.services.sts_url,
            "AWS_ENDPOINT_URL_S3": self.services.s3_url,
        }
        return [{"name": name, "value": value} for name, value in told.items()]

    def binding(self, name: str, identity: Mapping[str, Any], **spec: Any) -> Manifest:
        """A binding of the services' role."""
        return {
            "apiVersion": "rolesanywhere.dev/v1alpha1",
            "kind": "RolesAnywhereBinding",
            "metadata": {"name": name},
            "spec": {
                "trustAnchorArn": TRUST_ANCHOR_ARN,
                "profileArn": PROFILE_ARN,
                "roleArn": ROLE_ARN,
                "endpoint": self.services.rolesanywhere_url,
                "identity": identity,
                **spec,
            },
        }


def tls_secret(name: str, identity: Identity) -> Manifest:
    """The Secret of a certificate, its intermediates and its key, as cert-manager writes it."""
    content = {
        "tls.crt": identity.certificate_pem + identity.chain_pem,
        "tls.key": identity.key_pem(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
    }


def _subject(asked: Recorded) -> str:
    """The common name in the certificate that a session was asked for by."""
    certificate = read_header(asked.request.get("x-amz-x509") or "")
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def said(log: str) -> list[dict[str, Any]]:
    """What an app that runs ``whoami.py`` has told."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


@contextmanager
def serving(cluster: Cluster) -> Iterator[Aws]:
    """The services, for the length of the block, in a thread of their own."""
    folder = cluster.folder / "aws"
    folder.mkdir()
    workloads = Authority.root("Workloads", at=datetime.now(UTC))
    world = small_world(workloads.certificate, accept_role_session_name=True)
    services = FakeAWS.start(
        world, tls_folder=folder, authority=images.trusted(), listen=lambda: listener(cluster)
    )
    with in_background(services) as started:
        yield Aws(started, workloads)


def listener(cluster: Cluster, address: str = NETWORK.address, port: int = 0) -> socket.socket:
    """A socket of this process that pods reach, yet to listen; port 0 is any that is free."""
    opened = cluster.sandbox.open_socket()
    opened.bind((address, port))
    return opened
