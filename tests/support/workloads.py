"""A workload's folder, with an identity that a pretended AWS trusts, and ``serve``'s settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.fakes.aws import utc_now
from tests.fakes.pki import LEAF, Authority, Identity, Template
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN


@dataclass(frozen=True, slots=True)
class Workload:
    """``tls.crt`` and ``tls.key`` in ``folder``, and what else the sidecar keeps there."""

    folder: Path
    identity: Identity

    @classmethod
    def below(
        cls, root: Authority, folder: Path, *, at: datetime | None = None, template: Template = LEAF
    ) -> "Workload":
        """An identity that ``root`` issues ``at`` some time, or now, written to ``folder``."""
        identity = root.leaf(at=at or utc_now(), template=template)
        (folder / "tls.crt").write_bytes(identity.certificate_pem)
        (folder / "tls.key").write_bytes(identity.key_pem())
        return cls(folder, identity)

    @property
    def token(self) -> str:
        """The bearer token, once the sidecar has made it."""
        return (self.folder / "token").read_text()

    def env(self, endpoint: str, *, ca_file: Path | None = None) -> dict[str, str]:
        """Everything that ``serve`` must be told, but for its ports."""
        return {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_ENDPOINT": endpoint,
            "ROLESANYWHERE_CA_BUNDLE": str(ca_file or ""),
            "ROLESANYWHERE_CERTIFICATE": str(self.folder / "tls.crt"),
            "ROLESANYWHERE_PRIVATE_KEY": str(self.folder / "tls.key"),
            "ROLESANYWHERE_TOKEN_FILE": str(self.folder / "token"),
        }

    def secrets(self) -> Sequence[str]:
        """What of this workload may be in no log."""
        return [self.token, *self.identity.key_pem().decode().splitlines()[1:-1]]
