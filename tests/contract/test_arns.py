"""ARNs are parsed once: what comes out is valid, and what is not valid says what it should be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract.arns import (
    DNS_SUFFIXES,
    InvalidArn,
    ProfileArn,
    RoleArn,
    TrustAnchorArn,
    service_endpoint,
)

partitions = st.sampled_from(sorted(DNS_SUFFIXES))
regions = st.sampled_from(
    ["eu-west-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1", "mx-central-1"]
)
accounts = st.from_regex(r"[0-9]{12}", fullmatch=True)
uuids = st.uuids().map(str)
role_names = st.from_regex(r"[A-Za-z0-9_+=,.@-]{1,64}", fullmatch=True)
role_paths = st.from_regex(r"/([!-.0-~]{1,20}/){0,3}", fullmatch=True)

UUID = "6f0a4a1e-4d0c-4a1e-9d2a-0c8f3d9f2b11"


@given(st.builds(TrustAnchorArn, partitions, regions, accounts, uuids))
def test_a_trust_anchor_arn_survives_being_written_and_read(arn: TrustAnchorArn) -> None:
    assert TrustAnchorArn.parse(str(arn)) == arn


@given(st.builds(ProfileArn, partitions, regions, accounts, uuids))
def test_a_profile_arn_survives_being_written_and_read(arn: ProfileArn) -> None:
    assert ProfileArn.parse(str(arn)) == arn


@given(st.builds(RoleArn, partitions, accounts, role_paths, role_names))
def test_a_role_arn_survives_being_written_and_read(arn: RoleArn) -> None:
    assert RoleArn.parse(str(arn)) == arn


@pytest.mark.parametrize(
    "text",
    [
        "",
        "arn:aws:rolesanywhere:eu-west-1:111122223333:profile/" + UUID,
        "arn:azure:rolesanywhere:eu-west-1:111122223333:trust-anchor/" + UUID,
        "arn:aws:rolesanywhere::111122223333:trust-anchor/" + UUID,
        "arn:aws:rolesanywhere:eu-west-1:11112222333:trust-anchor/" + UUID,
        "arn:aws:rolesanywhere:eu-west-1:111122223333:trust-anchor/" + UUID.upper(),
        "arn:aws:rolesanywhere:eu-west-1:111122223333:trust-anchor/" + UUID + "\n",
        "arn:aws:rolesanywhere:eu-west-1:१११122223333:trust-anchor/" + UUID,
    ],
)
def test_what_is_not_a_trust_anchor_arn_is_refused_with_the_shape_it_should_have(text: str) -> None:
    with pytest.raises(InvalidArn, match="trust-anchor/<uuid>") as caught:
        TrustAnchorArn.parse(text)
    assert repr(text) in str(caught.value)


def test_a_role_with_a_path_keeps_path_and_name_apart() -> None:
    arn = RoleArn.parse("arn:aws:iam::111122223333:role/team/a/reports")
    assert (arn.path, arn.name) == ("/team/a/", "reports")


@pytest.mark.parametrize(
    "text", ["arn:aws:iam::111122223333:user/x", "arn:aws:iam::111122223333:role/"]
)
def test_what_is_not_a_role_arn_is_refused(text: str) -> None:
    with pytest.raises(InvalidArn, match="not an IAM role ARN"):
        RoleArn.parse(text)


@pytest.mark.parametrize(
    ("partition", "region", "url"),
    [
        ("aws", "eu-west-1", "https://rolesanywhere.eu-west-1.amazonaws.com"),
        ("aws-cn", "cn-north-1", "https://rolesanywhere.cn-north-1.amazonaws.com.cn"),
        ("aws-us-gov", "us-gov-west-1", "https://rolesanywhere.us-gov-west-1.amazonaws.com"),
        ("aws-eusc", "eusc-de-east-1", "https://rolesanywhere.eusc-de-east-1.amazonaws.eu"),
        ("aws-iso", "us-iso-east-1", "https://rolesanywhere.us-iso-east-1.c2s.ic.gov"),
    ],
)
def test_the_partition_decides_the_endpoint(partition: str, region: str, url: str) -> None:
    assert service_endpoint(partition=partition, region=region) == url
