"""What the way to the endpoint looked like: a finding for each step that `network` took. Pure."""

import re
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from rolesanywhere_sidecar.clock import NOTABLE_SKEW, measured
from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, warning
from rolesanywhere_sidecar.doctor.network import Connected, Resolved, Shaken, Timed
from rolesanywhere_sidecar.service.dialing import Way
from rolesanywhere_sidecar.service.sessions import TOLERATED_SKEW_SECONDS

_SET_IT: Final = (
    "set it, and keep it set, with chrony or systemd-timesyncd (in a pod: on its node); serve"
    " corrects its own requests, the application's are signed with this clock"
)
_NETWORK: Final = "let network policies, firewalls and security groups pass {0} port {1}"

# Endpoints of the partitions in which AWS's certificates are always Amazon's own.
_AMAZON_HOST = re.compile(r".+\.(?:amazonaws\.com|api\.aws)")
_AMAZON: Final = "Amazon"


def dns(way: Way, seen: Resolved) -> Finding:
    """Whether the first hop has an address."""
    host = (way.proxy or way).host
    whose = f"the proxy {host}" if way.proxy else host
    if seen.problem:
        return failure(
            Check.DNS,
            f"{whose} does not resolve: {seen.problem}",
            "check the spelling of region and endpoint, and this machine's DNS (/etc/resolv.conf)",
        )
    if host in seen.addresses:
        return ok(Check.DNS, f"{whose} is an address, and needs no name server")
    addresses = ", ".join(seen.addresses[:4])
    more = f" and {len(seen.addresses) - 4} more" if len(seen.addresses) > 4 else ""
    return ok(Check.DNS, f"{whose} is {addresses}{more} ({seen.seconds * 1000:.0f} ms)")


def tcp(way: Way, seen: Connected) -> Finding:
    """Whether the first hop takes connections."""
    first = way.proxy or way
    host, port = first.host, first.port
    whose = "the proxy " if way.proxy else ""
    if seen.problem:
        return failure(
            Check.TCP,
            f"{whose}{host} port {port} cannot be connected to: {seen.problem}",
            _NETWORK.format(host, port)
            + ("" if way.proxy else "; or set https_proxy if a proxy leads out"),
        )
    return ok(
        Check.TCP,
        f"{whose}{host} port {port} takes connections ({seen.seconds * 1000:.0f} ms)",
    )


def tls(way: Way, seen: Shaken, *, ca_bundle: str | None, at: datetime) -> Finding:
    """Whether the service is who it should be, by whose word, and for how long."""
    if seen.problem:
        return failure(
            Check.TLS,
            f"{way.host} port {way.port}: {seen.problem}",
            "check that the endpoint speaks HTTPS, and that the proxy lets it pass"
            if way.proxy
            else "check that the endpoint speaks HTTPS, and what stands in between",
        )
    issuer = _issuer(seen.served)
    intercepted = _AMAZON_HOST.fullmatch(way.host) and issuer and _AMAZON not in issuer
    if seen.untrusted:
        return failure(
            Check.TLS,
            f"the TLS certificate of {way.host} is not trusted ({seen.untrusted}); it was issued"
            f" by {issuer or 'nobody known'}",
            _untrusted_remedy(ca_bundle, intercepted=bool(intercepted)),
        )
    if intercepted:
        return warning(
            Check.TLS,
            f"TLS to {way.host} is trusted, but by {issuer} instead of Amazon: something in"
            " between reads the credentials",
            f"exempt {way.host} from TLS inspection",
        )
    return _trusted(way, seen, issuer=issuer, at=at)


def clock(seen: Timed) -> Finding:
    """How far this machine's clock is from the service's."""
    if seen.theirs is None or seen.sent is None or seen.received is None:
        return warning(
            Check.CLOCK,
            f"the service's clock is not known: {seen.problem}",
            "compare this machine's clock with a time server; see create-session below",
        )
    ahead = measured(seen.theirs, sent=seen.sent, received=seen.received, held=timedelta())
    if not ahead:
        return ok(Check.CLOCK, "this machine's clock agrees with the service's")
    seconds = round(ahead.total_seconds())
    direction = "ahead of" if seconds > 0 else "behind"
    sentence = f"this machine's clock is {abs(seconds)} seconds {direction} the service's"
    if abs(seconds) >= TOLERATED_SKEW_SECONDS:
        return failure(
            Check.CLOCK, f"{sentence}, and AWS takes less than {TOLERATED_SKEW_SECONDS}", _SET_IT
        )
    if abs(ahead) >= NOTABLE_SKEW:
        return warning(Check.CLOCK, sentence, _SET_IT)
    return ok(Check.CLOCK, sentence)


def _trusted(way: Way, seen: Shaken, *, issuer: str, at: datetime) -> Finding:
    if seen.served is None:
        return ok(Check.TLS, f"{way.host} is trusted ({seen.version})")
    end = seen.served.not_valid_after_utc
    sentence = f"{way.host} is trusted by {issuer}, until {end:%Y-%m-%d} ({seen.version})"
    if end - at < timedelta(days=1):
        return warning(
            Check.TLS,
            f"{sentence}: in under a day",
            "tell whoever runs this endpoint to renew its certificate",
        )
    return ok(Check.TLS, sentence)


def _untrusted_remedy(ca_bundle: str | None, *, intercepted: bool) -> str:
    if intercepted and ca_bundle is None:
        return (
            "something in between inspects TLS: exempt this host, or name its authority with"
            " --ca-bundle"
        )
    if ca_bundle is not None:
        return f"put its authority into {ca_bundle}, or leave --ca-bundle out for public ones"
    return "name its authority's PEM file with --ca-bundle (ROLESANYWHERE_CA_BUNDLE)"


def _issuer(served: x509.Certificate | None) -> str:
    """The organisation that issued the certificate, or else the issuer's whole name."""
    if served is None:
        return ""
    organisations = served.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    names = [str(part.value) for part in organisations]
    return repr(names[0] if names else served.issuer.rfc4514_string())
