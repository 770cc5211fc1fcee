"""What CreateSession may ask for, and what it gets."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes.rolesanywhere import serial_in_hex
from tests.fakes.scene import ARNS, NOW, PROFILE, a_scene, with_profile
from tests.fakes.sessions import Issued, mint
from tests.fakes.world import ACCOUNT, PROFILE_ARN, REGION, ROLE_ARN, TRUST_ANCHOR_ARN

SCENE = a_scene()
INVALID = (400, "ValidationException")
MISSING = (404, "ResourceNotFoundException")
DENIED = (403, "AccessDeniedException")


def test_arns_may_be_in_the_query_or_in_the_body() -> None:
    in_query = SCENE.granted(SCENE.request())
    in_body = SCENE.granted(SCENE.request(arns={}, body={**ARNS, "durationSeconds": 3600}))
    assert in_query == in_body


@pytest.mark.parametrize("name", list(ARNS))
def test_every_arn_is_required(name: str) -> None:
    rest = {key: value for key, value in ARNS.items() if key != name}
    assert SCENE.refusal(SCENE.request(arns=rest)) == (*INVALID, f"{name} is required")


def test_query_and_body_must_agree() -> None:
    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    message = SCENE.refusal(SCENE.request(body={"roleArn": other}))[2]
    assert message == "roleArn differs between query and body"


@pytest.mark.parametrize(
    "changes",
    [
        {"roleArn": "reports"},
        {"roleArn": f"arn:aws:iam::{ACCOUNT}:user/reports"},
        {"roleArn": f"arn:aws:iam:{REGION}:{ACCOUNT}:role/reports"},
        {"profileArn": TRUST_ANCHOR_ARN},
        {"trustAnchorArn": PROFILE_ARN},
        {"trustAnchorArn": TRUST_ANCHOR_ARN.replace(REGION, "us-east-1")},
        {"profileArn": PROFILE_ARN.replace(REGION, "us-east-1")},
    ],
    ids=["no ARN", "a user", "role with region", "wrong kind", "wrong kind too", "region",
         "region too"],
)  # fmt: skip
def test_an_arn_must_be_of_its_kind_and_region(changes: Mapping[str, str]) -> None:
    assert SCENE.refusal(SCENE.request(arns={**ARNS, **changes}))[:2] == INVALID


def test_an_arn_in_the_body_must_be_a_string() -> None:
    request = SCENE.request(arns={}, body={**ARNS, "roleArn": ["x"]})
    assert SCENE.refusal(request) == (*INVALID, "roleArn must be a string")


@pytest.mark.parametrize("name", ["profileArn", "trustAnchorArn"])
def test_what_does_not_exist_is_not_found(name: str) -> None:
    arn = ARNS[name].rpartition("/")[0] + "/00000000-0000-0000-0000-000000000000"
    request = SCENE.request(arns={**ARNS, name: arn})
    assert SCENE.refusal(request) == (*MISSING, f"{arn} does not exist")


@pytest.mark.parametrize("name", list(ARNS))
def test_all_must_be_of_one_account(name: str) -> None:
    arn = ARNS[name].replace(ACCOUNT, "999999999999")
    assert "of one account" in SCENE.refusal(SCENE.request(arns={**ARNS, name: arn}))[2]


def test_the_role_must_be_in_the_profile() -> None:
    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    refusal = SCENE.refusal(SCENE.request(arns={**ARNS, "roleArn": other}))
    assert refusal == (*DENIED, f"{other} is not a role of the profile")


def test_a_disabled_profile_gives_nothing() -> None:
    scene = SCENE.within(with_profile(SCENE.world, replace(PROFILE, enabled=False)))
    assert scene.refusal(scene.request()) == (*DENIED, "The profile is disabled")


@pytest.mark.parametrize("seconds", [0, 899, 43201, -900, 900.0, "3600", True, [900]])
def test_a_duration_out_of_range_is_invalid(seconds: object) -> None:
    request = SCENE.request(body={"durationSeconds": seconds})
    assert "whole number from 900 to 43200" in SCENE.refusal(request)[2]


@pytest.mark.parametrize(
    ("asked", "profile", "given"),
    [(900, 3600, 900), (3600, 3600, 3600), (43200, 3600, 3600), (43200, 43200, 43200),
     (None, 1800, 1800)],
)  # fmt: skip
def test_a_session_lasts_as_asked_but_no_longer_than_the_profile_says(
    asked: int | None, profile: int, given: int
) -> None:
    scene = SCENE.within(with_profile(SCENE.world, replace(PROFILE, duration_seconds=profile)))
    body = {} if asked is None else {"durationSeconds": asked}
    assert scene.granted(scene.request(body=body)).expires == NOW + timedelta(seconds=given)


def test_a_body_is_not_required() -> None:
    SCENE.granted(SCENE.request(body=b""))


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_invalid(body: bytes) -> None:
    assert SCENE.refusal(SCENE.request(body=body))[:2] == INVALID


def test_members_that_nobody_knows_are_ignored() -> None:
    SCENE.granted(SCENE.request(body={"sessionName": "deprecated", "instanceProperties": {}}))


NAMING = SCENE.within(with_profile(SCENE.world, replace(PROFILE, accept_role_session_name=True)))


@pytest.mark.parametrize("name", ["ab", "a" * 64, "team-a.web", "a=b,c@d+e_f"])
def test_a_session_may_be_named_where_the_profile_accepts_it(name: str) -> None:
    session = NAMING.granted(NAMING.request(body={"roleSessionName": name}))
    assert session.session_name == name


@pytest.mark.parametrize("name", ["a", "a" * 65, "a b", "a/b", "ä" * 3, 12, ""])
def test_a_session_name_has_rules(name: object) -> None:
    request = NAMING.request(body={"roleSessionName": name})
    assert "roleSessionName must match" in NAMING.refusal(request)[2]


def test_a_session_may_not_be_named_elsewhere() -> None:
    refusal = SCENE.refusal(SCENE.request(body={"roleSessionName": "web"}))
    assert refusal == (*DENIED, "Not authorized to set roleSessionName.")


def test_an_unnamed_session_is_called_after_the_certificate() -> None:
    session = NAMING.granted(NAMING.request())
    assert session.session_name == serial_in_hex(NAMING.identity.certificate.serial_number)


def issued() -> Issued:
    return mint(SCENE.granted(SCENE.request()), lambda size: b"\x07" * size)


def test_the_answer_is_as_documented() -> None:
    document = json.loads(json.dumps(issued().document()))
    [entry] = document["credentialSet"]
    name = serial_in_hex(SCENE.identity.certificate.serial_number)
    assert entry["assumedRoleUser"]["arn"] == (
        f"arn:aws:sts::{ACCOUNT}:assumed-role/reports/{name}"
    )
    assert entry["assumedRoleUser"]["assumedRoleId"].endswith(f":{name}")
    assert set(entry["credentials"]) == {
        "accessKeyId", "secretAccessKey", "sessionToken", "expiration",
    }  # fmt: skip
    assert entry["credentials"]["expiration"] == "2026-03-14T10:26:53Z"
    assert entry["roleArn"] == ROLE_ARN
    assert entry["sourceIdentity"] == "workload"
    assert isinstance(entry["packedPolicySize"], int)
    assert document["subjectArn"].startswith(f"arn:aws:rolesanywhere:{REGION}:{ACCOUNT}:subject/")


def test_a_role_in_a_path_is_assumed_by_its_bare_name() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/team/a/reports"
    scene = SCENE.within(with_profile(SCENE.world, replace(PROFILE, role_arns=frozenset({arn}))))
    session = scene.granted(scene.request(arns={**ARNS, "roleArn": arn}))
    assert session.assumed_role_arn.split(":")[-1].startswith("assumed-role/reports/")


def test_secrets_are_not_printed() -> None:
    held = issued()
    assert held.secret_access_key not in repr(held)
    assert held.session_token not in repr(held)
    request = SCENE.request()
    assert (request.get("authorization") or "-") not in repr(request)
