"""``trust-policy``: a folder under ``trusted`` is the spec: binding, policy, all else needed."""

import argparse
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_operator.cli import trustpolicy
from rolesanywhere_operator.cli.answers import Answer, UnusableInput
from rolesanywhere_operator.cli.sources import Surroundings
from rolesanywhere_operator.domain import explanation, subjects, trust
from rolesanywhere_operator.domain.bindings import InvalidBinding
from tests.operator.builders import a_raw_binding

TRUSTED = sorted((Path(__file__).parent / "trusted").iterdir())


def answer(*arguments: str | Path, stdin: str = "") -> Answer:
    parser = argparse.ArgumentParser()
    trustpolicy.add_arguments(parser)
    around = Surroundings({}, Path("/nowhere"), lambda: stdin)
    return trustpolicy.answer(parser.parse_args([*map(str, arguments)]), around)


def of_files(*bindings: Any, arguments: tuple[str, ...] = ()) -> Answer:
    return answer("-f", "-", *arguments, stdin=yaml.safe_dump_all(bindings))


@pytest.mark.parametrize("case", TRUSTED, ids=lambda case: case.name)
def test_a_binding_needs_this_policy_and_these_settings(case: Path) -> None:
    told = answer("-f", case / "binding.yaml")
    assert told.code == 0
    assert told.output == (case / "policy.json").read_text()
    assert told.remarks == (case / "needs.txt").read_text()


@pytest.mark.parametrize("case", TRUSTED, ids=lambda case: case.name)
def test_for_people_policy_and_settings_stand_together(case: Path) -> None:
    told = answer("-f", case / "binding.yaml", "-o", "text")
    assert (case / "policy.json").read_text() in told.output
    assert told.output.endswith((case / "needs.txt").read_text())
    assert told.output.startswith("Trust policy of role reports, for binding team-a/reports:\n")


@pytest.mark.parametrize("case", TRUSTED, ids=lambda case: case.name)
def test_nobody_but_roles_anywhere_and_its_one_trust_anchor_is_ever_trusted(case: Path) -> None:
    raw = yaml.safe_load((case / "binding.yaml").read_text())
    [statement] = trust.of(raw).policy["Statement"]
    assert statement["Principal"] == {"Service": "rolesanywhere.amazonaws.com"}
    source = {"aws:SourceArn": raw["spec"]["trustAnchorArn"]}
    assert statement["Condition"]["ArnEquals"] == source
    assert set(statement["Action"]) == {"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"}


def test_a_policy_that_leaves_the_certificate_open_says_so() -> None:
    told = of_files(a_raw_binding())
    assert "StringEquals" not in json.loads(told.output)["Statement"][0]["Condition"]
    words = " ".join(told.remarks.split())
    assert "warning: nothing is known of the certificate's names (secret/reports-tls)" in words
    assert "every certificate that the trust anchor vouches for" in words


def test_what_the_spec_says_wins_over_the_certificate_of_yesterday() -> None:
    identity = {"certManager": {"issuerRef": {"name": "ca"}, "commonName": "new"}}
    raw = a_raw_binding(identity=identity) | {"status": {"identity": {"subject": "CN=old"}}}
    [statement] = trust.of(raw).policy["Statement"]
    assert statement["Condition"]["StringEquals"]["aws:PrincipalTag/x509Subject/CN"] == "new"


def test_of_several_common_names_none_is_taken_for_the_one() -> None:
    raw = a_raw_binding() | {"status": {"identity": {"subject": "CN=a,CN=b"}}}
    assert "StringEquals" not in trust.of(raw).policy["Statement"][0]["Condition"]


def test_a_binding_that_makes_no_sense_gets_no_policy() -> None:
    told = of_files(a_raw_binding(roleArn="reports", durationSeconds=1))
    assert (told.code, told.output) == (1, "")
    assert "binding team-a/reports makes no sense:\n" in told.remarks
    assert "  spec.roleArn: 'reports' is not an IAM role ARN" in told.remarks
    assert "  spec.durationSeconds: '1' is not a session's length" in told.remarks


def test_one_of_several_bindings_is_chosen_by_name_and_namespace() -> None:
    bindings = (a_raw_binding(), a_raw_binding("ledger"), a_raw_binding(namespace="team-b"))
    assert of_files(*bindings, arguments=("ledger",)).code == 0
    assert of_files(*bindings, arguments=("reports", "-n", "team-b")).code == 0
    with pytest.raises(UnusableInput, match="several bindings fit: team-a/reports, team-b/reports"):
        of_files(*bindings, arguments=("reports",))
    told = of_files(*bindings, arguments=("absent",))
    assert (told.code, told.output) == (1, "")
    assert told.remarks == (
        "the files have no binding 'absent'; there: team-a/ledger, team-a/reports, team-b/reports\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [((), "no binding; name one that the cluster has"), (("-f", "-"), "hold no RolesAnywhere")],
)
def test_without_a_binding_there_is_no_answer(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UnusableInput, match=sentence):
        answer(*arguments, stdin="{kind: Pod}")


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        ("CN=reports", ["reports"]),
        ("cn = reports ,O=x", ["reports"]),
        ("2.5.4.3=reports", ["reports"]),
        ("O=x+CN=a,CN=b", ["a", "b"]),
        (r"CN=a\2C b\+c\\,O=x", ["a, b+c\\"]),
        (r"CN=\ a\  ,O=x", [" a "]),
        (r"CN=\#x\\ ", ["#x\\"]),
        (r"CN=Gr\C3\BC\C3\9Fe", ["Grüße"]),
        ("CN=#0c0161", []),
        ("O=CN", []),
        ("", []),
        ("reports", []),
    ],
)
def test_common_names_are_read_as_rfc_4514_writes_them(subject: str, names: list[str]) -> None:
    assert list(subjects.common_names(subject)) == names


printable = st.text(st.sampled_from('a ,+\\#="<>;ü'), min_size=1, max_size=5) | st.text(
    st.characters(codec="utf-8"), min_size=1, max_size=20
)


@given(printable, printable)
def test_what_cryptography_writes_is_read_back(name: str, organization: str) -> None:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ]
    assert list(subjects.common_names(x509.Name(attributes).rfc4514_string())) == [name]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
fields_of_the_spec = st.dictionaries(
    st.sampled_from(
        ["roleArn", "roleSessionName", "identity", "podSelector", "serviceAccountNames", "sidecar"]
    ),
    anything | st.fixed_dictionaries({"certManager": anything}),
    max_size=3,
)
statuses = st.fixed_dictionaries(
    {},
    optional={
        "observedGeneration": anything,
        "conditions": anything | st.lists(anything, max_size=2),
        "identity": anything | st.fixed_dictionaries({"subject": anything}),
    },
)


@settings(deadline=None, max_examples=200)
@given(fields_of_the_spec, anything | statuses)
def test_no_binding_however_wrong_is_answered_with_a_stack_trace(
    spec: dict[str, Any], status: Any
) -> None:
    raw = a_raw_binding(**spec) | {"status": status}
    assert all(explanation.unready(raw))
    with suppress(InvalidBinding):
        assert trust.of(raw).policy["Statement"]
