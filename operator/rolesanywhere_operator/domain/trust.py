"""What IAM must be told for a binding to work: the role's trust policy, and the profile's settings.

Written from the binding alone, after the IAM Roles Anywhere user guide, "The IAM Roles Anywhere
trust model" and "Certificate attribute mapping". Never asks AWS what it has been told already.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rolesanywhere_operator.domain import bindings, certnames, subjects
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.certnames import DEFAULT_TRUST_DOMAIN
from rolesanywhere_operator.domain.identities import PerBindingIdentity, PerPodIdentity
from rolesanywhere_operator.domain.untyped import mapping

Json = dict[str, Any]

PRINCIPAL: Final = "rolesanywhere.amazonaws.com"
ACTIONS: Final = ("sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity")

# Tags that a session gets from a certificate, by the certificate's field and its mapping rule.
URI: Final = "x509SAN/URI"
DNS: Final = "x509SAN/DNS"
COMMON_NAME: Final = "x509Subject/CN"

# What a role allows unless it is told otherwise, in seconds (IAM API reference, CreateRole).
DEFAULT_ROLE_SECONDS: Final = 3600
# What STS takes as a session tag's value (STS API reference, Tag).
_TAG_VALUE: Final = re.compile(r"[\w .:/=+@-]{1,256}")


@dataclass(frozen=True, slots=True)
class Need:
    """What one setting of the profile or the role has to be; the name is AWS's own."""

    setting: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """``policy`` is the role's trust policy; ``warnings`` say what it leaves open or what fails."""

    binding: Binding
    policy: Json
    profile: tuple[Need, ...]
    role: tuple[Need, ...]
    warnings: tuple[str, ...]


def of(raw: Mapping[str, Any], *, trust_domain: str = DEFAULT_TRUST_DOMAIN) -> Trust:
    """What the binding ``raw`` needs in a cluster of ``trust_domain``. Raises `InvalidBinding`."""
    binding = bindings.parse(raw, trust_domain=trust_domain)
    tags = _tags(binding, raw)
    return Trust(
        binding=binding,
        policy=_policy(binding, tags),
        profile=tuple(_profile_needs(binding, tags)),
        role=tuple(_role_needs(binding)),
        warnings=tuple(_warnings(binding, tags)),
    )


def _policy(binding: Binding, tags: Mapping[str, list[str]]) -> Json:
    conditions: Json = {
        "ArnEquals": {"aws:SourceArn": str(binding.settings.trust_anchor_arn)},
    }
    for tag, values in tags.items():
        operator, spelt = _matcher(values)
        key = f"aws:PrincipalTag/{tag}"
        conditions.setdefault(operator, {})[key] = spelt[0] if len(spelt) == 1 else spelt
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": PRINCIPAL},
        "Action": list(ACTIONS),
        "Condition": conditions,
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _matcher(values: list[str]) -> tuple[str, list[str]]:
    """The condition operator for ``values``, and how it spells them."""
    if not any(certnames.variables(value) for value in values):
        return "StringEquals", values
    return "StringLike", [_pattern(value) for value in values]


def _pattern(template: str) -> str:
    """``template`` with a wildcard for what only a pod knows (IAM user guide, "String condition
    operators"); a character that would be one by itself is spelt as a policy variable.
    """
    literal = re.sub(r"[*?]", r"${\g<0>}", template)
    return certnames.filled(literal, pod="*", namespace="*", uid="*", service_account="*")


def _tags(binding: Binding, raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is known of the session's tags: the values that each may have, as templates.

    Of several names of a kind the profile maps the first of the certificate, and the authority
    orders them, so that any of them may be it.
    """
    match binding.identity:
        case PerBindingIdentity(wanted=wanted) | PerPodIdentity(wanted=wanted):
            # A common name that was not asked for may be another with the next certificate.
            name = [wanted.common_name] if wanted.common_name else []
            uris, dns_names = list(wanted.uris), list(wanted.dns_names)
        case _:
            uris, dns_names, name = [], [], _observed(raw)
    found = {URI: uris, DNS: dns_names, COMMON_NAME: name}
    return {
        tag: [_known(binding, value) for value in values] for tag, values in found.items() if values
    }


def _known(binding: Binding, template: str) -> str:
    """``template`` with what all pods of ``binding`` share; the other variables stay."""
    accounts = sorted(binding.service_account_names)
    return certnames.filled(
        template,
        pod="${POD_NAME}",
        namespace=binding.namespace,
        uid="${POD_UID}",
        service_account=accounts[0] if len(accounts) == 1 else "${SERVICE_ACCOUNT_NAME}",
    )


def _observed(raw: Mapping[str, Any]) -> list[str]:
    """The common name of the certificate in use; none where it has several."""
    subject = mapping(mapping(raw.get("status")).get("identity")).get("subject")
    names = list(subjects.common_names(subject)) if isinstance(subject, str) else []
    return names if len(names) == 1 else []


def _profile_needs(binding: Binding, tags: Mapping[str, list[str]]) -> Iterator[Need]:
    yield Need("enabled", "true, and so is the trust anchor")
    yield Need("roleArns", f"contains {binding.settings.role_arn}")
    yield Need("durationSeconds", f"{binding.settings.duration_seconds} or more")
    if binding.role_session_name is not None:
        yield Need("acceptRoleSessionName", "true, because spec.roleSessionName is set")
    if tags:
        rules = ", ".join(tag.replace("/", ": ") for tag in tags)
        yield Need("attributeMappings", f"{rules}; the default mappings have them")


def _role_needs(binding: Binding) -> Iterator[Need]:
    seconds = binding.settings.duration_seconds
    if seconds > DEFAULT_ROLE_SECONDS:
        yield Need("MaxSessionDuration", f"{seconds} or more, or sessions are shorter")


def _warnings(binding: Binding, tags: Mapping[str, list[str]]) -> Iterator[str]:
    settings = binding.settings
    if not tags:
        yield (
            f"nothing is known of the certificate's names ({binding.identity}), so this policy lets"
            " every certificate that the trust anchor vouches for assume the role; add a condition"
            f" such as StringEquals aws:PrincipalTag/{COMMON_NAME} or aws:PrincipalTag/{URI}, with"
            " a name that rolesanywhere-sidecar read-certificate-data shows of it"
        )
    for tag, values in tags.items():
        for value in values:
            if not _TAG_VALUE.fullmatch(certnames.shortest(value, namespace=binding.namespace)):
                yield (
                    f"{tag} {value!r} cannot be a session tag, and no session is given; expected 1"
                    " to 256 letters, digits, spaces and _.:/=+-@"
                )
    if isinstance(binding.identity, PerPodIdentity):
        # Kubernetes hands a driver the attributes of a pod's volume as the pod's author wrote them.
        yield (
            "a certificate for each pod is asked for by a volume of the pod, and whoever creates"
            f" pods in {binding.namespace} can ask for other names; let cert-manager's"
            " approver-policy allow no names but these"
        )
    if settings.role_arn.account != settings.profile_arn.account:
        yield (
            f"the role is in account {settings.role_arn.account} and the profile in"
            f" {settings.profile_arn.account}; expected both in one account"
        )
    if problem := bindings.not_allowed(binding):
        yield f"pods are not served by this binding: {problem}"
