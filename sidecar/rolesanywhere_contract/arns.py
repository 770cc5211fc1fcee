"""The three ARNs of a binding, parsed once, and the service endpoint that follows from them.

An instance is valid for ever: nobody downstream looks at the text again. Never talks to AWS.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from rolesanywhere_contract.errors import RolesAnywhereError

# DNS suffix of each partition's service endpoints (AWS General Reference, "Service endpoints").
DNS_SUFFIXES: Final[Mapping[str, str]] = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
    "aws-iso": "c2s.ic.gov",
    "aws-iso-b": "sc2s.sgov.gov",
    "aws-iso-e": "cloud.adc-e.uk",
    "aws-iso-f": "csp.hci.ic.gov",
}

_PARTITION = f"(?P<partition>{'|'.join(re.escape(partition) for partition in DNS_SUFFIXES)})"
_REGION = r"(?P<region>[a-z]{2,}(?:-[a-z]+)+-[0-9]+)"
_ACCOUNT = r"(?P<account>[0-9]{12})"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_REGION_NAME = re.compile(_REGION)


class InvalidArn(RolesAnywhereError):
    """A text is not an ARN of the kind that belongs in its place."""

    code = "InvalidArn"


def _match(pattern: re.Pattern[str], text: str, *, noun: str, shape: str) -> dict[str, str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise InvalidArn(f"{text!r} is not {noun} ARN", hint=f"expected {shape}")
    return found.groupdict()


@dataclass(frozen=True, slots=True)
class _ResourceArn:
    """``arn:<partition>:rolesanywhere:<region>:<account>:<resource>/<uuid>``."""

    partition: str
    region: str
    account: str
    uuid: str

    RESOURCE: ClassVar[str]
    NOUN: ClassVar[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `InvalidArn` unless ``text`` names such a resource."""
        pattern = re.compile(
            f"arn:{_PARTITION}:rolesanywhere:{_REGION}:{_ACCOUNT}:{cls.RESOURCE}/(?P<uuid>{_UUID})"
        )
        shape = f"arn:aws:rolesanywhere:<region>:<account>:{cls.RESOURCE}/<uuid>"
        return cls(**_match(pattern, text, noun=cls.NOUN, shape=shape))

    def __str__(self) -> str:
        return (
            f"arn:{self.partition}:rolesanywhere:{self.region}:{self.account}"
            f":{self.RESOURCE}/{self.uuid}"
        )


class TrustAnchorArn(_ResourceArn):
    """The certificate authority that Roles Anywhere was told to believe."""

    __slots__ = ()
    RESOURCE = "trust-anchor"
    NOUN = "a Roles Anywhere trust anchor"


class ProfileArn(_ResourceArn):
    """The profile that lists roles and limits sessions."""

    __slots__ = ()
    RESOURCE = "profile"
    NOUN = "a Roles Anywhere profile"


@dataclass(frozen=True, slots=True)
class RoleArn:
    """``arn:<partition>:iam::<account>:role/<path and name>``.

    The name alone is the last part of the path: 1 to 64 of ``A-Za-z0-9+=,.@_-`` (IAM API
    reference, CreateRole).
    """

    partition: str
    account: str
    path: str
    name: str

    _PATTERN: ClassVar[re.Pattern[str]] = re.compile(
        rf"arn:{_PARTITION}:iam::{_ACCOUNT}:role(?P<path>/(?:[!-.0-~]+/)*)(?P<name>[A-Za-z0-9_+=,.@-]{{1,64}})"
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `InvalidArn` unless ``text`` names an IAM role."""
        shape = "arn:aws:iam::<account>:role/<name>"
        return cls(**_match(cls._PATTERN, text, noun="an IAM role", shape=shape))

    def __str__(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role{self.path}{self.name}"


def is_region(text: str) -> bool:
    """Whether ``text`` has the shape of an AWS region name, such as ``eu-west-1``."""
    return _REGION_NAME.fullmatch(text) is not None


def service_endpoint(*, partition: str, region: str) -> str:
    """The HTTPS URL of Roles Anywhere in a region of one of the ``DNS_SUFFIXES`` partitions."""
    return f"https://rolesanywhere.{region}.{DNS_SUFFIXES[partition]}"
