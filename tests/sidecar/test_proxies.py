"""Which requests go through a proxy."""

import pytest

from rolesanywhere_sidecar.proxies import proxy_for

AWS = "https://rolesanywhere.eu-west-1.amazonaws.com"
PROXY = "http://proxy.example:3128"


def test_without_variables_there_is_no_proxy() -> None:
    assert proxy_for(AWS, {}) is None


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_usual_variables_name_it(name: str) -> None:
    assert proxy_for(AWS, {name: PROXY}) == PROXY


def test_the_variable_of_another_scheme_does_not() -> None:
    assert proxy_for(AWS, {"http_proxy": PROXY, "HTTP_PROXY": PROXY}) is None


def test_lower_case_wins() -> None:
    assert proxy_for(AWS, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}) == PROXY


def test_a_proxy_without_a_scheme_is_http() -> None:
    assert proxy_for(AWS, {"https_proxy": "proxy.example:3128"}) == PROXY


@pytest.mark.parametrize(
    "exceptions",
    ["*", "amazonaws.com", ".amazonaws.com", "*.amazonaws.com", "x, AMAZONAWS.COM",
     "rolesanywhere.eu-west-1.amazonaws.com:443", "10.0.0.0/8 eu-west-1.amazonaws.com"],
)  # fmt: skip
def test_no_proxy_excepts_a_host_and_all_below_a_domain(exceptions: str) -> None:
    assert proxy_for(AWS, {"https_proxy": PROXY, "no_proxy": exceptions}) is None


@pytest.mark.parametrize(
    "exceptions",
    ["", ",", "aws.com", "zonaws.com", "amazonaws.com:8443", "eu-west-1", "10.0.0.0/8"],
)
def test_no_proxy_excepts_nothing_else(exceptions: str) -> None:
    assert proxy_for(AWS, {"https_proxy": PROXY, "NO_PROXY": exceptions}) == PROXY


@pytest.mark.parametrize(
    ("exceptions", "direct"),
    [("10.0.0.0/8", True), ("10.1.2.3", True), ("10.1.2.3:8443", True), ("10.2.0.0/16", False)],
)
def test_no_proxy_excepts_addresses_and_networks(exceptions: str, direct: bool) -> None:
    found = proxy_for("https://10.1.2.3:8443", {"https_proxy": PROXY, "no_proxy": exceptions})
    assert (found is None) == direct


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "a.localhost"])
def test_loopback_never_goes_through_a_proxy(host: str) -> None:
    assert proxy_for(f"https://{host}:8443", {"https_proxy": PROXY}) is None
