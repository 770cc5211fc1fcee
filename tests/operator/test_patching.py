"""JSON patch as we show it, against jsonpatch, which is not ours."""

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_operator.domain import patching

keys = st.sampled_from(["a", "b/c", "d~e", "~1", "rolesanywhere.dev/binding"])
documents = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


@st.composite
def patches(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A document, and operations that lead somewhere in it."""
    document = draw(st.dictionaries(keys, documents, min_size=1, max_size=3))
    operations: list[dict[str, Any]] = []
    after: Any = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 4))):
        path, place = "", after
        while True:
            if isinstance(place, list):
                step: Any = draw(st.sampled_from(["-", *range(len(place) + 1)]))
                inside = place[step] if step != "-" and step < len(place) else None
            else:
                step = draw(keys)
                inside = place.get(step)
            path += f"/{escaped(str(step))}"
            if not isinstance(inside, dict | list) or draw(st.booleans()):
                break
            place = inside
        operations.append({"op": "add", "path": path, "value": draw(documents)})
        after = jsonpatch.apply_patch(after, operations[-1:])
    return document, operations


@given(patches())
def test_what_is_shown_is_what_jsonpatch_makes(
    patch: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    document, operations = patch
    before = copy.deepcopy(document)
    assert patching.applied(document, operations) == jsonpatch.apply_patch(document, operations)
    assert document == before, "the document that was given is not ours to change"


def test_an_operation_that_injection_never_uses_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="'remove' is not known here"):
        patching.applied({"a": 1}, [{"op": "remove", "path": "/a"}])
