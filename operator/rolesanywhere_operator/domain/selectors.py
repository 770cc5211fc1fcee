"""Label selectors, parsed once, and what they mean: what Kubernetes says that they do.

Never knows whose labels they are, nor what follows from a match.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from rolesanywhere_operator.domain.untyped import items, mapping

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
_OPERATORS: Final[Mapping[str, Operator]] = {
    "In": "In", "NotIn": "NotIn", "Exists": "Exists", "DoesNotExist": "DoesNotExist",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement on labels; ``values`` are empty for Exists and DoesNotExist."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def __str__(self) -> str:
        values = ", ".join(sorted(self.values))
        return f"{self.key} {self.operator} ({values})" if values else f"{self.key} {self.operator}"

    def is_met_by(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` meet it; a label that is absent is not in any values."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


def parse(selector: Mapping[str, Any]) -> tuple[Requirement, ...]:
    """What ``selector`` requires, all of it; nothing when it is empty.

    Raises `ValueError` that begins with the field that is wrong.
    """
    equal = tuple(
        Requirement(key=key, operator="In", values=frozenset({str(value)}))
        for key, value in sorted(mapping(selector.get("matchLabels")).items())
    )
    expressions = items(selector.get("matchExpressions"))
    return equal + tuple(_requirement(mapping(expression)) for expression in expressions)


def _requirement(expression: Mapping[str, Any]) -> Requirement:
    key, operator = expression.get("key"), _OPERATORS.get(str(expression.get("operator")))
    values = frozenset(map(str, items(expression.get("values"))))
    if not key or operator is None or (operator in ("In", "NotIn")) != bool(values):
        raise ValueError(
            f"matchExpressions: {dict(expression)!r} is not a requirement, expected key, operator"
            " (In, NotIn, Exists or DoesNotExist), and values for In and NotIn alone"
        )
    return Requirement(key=str(key), operator=operator, values=values)
