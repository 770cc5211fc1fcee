"""Where a binding's certificate and key come from: one type for each kind.

Never says what a kind looks like in a pod: that is `manifests`' to know.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

# What the files are called where nobody says otherwise.
CERTIFICATE_FILE: Final = "tls.crt"
PRIVATE_KEY_FILE: Final = "tls.key"
# Key and chain in one file, which is replaced as one: the pair never disagrees.
BUNDLE_FILE: Final = "credentials.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretIdentity:
    """Certificate and key are two keys of a Secret in the binding's namespace."""

    name: str
    certificate_key: str = CERTIFICATE_FILE
    private_key_key: str = PRIVATE_KEY_FILE
    certificate_file: ClassVar[str] = CERTIFICATE_FILE
    private_key_file: ClassVar[str] = PRIVATE_KEY_FILE

    def __str__(self) -> str:
        return f"secret/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRef:
    """Who signs, as cert-manager names its issuers."""

    name: str
    kind: str = "Issuer"
    group: str = "cert-manager.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """What key is made; ``size`` is in bits."""

    algorithm: str = "ECDSA"
    size: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCertificate:
    """What cert-manager is asked for.

    ``duration`` and ``renew_before`` are as Go spells them, None for cert-manager's own choice.
    ``uris`` are never empty: without any in the spec they hold the default SPIFFE ID.
    """

    issuer: IssuerRef
    duration: str | None = None
    renew_before: str | None = None
    private_key: PrivateKey = field(default_factory=PrivateKey)
    common_name: str | None = None
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...]

    def names(self) -> Iterator[tuple[str, str]]:
        """Every name, with the field of the spec that it is from."""
        if self.common_name is not None:
            yield "commonName", self.common_name
        yield from (("dnsNames", name) for name in self.dns_names)
        yield from (("uris", uri) for uri in self.uris)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerBindingIdentity:
    """cert-manager keeps one certificate for all pods in Secret ``name``.

    ``name`` is also that of the Certificate which asks for it.
    """

    name: str
    wanted: WantedCertificate
    certificate_file: ClassVar[str] = CERTIFICATE_FILE
    private_key_file: ClassVar[str] = PRIVATE_KEY_FILE

    def __str__(self) -> str:
        return f"certificate/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerPodIdentity:
    """cert-manager's csi-driver has a certificate issued for each pod, on the pod's node.

    The names in ``wanted`` may hold `certnames.VARIABLES`.
    """

    wanted: WantedCertificate
    certificate_file: ClassVar[str] = CERTIFICATE_FILE
    private_key_file: ClassVar[str] = PRIVATE_KEY_FILE
    driver: ClassVar[str] = "csi.cert-manager.io"

    def __str__(self) -> str:
        return f"csi/{self.driver}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiIdentity:
    """Any CSI driver writes certificate and key into a volume of the pod."""

    driver: str
    volume_attributes: Mapping[str, str] = field(default_factory=dict)
    certificate_file: str = CERTIFICATE_FILE
    private_key_file: str = PRIVATE_KEY_FILE

    def __str__(self) -> str:
        return f"csi/{self.driver}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodCertificateIdentity:
    """The kubelet makes a key for each pod and has ``signer_name`` sign its certificate."""

    signer_name: str
    key_type: str
    max_expiration_seconds: int | None = None
    certificate_file: ClassVar[str] = BUNDLE_FILE
    private_key_file: ClassVar[str] = BUNDLE_FILE

    def __str__(self) -> str:
        return f"podCertificate/{self.signer_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherIdentity:
    """A kind of identity that the schema knows and this version does not serve."""

    kind: str
    certificate_file: ClassVar[str] = CERTIFICATE_FILE
    private_key_file: ClassVar[str] = PRIVATE_KEY_FILE

    def __str__(self) -> str:
        return self.kind


CertManagerIdentity = PerBindingIdentity | PerPodIdentity
ServedIdentity = SecretIdentity | CertManagerIdentity | CsiIdentity | PodCertificateIdentity
Identity = ServedIdentity | OtherIdentity
