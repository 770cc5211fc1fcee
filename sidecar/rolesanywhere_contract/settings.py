"""The sidecar's settings, and their round trip through its environment.

The webhook writes them with `Settings.to_env`, the sidecar reads them with `Settings.from_env`:
one description serves both. Never reads the environment itself, never opens a file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Self

from rolesanywhere_contract import certselector, environment, pkcs11uri
from rolesanywhere_contract.arns import (
    ProfileArn,
    RoleArn,
    TrustAnchorArn,
    is_region,
    service_endpoint,
)
from rolesanywhere_contract.environment import (
    InvalidSettings,
    described,
    log_level,
    text,
    whole_number,
)
from rolesanywhere_contract.hosts import is_host, is_loopback
from rolesanywhere_contract.names import CREDENTIALS_PORT, ENVIRONMENT_PREFIX, PROBE_PORT

# CreateSession accepts these, in seconds (IAM Roles Anywhere API reference, CreateSession).
DURATION_SECONDS: Final = range(900, 43_201)
PORTS: Final = range(1, 65_536)
# What an IPv4 packet's time to live can be (RFC 791, section 3.1).
HOP_LIMITS: Final = range(1, 256)
PKCS11_SCHEME: Final = pkcs11uri.SCHEME

# PATH_MAX of Linux, with its terminating null.
LONGEST_PATH: Final = 4095

# How DER begins in base64: a long SEQUENCE, as every certificate and private key is.
_BARE_BASE64 = re.compile(r"MI[A-Za-z0-9+/]{40}")
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,}", re.ASCII)

_duration = whole_number("a session's length in seconds", DURATION_SECONDS)
_port = whole_number("a port", PORTS)
_hop_limit = whole_number("a hop limit", HOP_LIMITS)


def _flag(given: str) -> bool:
    if given not in ("true", "false"):
        raise ValueError(f"{given!r} is neither 'true' nor 'false'")
    return given == "true"


def _region(given: str) -> str:
    if not is_region(given):
        raise ValueError(f"{given!r} is not an AWS region name such as 'eu-west-1'")
    return given


def _session_name(given: str) -> str:
    if not _SESSION_NAME.fullmatch(given):
        raise ValueError(
            f"{given!r} is not a role session name, expected two or more of A-Za-z0-9_+=,.@-"
        )
    return given


def _endpoint(given: str) -> str:
    # The signature covers the path /sessions alone, so a path prefix could never verify.
    shape = re.fullmatch(
        r"(https?)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?/?", given
    )
    if shape is None or not is_host(shape[2]):
        raise ValueError(f"{given!r} is not a service URL, expected https://<host>[:<port>]")
    scheme, host, port = shape.groups()
    if port is not None and int(port) not in PORTS:
        raise ValueError(f"{given!r} has port {port}, expected {PORTS[0]} to {PORTS[-1]}")
    if scheme == "http" and not is_loopback(host.strip("[]")):
        raise ValueError(f"{given!r} would carry credentials in the clear, expected https://")
    return given.rstrip("/")


def _path(given: str) -> str:
    """A path, or a URI that stands for one; content in its place is not repeated: it is a key."""
    if "-----BEGIN" in given or "\n" in given or _BARE_BASE64.match(given):
        raise ValueError("is the content of a file, expected the path of one")
    if len(given) > LONGEST_PATH:
        raise ValueError(f"has {len(given)} characters, expected a path of {LONGEST_PATH} at most")
    return given


def _path_or_uri(given: str) -> str:
    """As it is: what a URI asks for, and whether it is done, is seen by who uses it."""
    if pkcs11uri.is_one(given):
        pkcs11uri.Pkcs11Uri.parse(given)
    return _path(given)


def _moment(given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{given!r} is not a time with its zone such as '2026-01-31T12:00:00Z'"
        ) from None


def _show(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value).lower() if isinstance(value, bool) else str(value)


# Without slots: two classes that have some cannot be the bases of one.
@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """What is to be assumed, and where one asks for it."""

    trust_anchor_arn: TrustAnchorArn = field(
        metadata=described(TrustAnchorArn.parse, "trust anchor that vouches for the certificate")
    )
    profile_arn: ProfileArn = field(
        metadata=described(ProfileArn.parse, "profile that lists the role")
    )
    role_arn: RoleArn = field(metadata=described(RoleArn.parse, "role to assume"))
    region: str | None = field(
        default=None,
        metadata=described(_region, "signing region and endpoint (default: the trust anchor's)"),
    )
    endpoint: str | None = field(
        default=None,
        metadata=described(_endpoint, "service URL, for PrivateLink, FIPS or tests"),
    )
    ca_bundle: str | None = field(
        default=None,
        metadata=described(
            _path, "PEM file of the authorities that the endpoint's TLS may chain to"
        ),
    )
    duration_seconds: int = field(
        default=3600, metadata=described(_duration, "length of a session in seconds, 900 to 43200")
    )
    role_session_name: str | None = field(
        default=None,
        metadata=described(_session_name, "session name; the profile must accept custom ones"),
    )


@dataclass(frozen=True, kw_only=True)
class IdentitySettings:
    """Who one is: where certificate and key are, and which of several. Paths are not opened."""

    # Neither is shown: a URI may hold a PIN.
    certificate: str = field(
        repr=False,
        metadata=described(
            _path_or_uri,
            "leaf certificate and its chain: file or folder (PEM, DER, PKCS#12), or pkcs11: URI",
        ),
    )
    private_key: str | None = field(
        default=None,
        repr=False,
        metadata=described(
            _path_or_uri,
            "private key: file (PEM, DER, PKCS#12) or pkcs11: URI (default: the certificate's)",
        ),
    )
    private_key_password_file: str | None = field(
        default=None,
        metadata=described(_path, "file with the password of the private key, or of the PKCS#12"),
    )
    private_key_password: str | None = field(
        default=None,
        repr=False,
        metadata=described(text, "that password itself; its file, if set too, wins"),
    )
    cert_selector: str | None = field(
        default=None,
        metadata=described(
            certselector.checked,
            "which certificate, of several: Key=x509Subject,Value=… or file://<path>",
        ),
    )
    use_latest_expiring_certificate: bool = field(
        default=False,
        metadata=described(_flag, "whether the latest to expire wins among several certificates"),
    )
    intermediates: str | None = field(
        default=None, metadata=described(_path, "PEM file with intermediate certificates")
    )
    pkcs11_module: str | None = field(
        default=None,
        metadata=described(
            _path, "PKCS#11 module of pkcs11: URIs (default: PKCS11_MODULE, or p11-kit's proxy)"
        ),
    )
    pin_file: str | None = field(
        default=None, metadata=described(_path, "file with the PIN of the token")
    )
    pin_latch_file: str | None = field(
        default=None,
        metadata=described(_path, "where refused PINs are remembered, so that none is tried twice"),
    )

    @classmethod
    def from_env(
        cls, env: Mapping[str, str], *, called: Callable[[str], str] | None = None
    ) -> Self:
        """The settings that ``env`` holds; an empty value counts as unset.

        ``called`` tells how the user wrote a setting where that was not its variable (a flag).
        Raises `InvalidSettings` that names every mistake at once.
        """
        called = called or variable
        values, mistakes = environment.read(
            fields(cls), env, prefix=ENVIRONMENT_PREFIX, called=called
        )
        mistakes += _disagreements(values, called)
        if mistakes:
            raise InvalidSettings(mistakes, values=values)
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Settings(IdentitySettings, SessionSettings):
    """Everything that the sidecar is told. Ports are TCP."""

    session_file: str | None = field(
        default=None,
        metadata=described(_path, "where a session is kept for the next process that asks"),
    )
    start_after: datetime | None = field(
        default=None,
        metadata=described(
            _moment, "time before which serve leaves AWS alone, its turn in a fleet"
        ),
    )
    token_file: str | None = field(
        default=None,
        metadata=described(_path, "where serve keeps the token that container credentials ask for"),
    )
    port: int = field(
        default=CREDENTIALS_PORT, metadata=described(_port, "loopback port that serves credentials")
    )
    probe_port: int = field(
        default=PROBE_PORT,
        metadata=described(
            _port, "port for /livez and /readyz, on every address in a pod, else on loopback"
        ),
    )
    hop_limit: int = field(
        default=64, metadata=described(_hop_limit, "time to live of what the loopback port sends")
    )
    imds: bool = field(default=True, metadata=described(_flag, "whether serve also speaks IMDSv2"))
    log_level: str = field(
        default="info", metadata=described(log_level, "debug, info, warning or error")
    )

    def to_env(self) -> dict[str, str]:
        """The environment that `from_env` reads back; what stands at its default is left out."""
        return {
            variable(setting.name): _show(getattr(self, setting.name))
            for setting in fields(self)
            if getattr(self, setting.name) != setting.default
        }

    @property
    def signing_region(self) -> str:
        """The region of the credential scope, and of the endpoint unless that is set."""
        return self.region or self.trust_anchor_arn.region

    @property
    def service_url(self) -> str:
        """Where CreateSession is posted to: scheme, host and port, no path."""
        return self.endpoint or service_endpoint(
            partition=self.trust_anchor_arn.partition, region=self.signing_region
        )


def variable(name: str) -> str:
    """The environment variable of the setting ``name``."""
    return environment.variable(_setting(name), prefix=ENVIRONMENT_PREFIX)


def about(name: str) -> str:
    """What the setting ``name`` is for, in a few words."""
    return environment.about(_setting(name))


def _setting(name: str) -> Field[Any]:
    return next(setting for setting in fields(Settings) if setting.name == name)


def _disagreements(values: Mapping[str, Any], called: Callable[[str], str]) -> list[str]:
    anchor, profile, role = (
        values.get(name) for name in ("trust_anchor_arn", "profile_arn", "role_arn")
    )
    found: list[str] = []
    if anchor and profile:
        for part in ("partition", "region", "account"):
            ours, theirs = getattr(anchor, part), getattr(profile, part)
            if ours != theirs:
                found.append(
                    f"{called('profile_arn')}: the profile's {part} is {theirs} but the trust"
                    f" anchor's is {ours}, expected both in one {part}"
                )
    if anchor and role and anchor.partition != role.partition:
        found.append(
            f"{called('role_arn')}: the role's partition is {role.partition} but the trust"
            f" anchor's is {anchor.partition}, expected both in one partition"
        )
    sources = [values.get(name) or "" for name in ("certificate", "private_key")]
    if not any(map(pkcs11uri.is_one, sources)):
        found += [
            f"{called(name)}: is given, but neither certificate nor private key is a pkcs11: URI"
            for name in ("pkcs11_module", "pin_file", "pin_latch_file")
            if values.get(name)
        ]
    if values.get("port", CREDENTIALS_PORT) == values.get("probe_port", PROBE_PORT):
        found.append(f"{called('probe_port')}: is the same as {called('port')}")
    return found
