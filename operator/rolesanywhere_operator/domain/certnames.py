"""The names in a certificate that the operator asks for, and the names of what it asks with.

Never shortens: a name that does not fit is refused, because two that were cut alike would be one
identity to AWS.
"""

import re
from typing import Final

# What stands for the pod's own in a name, as cert-manager's csi-driver spells it
# (cert-manager documentation, "csi-driver", "Requesting Certificates using the mount").
VARIABLES: Final = ("POD_NAME", "POD_NAMESPACE", "POD_UID", "SERVICE_ACCOUNT_NAME")

# RFC 5280, appendix A.1, ub-common-name; RFC 1035, section 2.3.4; and the longest value of a
# session tag, which is what Roles Anywhere makes of a URI (STS API reference, Tag).
LENGTHS: Final = {"commonName": 64, "dnsNames": 253, "uris": 256}

# All are equally long.
SOME_UID: Final = "00000000-0000-0000-0000-000000000000"

DEFAULT_TRUST_DOMAIN: Final = "cluster.local"

# SPIFFE-ID, section 2.1.
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")
_SECRET_NAME_LENGTH: Final = 253
_SECRET_PREFIX: Final = "rolesanywhere-"  # noqa: S105 - how a name begins
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}", re.ASCII)


class NameTooLong(ValueError):
    """A name does not fit where it has to go."""


def trust_domain(text: str) -> str:
    """``text`` if it is the trust domain of a SPIFFE ID. Raises ValueError."""
    if not _TRUST_DOMAIN.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a trust domain, expected 1 to 255 of a-z0-9.-_ such as"
            f" {DEFAULT_TRUST_DOMAIN}"
        )
    return text


def secret_name(binding: str) -> str:
    """The name of the Secret that holds the certificate of binding ``binding``, and of what asks
    for it. Raises `NameTooLong`.
    """
    name = f"{_SECRET_PREFIX}{binding}"
    if len(name) > _SECRET_NAME_LENGTH:
        longest = _SECRET_NAME_LENGTH - len(_SECRET_PREFIX)
        raise NameTooLong(
            f"metadata.name has {len(binding)} characters, expected {longest} at most because its"
            f" certificate is kept in Secret {_SECRET_PREFIX}<name>; choose a shorter name"
        )
    return name


def binding_uri(trust_domain: str, namespace: str, binding: str) -> str:
    """The SPIFFE ID of binding ``binding``: the URI of its certificate unless others are given."""
    return f"spiffe://{trust_domain}/ns/{namespace}/rolesanywherebinding/{binding}"


def pod_uri(trust_domain: str, namespace: str, binding: str) -> str:
    """The SPIFFE ID of a pod of ``binding``, with a variable in it: what a pod has by default."""
    return f"{binding_uri(trust_domain, namespace, binding)}/pod/${{POD_NAME}}"


def filled(template: str, *, pod: str, namespace: str, service_account: str, uid: str) -> str:
    """``template`` with the pod's own in place of the variables; unknown ones stay."""
    own = dict(zip(VARIABLES, (pod, namespace, uid, service_account), strict=True))
    return _VARIABLE.sub(lambda found: own.get(found[1], found[0]), template)


def shortest(template: str, *, namespace: str) -> str:
    """``template`` for a pod whose names are as short as they get: no pod's is shorter."""
    return filled(template, pod="x", namespace=namespace, service_account="x", uid=SOME_UID)


def variables(template: str) -> list[str]:
    """The variables that ``template`` names, known or not."""
    return _VARIABLE.findall(template)


def stray_dollar(template: str) -> bool:
    """Whether there is a dollar sign outside ``${NAME}``, which csi-driver would expand too."""
    return "$" in _VARIABLE.sub("", template)
