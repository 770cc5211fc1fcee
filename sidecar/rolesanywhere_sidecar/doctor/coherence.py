"""Do the settings make sense together, before anything is opened or asked?

Looks at what could be read of them, also when the rest is wrong. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final
from urllib.parse import urlsplit

from rolesanywhere_contract.arns import (
    DNS_SUFFIXES,
    ProfileArn,
    RoleArn,
    TrustAnchorArn,
    service_endpoint,
)
from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, skipped, warning
from rolesanywhere_sidecar.service.proxies import InvalidProxy, proxy_for
from rolesanywhere_sidecar.service.sessions import LONGEST_SESSION_NAME

# Where Roles Anywhere has FIPS endpoints (AWS General Reference, "Roles Anywhere endpoints").
FIPS_REGIONS: Final = frozenset(
    {"us-east-1", "us-east-2", "us-west-1", "us-west-2", "us-gov-east-1", "us-gov-west-1"}
)

# Names of AWS's own: regional, FIPS, dual-stack and PrivateLink.
_AWS_HOST = re.compile(
    r"(?:.+\.)?rolesanywhere(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\.(?:vpce\.)?(?P<suffix>[a-z.-]+)"
)
_DUAL_STACK: Final[Mapping[str, str]] = {
    "aws": "api.aws",
    "aws-us-gov": "api.aws",
    "aws-cn": "api.amazonwebservices.com.cn",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the user said: everything, or what could be read of it and the mistakes in the rest."""

    values: Mapping[str, Any]
    mistakes: tuple[str, ...] = ()
    settings: Settings | None = None

    @classmethod
    def of(cls, given: Settings | InvalidSettings) -> "Told":
        """Defaults fill what was not said."""
        if isinstance(given, Settings):
            values = {setting.name: getattr(given, setting.name) for setting in fields(Settings)}
            return cls(values, settings=given)
        defaults = {
            setting.name: setting.default
            for setting in fields(Settings)
            if setting.default is not MISSING
        }
        return cls({**defaults, **given.values}, mistakes=given.mistakes)


def examine(told: Told, env: Mapping[str, str]) -> Iterator[Finding]:
    """Every check of the settings; ``env`` tells of proxies."""
    yield from _mistakes(told)
    yield _arns(told)
    yield _role_account(told)
    yield _session_request(told)
    yield from _endpoint(told)
    yield _proxy(told, env)
    yield _delivery(told)


def _mistakes(told: Told) -> Iterator[Finding]:
    remedy = "correct this setting; docs/reference.md lists them all"
    for mistake in told.mistakes:
        yield failure(Check.SETTINGS, mistake, remedy)
    if not told.mistakes:
        yield ok(Check.SETTINGS, "all that is required is set, and everything set can be read")


def _arns(told: Told) -> Finding:
    """Contradictions are mistakes in the settings, told above with both values."""
    anchor, profile, role = _three(told)
    if not (anchor and profile and role):
        return skipped(Check.ARNS, "not all three ARNs could be read")
    together = (anchor.partition, anchor.region, anchor.account) == (
        profile.partition, profile.region, profile.account,
    )  # fmt: skip
    if not together or role.partition != anchor.partition:
        return skipped(Check.ARNS, "they contradict each other, see the settings above")
    return ok(
        Check.ARNS,
        f"trust anchor and profile are in account {anchor.account}, {anchor.region}"
        f" (partition {anchor.partition}), and the role is in the same partition",
    )


def _role_account(told: Told) -> Finding:
    """A role is passed to a service within its account (IAM user guide, "Granting permissions to
    pass a role to a service": no cross-account PassRole)."""
    _, profile, role = _three(told)
    if not (profile and role):
        return skipped(Check.ROLE_ACCOUNT, "the ARN of profile or role could not be read")
    if profile.account == role.account:
        return ok(Check.ROLE_ACCOUNT, f"role and profile are both in account {role.account}")
    return warning(
        Check.ROLE_ACCOUNT,
        f"the role is in account {role.account} but the profile in {profile.account}, expected"
        " one account: AWS documents no way to pass a role to a service in another",
        f"use a profile and trust anchor in {role.account}, or a role in {profile.account} that"
        " may assume the other",
    )


