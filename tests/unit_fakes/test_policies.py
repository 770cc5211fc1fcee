"""A role's trust policy decides who of those whom the trust anchor vouches for gets a session."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes import policies
from tests.fakes.scene import NOW, Scene, a_scene
from tests.fakes.world import ROLE_ARN, TRUST_ANCHOR_ARN

SCENE = a_scene()
ACTIONS = sorted(policies.ACTIONS)
NAMED = {"StringEquals": {"aws:PrincipalTag/x509Subject/CN": ["reports", "invoices"]}}
OURS = {"ArnEquals": {"aws:SourceArn": TRUST_ANCHOR_ARN}}


def a_statement(**changes: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": policies.SERVICE},
        "Action": ACTIONS,
        "Condition": {**NAMED, **OURS},
        **changes,
    }


def under(*statements: Mapping[str, Any], name: str = "reports") -> Scene:
    """``CN=name`` asks for a role with a policy of these statements."""
    policy = policies.parse({"Statement": statements})
    world = replace(SCENE.world, trust_policies={ROLE_ARN: policy})
    return SCENE.as_(SCENE.root.leaf(name, at=NOW)).within(world)


@pytest.mark.parametrize("name", ["reports", "invoices"])
def test_who_is_named_gets_a_session(name: str) -> None:
    scene = under(a_statement(), name=name)
    scene.granted(scene.request())


@pytest.mark.parametrize(
    "scene",
    [
        under(a_statement(), name="payroll"),
        under(a_statement(Condition={"ArnEquals": {"aws:SourceArn": f"{TRUST_ANCHOR_ARN}0"}})),
        under(a_statement(Action="sts:AssumeRole")),
        under(a_statement(Effect="Deny")),
        under(a_statement(), a_statement(Effect="Deny", Action="sts:TagSession")),
        under(),
    ],
    ids=["another-name", "another-anchor", "not-all-actions", "denied", "denied-besides", "empty"],
)
def test_others_get_none(scene: Scene) -> None:
    assert scene.refusal(scene.request()) == (
        403, "AccessDeniedException", f"Unable to assume role for {ROLE_ARN}",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Principal": "*"}, "Invalid principal in policy"),
        ({"Condition": {"StringLike": {}}}, "condition operator StringLike"),
        ({"NotAction": "sts:TagSession"}, "NotAction of a statement"),
        ({"Effect": "allow"}, "effect 'allow'"),
    ],
)
def test_a_policy_that_cannot_be_judged_is_no_policy(change: Any, words: str) -> None:
    with pytest.raises(policies.NotPlayed, match=words):
        policies.parse({"Statement": [a_statement(**change)]})
