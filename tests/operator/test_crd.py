"""The schema, read as a document: it agrees with the code that reads what it lets through."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rolesanywhere_contract import names
from rolesanywhere_contract.arns import DNS_SUFFIXES, ProfileArn, RoleArn, TrustAnchorArn
from rolesanywhere_contract.environment import LOG_LEVELS
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import DURATION_SECONDS
from rolesanywhere_operator.domain.identityspec import IDENTITY_KINDS
from tests.operator.builders import ANCHOR, PROFILE, ROLE

CRD = yaml.safe_load(
    (Path(__file__).parents[2] / "crds" / "rolesanywherebindings.yaml").read_text()
)
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]["properties"]

ARNS = [
    ANCHOR, PROFILE, ROLE, "", "arn", ROLE + "\n", ROLE + "/", ANCHOR + "0", ANCHOR.upper(),
    *(text.replace("aws:", f"{partition}:") for text in (ANCHOR, PROFILE, ROLE)
      for partition in (*DNS_SUFFIXES, "aws-moon")),
    ROLE.replace("role/", "role/path/with:colon/"), ROLE.replace("role/", "role/sp ace/"),
    ROLE.replace("reports", "r" * 64), ROLE.replace("reports", "r" * 65),
    ANCHOR.replace("eu-west-1", "us-gov-west-1"), ANCHOR.replace("eu-west-1", "euwest1"),
    PROFILE.replace("111122223333", "11112222333"),
]  # fmt: skip


def rule_of(field: str) -> str:
    [rule] = SPEC[field]["x-kubernetes-validations"]
    found = re.fullmatch(r"self\.matches\('(.*)'\)", rule["rule"])
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("field", "kind"),
    [("trustAnchorArn", TrustAnchorArn), ("profileArn", ProfileArn), ("roleArn", RoleArn)],
)
@pytest.mark.parametrize("text", ARNS)
def test_schema_and_contract_accept_the_same_arns(field: str, kind: Any, text: str) -> None:
    try:
        parsed = kind.parse(text) is not None
    except RolesAnywhereError:
        parsed = False
    # RE2's $ means the end of the text, where Python's also takes a newline before it.
    matched = re.search(rule_of(field).removesuffix("$") + r"\Z", text) is not None
    assert matched is parsed


def test_schema_and_contract_agree_on_names_ranges_and_words() -> None:
    assert CRD["spec"]["group"] == names.GROUP
    assert CRD["spec"]["names"]["plural"] == names.PLURAL
    assert CRD["spec"]["names"]["kind"] == names.KIND
    assert CRD["spec"]["versions"][0]["name"] == names.VERSION
    duration = SPEC["durationSeconds"]
    assert range(duration["minimum"], duration["maximum"] + 1) == DURATION_SECONDS
    assert set(SPEC["identity"]["properties"]) == set(IDENTITY_KINDS)
    sidecar = SPEC["sidecar"]["properties"]
    assert tuple(sidecar["logLevel"]["enum"]) == LOG_LEVELS
    assert sidecar["port"]["default"] == names.CREDENTIALS_PORT
    assert sidecar["port"]["x-kubernetes-validations"][0]["rule"] == f"self != {names.PROBE_PORT}"


def test_every_field_has_a_description() -> None:
    silent = [path for path, schema in fields_of(SCHEMA, "") if not schema.get("description")]
    assert silent == [".metadata"], "the API server describes metadata itself"


def test_every_rule_says_what_was_got_or_what_to_do() -> None:
    for path, schema in [("", SCHEMA), *fields_of(SCHEMA, "")]:
        for rule in schema.get("x-kubernetes-validations", ()):
            assert rule["message"], path


def fields_of(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below ``schema``, which is at ``path``, with its own schema."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields_of(field, f"{path}.{name}")
        if "items" in field:
            yield f"{path}.{name}[]", {"description": "an item"} | field["items"]
            yield from fields_of(field["items"], f"{path}.{name}[]")
