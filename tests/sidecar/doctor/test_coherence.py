"""Settings that make sense together, and those that do not."""

import pytest

from rolesanywhere_sidecar.doctor import coherence
from rolesanywhere_sidecar.doctor.coherence import service_url
from rolesanywhere_sidecar.doctor.findings import Check, Finding
from tests.fakes.world import PROFILE_ARN, TRUST_ANCHOR_ARN
from tests.support.examined import FAILURE, OK, SKIPPED, WARNING, of, told, troubles

FAR = "arn:aws:iam::999988887777:role/reports"


def examined(**settings: str) -> list[Finding]:
    return list(coherence.examine(told(**settings), {}))


def proxied(**env: str) -> Finding:
    """What is said of the proxy in an environment."""
    return of(coherence.examine(told(), env), Check.PROXY)


def test_good_settings_are_all_well() -> None:
    findings = examined(token_file="/run/token")
    assert troubles(findings) == []
    assert "account 111122223333, eu-west-1" in of(findings, Check.ARNS).sentence
    assert "container credentials and IMDSv2" in of(findings, Check.DELIVERY).sentence


def test_every_mistake_is_a_failure_of_its_own_and_the_rest_is_still_examined() -> None:
    findings = examined(role_arn="oops", duration_seconds="1")
    failures = [found for found in findings if found.verdict is FAILURE]
    assert [found.check for found in failures] == [Check.SETTINGS, Check.SETTINGS]
    assert any("'1'" in found.sentence and "900 to 43200" in found.sentence for found in failures)
    assert all(found.remedy for found in failures)
    assert of(findings, Check.ARNS).verdict is SKIPPED
    assert of(findings, Check.ROLE_ACCOUNT).verdict is SKIPPED
    assert of(findings, Check.ENDPOINT).verdict is OK


def test_without_a_trust_anchor_neither_endpoint_nor_proxy_is_known() -> None:
    findings = examined(trust_anchor_arn="oops")
    assert of(findings, Check.ENDPOINT).verdict is SKIPPED
    assert of(findings, Check.PROXY).verdict is SKIPPED


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"profile_arn": PROFILE_ARN.replace("eu-west-1", "eu-west-2")},
        {"profile_arn": PROFILE_ARN.replace("111122223333", "999988887777")},
        {"role_arn": "arn:aws-cn:iam::111122223333:role/reports"},
    ],
)
def test_arns_that_contradict_each_other_are_told_once_with_both_values(
    elsewhere: dict[str, str],
) -> None:
    findings = examined(**elsewhere)
    mistake = of(findings, Check.SETTINGS)
    assert mistake.verdict is FAILURE
    assert "expected both in one" in mistake.sentence
    assert of(findings, Check.ARNS).verdict is SKIPPED


def test_a_role_in_another_account_than_the_profile_is_a_warning() -> None:
    found = of(examined(role_arn=FAR), Check.ROLE_ACCOUNT)
    assert found.verdict is WARNING
    assert "999988887777" in found.sentence
    assert "111122223333" in found.sentence


@pytest.mark.parametrize(
    ("name", "verdict"), [("", OK), ("team-a.web", OK), ("a" * 64, OK), ("a" * 65, WARNING)]
)
def test_a_session_name_that_will_be_cut_is_a_warning(name: str, verdict: str) -> None:
    assert of(examined(role_session_name=name), Check.SESSION_REQUEST).verdict is verdict


def test_a_session_name_needs_the_profiles_consent() -> None:
    found = of(examined(role_session_name="web"), Check.SESSION_REQUEST)
    assert "the profile must accept names" in found.sentence


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "https://rolesanywhere.eu-west-1.amazonaws.com",
        "https://rolesanywhere.eu-west-1.api.aws",
        "https://vpce-0a1b2c-3d4e.rolesanywhere.eu-west-1.vpce.amazonaws.com",
        "https://aws.example.com:8443",
    ],
)
def test_endpoints_of_the_trust_anchors_region_are_well(endpoint: str) -> None:
    assert of(examined(endpoint=endpoint), Check.ENDPOINT).verdict is OK


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("https://rolesanywhere.us-east-1.amazonaws.com", "an endpoint of us-east-1"),
        ("https://rolesanywhere.eu-west-1.amazonaws.com.cn", "not in partition aws"),
        ("https://rolesanywhere-fips.eu-west-1.amazonaws.com", "no FIPS endpoint in eu-west-1"),
        ("http://127.0.0.1:8080", "plain http"),
    ],
)
def test_endpoints_elsewhere_are_warnings_with_what_to_do(endpoint: str, said: str) -> None:
    found = of(examined(endpoint=endpoint), Check.ENDPOINT)
    assert found.verdict is WARNING
    assert said in found.sentence
    assert "leave --endpoint out" in found.remedy


def test_signing_for_another_region_than_the_trust_anchors_is_a_warning() -> None:
    found = of(examined(region="us-east-1"), Check.ENDPOINT)
    assert found.verdict is WARNING
    assert "signed for region us-east-1 but the trust anchor is in eu-west-1" in found.sentence


def test_the_proxy_is_named_without_its_password() -> None:
    found = proxied(https_proxy="http://svc:hunter2@proxy.corp:3128")
    assert found.verdict is OK
    assert "through proxy.corp:3128" in found.sentence
    assert "hunter2" not in f"{found}"


def test_no_proxy_is_told_where_it_is_why_there_is_none() -> None:
    exempt = proxied(https_proxy="http://proxy.corp:3128", no_proxy="amazonaws.com")
    assert "exempt by no_proxy" in exempt.sentence
    assert "exempt" not in proxied().sentence


def test_a_wrong_proxy_is_a_failure_without_its_value() -> None:
    found = proxied(https_proxy="http://u:S3cr/et@h:1")
    assert found.verdict is FAILURE
    assert "S3cr" not in f"{found}"


def test_nobody_served_is_a_failure() -> None:
    assert of(examined(imds="false"), Check.DELIVERY).verdict is FAILURE
    assert of(examined(imds="false", token_file="/run/t"), Check.DELIVERY).verdict is OK


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"role_arn": "oops"}, "https://rolesanywhere.eu-west-1.amazonaws.com"),
        (
            {"role_arn": "oops", "region": "eu-west-2"},
            "https://rolesanywhere.eu-west-2.amazonaws.com",
        ),
        ({"trust_anchor_arn": "oops", "endpoint": "https://here"}, "https://here"),
        ({"trust_anchor_arn": "oops"}, None),
        ({"endpoint": "https://here"}, "https://here"),
        ({"trust_anchor_arn": TRUST_ANCHOR_ARN}, "https://rolesanywhere.eu-west-1.amazonaws.com"),
    ],
)
def test_the_endpoint_is_known_as_soon_as_it_can_be(
    settings: dict[str, str], url: str | None
) -> None:
    assert service_url(told(**settings)) == url
