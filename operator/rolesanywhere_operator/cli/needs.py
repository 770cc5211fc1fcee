"""What AWS has to be told for a binding to work, as text for people.

Never decides what that is.
"""

from collections.abc import Sequence

from rolesanywhere_operator.cli.printing import as_json, field, paragraph
from rolesanywhere_operator.domain.trust import Need, Trust


def all_of(trust: Trust) -> str:
    """A trust policy and what goes with it, for people."""
    name, binding = trust.binding.settings.role_arn.name, trust.binding
    title = f"Trust policy of role {name}, for binding {binding.namespace}/{binding.name}:"
    return "\n".join([title, "", as_json(trust.policy), besides_the_policy(trust)])


def besides_the_policy(trust: Trust) -> str:
    """What else has to be set in AWS, for people; then the warnings."""
    settings = trust.binding.settings
    lines = [f"Profile {settings.profile_arn.uuid} needs:", "", *_needs(trust.profile)]
    if trust.role:
        lines += ["", f"Role {settings.role_arn.name} needs:", "", *_needs(trust.role)]
    for warning in trust.warnings:
        lines += ["", paragraph(f"warning: {warning}")]
    return "\n".join(lines) + "\n"


def _needs(needs: Sequence[Need]) -> list[str]:
    width = max(len(need.setting) for need in needs)
    return [field(need.setting, need.value, width=width) for need in needs]
