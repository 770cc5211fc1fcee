"""Where a binding's certificate and key come from: one type for each kind.

Never says what a kind looks like in a pod: that is `manifests`' to know.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from rolesanywhere_contract.pkcs11uri import Pkcs11Uri

# What the files are called where nobody says otherwise.
CERTIFICATE_FILE: Final = "tls.crt"
PRIVATE_KEY_FILE: Final = "tls.key"
# Key and chain in one file, which is replaced as one: the pair never disagrees.
BUNDLE_FILE: Final = "credentials.pem"
PIN_FILE: Final = "pin"
# What the chart's p11-kit server calls its socket.
SOCKET_FILE: Final = "pkcs11.sock"
# p11-kit's client module, by a path that the images have on every architecture.
CLIENT_MODULE: Final = "/usr/lib/pkcs11/p11-kit-client.so"


class InvalidIdentity(ValueError):
    """``spec.identity`` makes no sense; ``mistakes`` has a sentence for each."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


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
class SecretKey:
    """One key of a Secret in the binding's namespace."""

    name: str
    key: str

    def __str__(self) -> str:
        return f"key {self.key} of secret/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A p11-kit server of the node: the folder that its socket is in, and what that is called."""

    socket_directory: str
    socket_name: str = SOCKET_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that a plugin of the kubelet hands out under this name."""

    resource_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIdentity:
    """The key stays in a token, which a PKCS#11 module of the sidecar reaches.

    ``uri`` holds no PIN. ``module`` None is the image's own choice, ``certificate`` None a
    certificate in the token. ``host_paths`` are folders of the node that the module reads, and
    ``group`` is the sidecar's, where the server or the device asks for one.
    """

    uri: Pkcs11Uri
    module: str | None = None
    pin: SecretKey | None = None
    certificate: SecretKey | None = None
    reach: Server | Device | None = None
    host_paths: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    group: int | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """Every folder of the node that a pod is given, each once."""
        socket = [self.reach.socket_directory] if isinstance(self.reach, Server) else []
        return tuple(dict.fromkeys([*socket, *self.host_paths]))

    def __str__(self) -> str:
        return str(self.uri)


CertManagerIdentity = PerBindingIdentity | PerPodIdentity
# Those whose certificate and key are files.
FileIdentity = SecretIdentity | CertManagerIdentity | CsiIdentity | PodCertificateIdentity
Identity = FileIdentity | TokenIdentity
