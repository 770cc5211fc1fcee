"""Which requests go through a proxy."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_sidecar.service.proxies import InvalidProxy, Proxy, proxy_for

AWS = "https://rolesanywhere.eu-west-1.amazonaws.com"
PROXY = "http://proxy.example:3128"


def url(proxy: Proxy | None) -> str | None:
    return proxy.url if proxy else None


def test_without_variables_there_is_no_proxy() -> None:
    assert proxy_for(AWS, {}) is None


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_usual_variables_name_it(name: str) -> None:
    assert url(proxy_for(AWS, {name: PROXY})) == PROXY


def test_the_variable_of_another_scheme_does_not() -> None:
    assert proxy_for(AWS, {"http_proxy": PROXY, "HTTP_PROXY": PROXY}) is None


def test_lower_case_wins() -> None:
    assert url(proxy_for(AWS, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"})) == PROXY


def test_a_proxy_without_a_scheme_is_http() -> None:
    assert url(proxy_for(AWS, {"https_proxy": "proxy.example:3128"})) == PROXY


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
    assert url(proxy_for(AWS, {"https_proxy": PROXY, "NO_PROXY": exceptions})) == PROXY


@pytest.mark.parametrize(
    ("exceptions", "direct"),
    [("10.0.0.0/8", True), ("10.1.2.3", True), ("10.1.2.3:8443", True), ("10.2.0.0/16", False)],
)
def test_no_proxy_excepts_addresses_and_networks(exceptions: str, direct: bool) -> None:
    found = proxy_for("https://10.1.2.3:8443", {"https_proxy": PROXY, "no_proxy": exceptions})
    assert (found is None) == direct


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_loopback_never_goes_through_a_proxy(host: str) -> None:
    assert proxy_for(f"https://{host}:8443", {"https_proxy": PROXY}) is None


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://user:hunter2@proxy.example:3128", "proxy.example:3128"),
        ("user:hunter2@proxy.example:3128", "proxy.example:3128"),
        ("HTTPS://user:hunter2@proxy.example/", "proxy.example:443"),
        ("http://user:hunter2@[::1]:3128", "[::1]:3128"),
        ("http://user@corp:hunter2@10.1.2.3", "10.1.2.3:80"),
    ],
)
def test_a_proxy_is_shown_without_its_password(given: str, address: str) -> None:
    found = proxy_for(AWS, {"https_proxy": given})
    assert found is not None
    assert "hunter2" in found.url
    assert "hunter2" not in repr(found) + str(found)
    assert found.address == address


@pytest.mark.parametrize(
    "value",
    ["http://svc:S3cr/etPass@host:3128", "http://svc:123/etPass@host:3128", "svc:12#S3cr@host",
     "svc:12?S3cr@host", "svc:S3://cr@host", "svc:12\\S3cr@host", "http://svc:S3[cr@host",
     "http://svc:S3cr@", "http://svc:S3 cr@host", "http://svc:S3cr@host\n", "http://proxy:abc",
     "http://[::1", "http://[:::::]", "::::", ":99999", "http://host:99999", "http://host:0",
     "S3cr", "S3cr_s.v-c/", "svc@S3cr", "svc:S3@cr", "http://", " ", "socks5://svc:S3cr@host:1080", "ftp://svc:S3cr@host"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["https_proxy", "ALL_PROXY"])
def test_a_wrong_proxy_is_told_by_its_variable_and_never_by_its_value(
    name: str, value: str
) -> None:
    with pytest.raises(InvalidProxy) as caught:
        proxy_for(AWS, {name: value})
    assert str(caught.value).startswith(
        f"{name} is not the URL of an HTTP proxy, expected http://["
    )
    assert "S3cr" not in repr(caught.value) + str(caught.value)
    assert "svc" not in str(caught.value)
    assert "S3" not in str(caught.value)
    assert (caught.value.__context__, caught.value.retryable) == (None, False)


@pytest.mark.parametrize("exceptions", ["*", "amazonaws.com"])
def test_a_wrong_proxy_that_nothing_goes_through_is_nobodys_trouble(exceptions: str) -> None:
    assert proxy_for(AWS, {"https_proxy": "http://", "no_proxy": exceptions}) is None
    assert proxy_for("https://127.0.0.1:8443", {"https_proxy": "http://"}) is None


@pytest.mark.parametrize(
    ("login", "sent"),
    [
        ("u:p%FF", b"u:p\xff"),
        ("u:p\udcff", b"u:p\xff"),  # a byte of the environment that is no UTF-8
        ("%C3%BC:%2F%40", "ü:/@".encode()),
        ("ü:p", "ü:p".encode()),
        ("u", b"u:"),
    ],
)
def test_every_byte_of_a_login_is_sent_as_it_is(login: str, sent: bytes) -> None:
    found = proxy_for(AWS, {"https_proxy": f"http://{login}@proxy.example:3128"})
    assert found is not None
    assert found.authorization is not None
    assert base64.b64decode(found.authorization.removeprefix("Basic ")) == sent


anything = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=60)
schemes, ports = st.sampled_from(["http", "HTTPS"]), st.integers(-1, 99_999)
hosts = st.sampled_from(["proxy", "[::1]", "10.1.2.3"]) | anything
urls = st.builds("{}://{}@{}:{}".format, schemes, anything, hosts, ports)
exceptions = st.lists(st.sampled_from(["*", ".com", "10.0.0.0/8", ":", "*.", "a:1"])).map(",".join)


@given(anything | urls, anything | exceptions)
def test_any_environment_names_a_proxy_or_none_or_is_refused(proxy: str, no_proxy: str) -> None:
    try:
        found = proxy_for(AWS, {"https_proxy": proxy, "no_proxy": no_proxy})
    except InvalidProxy:
        return
    if found is not None:
        assert 0 < found.port < 65_536
        assert found.host
        assert found.authorization is None or found.authorization.isascii()
