"""What sidecars are like where their binding says nothing: whoever runs the operator chooses.

Never reads that choice: it is given as values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from rolesanywhere_contract.names import CA_BUNDLE_PATH
from rolesanywhere_contract.settings import Settings
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.egress import CABundle, Egress, Proxy
from rolesanywhere_operator.domain.identities import TokenIdentity

# What a Python process with TLS needs; no CPU limit, because a throttled renewal is a late one.
RESOURCES: Final[Mapping[str, Any]] = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"memory": "128Mi"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarDefaults:
    """``pkcs11_image`` is for keys in tokens, None for the image of all; ``resources`` None for
    `RESOURCES`, and empty for none. Without ``proxy`` there is none, without ``ca_bundle`` the
    image's own authorities are believed."""

    image: str
    pkcs11_image: str | None = None
    resources: Mapping[str, Any] | None = None
    log_level: str = "info"
    proxy: Proxy | None = None
    ca_bundle: CABundle | None = None

    def __hash__(self) -> int:
        return hash(self.image)  # There is one of them; resources have no hash.

    def image_for(self, binding: Binding) -> str:
        """The image of ``binding``'s sidecars."""
        in_token = isinstance(binding.identity, TokenIdentity)
        return binding.sidecar_image or (self.pkcs11_image if in_token else None) or self.image

    def resources_for(self, binding: Binding) -> Mapping[str, Any]:
        """Their requests and limits, as a whole from here or from there."""
        chosen = RESOURCES if self.resources is None else self.resources
        return binding.sidecar_resources or chosen

    def egress_for(self, binding: Binding) -> Egress:
        """How they reach AWS. A proxy and its exceptions are chosen as a whole."""
        return Egress(
            proxy=binding.sidecar_proxy or self.proxy or Proxy(),
            ca_bundle=binding.sidecar_ca_bundle or self.ca_bundle or CABundle(),
        )

    def settings_for(self, binding: Binding) -> Settings:
        """What they are told, but for what only a pod can tell."""
        level = binding.sidecar_log_level or self.log_level
        bundle = CA_BUNDLE_PATH if self.egress_for(binding).ca_bundle.config_map else None
        told = binding.settings
        if (told.log_level, told.ca_bundle) == (level, bundle):
            return told
        return replace(told, log_level=level, ca_bundle=bundle)