def _session_request(told: Told) -> Finding:
    seconds, name = told.values["duration_seconds"], told.values["role_session_name"]
    asked = f"sessions of {seconds} seconds are asked for"
    if name is None:
        return ok(Check.SESSION_REQUEST, f"{asked}, named by the certificate's serial number")
    if len(name) > LONGEST_SESSION_NAME:
        return warning(
            Check.SESSION_REQUEST,
            f"{asked}; their name has {len(name)} characters but STS takes"
            f" {LONGEST_SESSION_NAME}, so its end becomes a hash",
            "shorten --role-session-name if CloudTrail should show it whole",
        )
    return ok(Check.SESSION_REQUEST, f"{asked}, named {name!r}; the profile must accept names")


def _endpoint(told: Told) -> Iterator[Finding]:
    url = service_url(told)
    anchor, _, _ = _three(told)
    if url is None or anchor is None:
        yield skipped(Check.ENDPOINT, "the trust anchor's ARN could not be read")
        return
    region = told.values["region"] or anchor.region
    doubts = list(_endpoint_doubts(url, anchor, region))
    yield from doubts
    if not doubts:
        host = urlsplit(url).hostname or ""
        whose = "" if _AWS_HOST.fullmatch(host) else ", which is no name of AWS's own"
        yield ok(Check.ENDPOINT, f"{url}{whose}; requests are signed for {region}")


def _endpoint_doubts(url: str, anchor: TrustAnchorArn, region: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    if region != anchor.region:
        yield warning(
            Check.ENDPOINT,
            f"requests are signed for region {region} but the trust anchor is in {anchor.region}",
            f"leave --region out, or set it to {anchor.region}",
        )
    if parts.scheme == "http":
        yield warning(
            Check.ENDPOINT,
            f"{url} is plain http, over which credentials come in the clear",
            "use it for tests alone; leave --endpoint out for AWS's own endpoint",
        )
    shape = _AWS_HOST.fullmatch(parts.hostname or "")
    if shape is None:
        return
    if shape["region"] != region:
        yield warning(
            Check.ENDPOINT,
            f"{parts.hostname} is an endpoint of {shape['region']} but requests are signed for"
            f" {region}",
            f"use the endpoint of {region}, or leave --endpoint out",
        )
    own = {DNS_SUFFIXES[anchor.partition], _DUAL_STACK.get(anchor.partition)}
    if shape["suffix"] not in own:
        yield warning(
            Check.ENDPOINT,
            f"{parts.hostname} is not in partition {anchor.partition}, whose names end in"
            f" {DNS_SUFFIXES[anchor.partition]}",
            "use an endpoint of the trust anchor's partition, or leave --endpoint out",
        )
    if shape["fips"] and shape["region"] not in FIPS_REGIONS:
        yield warning(
            Check.ENDPOINT,
            f"Roles Anywhere publishes no FIPS endpoint in {shape['region']}",
            "leave --endpoint out, or use a region of the USA",
        )


def _proxy(told: Told, env: Mapping[str, str]) -> Finding:
    url = service_url(told)
    if url is None:
        return skipped(Check.PROXY, "the endpoint is not known")
    try:
        proxy = proxy_for(url, env)
    except InvalidProxy as wrong:
        return failure(Check.PROXY, wrong.problem, wrong.hint)
    if proxy is None:
        exempt = any(env.get(name) for name in ("https_proxy", "HTTPS_PROXY"))
        why = ", exempt by no_proxy or as loopback" if exempt else ""
        return ok(Check.PROXY, f"none is used for {urlsplit(url).hostname}{why}")
    return ok(Check.PROXY, f"{urlsplit(url).hostname} is reached through {proxy.address}")


def _delivery(told: Told) -> Finding:
    imds, token_file = told.values["imds"], told.values["token_file"]
    if not imds and token_file is None:
        return failure(
            Check.DELIVERY,
            "IMDS is off and no token file is set, so that serve has nobody to serve",
            "set --token-file, or leave IMDS on; credential-process needs neither",
        )
    offered = ["container credentials"] if token_file else []
    offered += ["IMDSv2"] if imds else []
    return ok(Check.DELIVERY, f"serve offers {' and '.join(offered)}")


def service_url(told: Told) -> str | None:
    """Where CreateSession would be posted to, if that can be known."""
    if told.settings:
        return told.settings.service_url
    endpoint: str | None = told.values["endpoint"]
    anchor, _, _ = _three(told)
    if endpoint or anchor is None:
        return endpoint
    region = told.values["region"] or anchor.region
    return service_endpoint(partition=anchor.partition, region=region)


def _three(told: Told) -> tuple[TrustAnchorArn | None, ProfileArn | None, RoleArn | None]:
    return (
        told.values.get("trust_anchor_arn"),
        told.values.get("profile_arn"),
        told.values.get("role_arn"),
    )
