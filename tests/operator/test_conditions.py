"""Conditions follow the Kubernetes API conventions."""

from datetime import UTC, datetime, timedelta, timezone

from rolesanywhere_operator.domain.conditions import Condition, Truth, find, revised

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def ready(status: Truth, reason: str = "Because", message: str = "So it is.") -> Condition:
    return Condition("Ready", status, reason, message)


def test_a_first_statement_is_a_whole_condition() -> None:
    assert revised([], [ready(Truth.TRUE)], generation=3, now=NOON) == [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 3,
            "lastTransitionTime": "2026-03-01T12:00:00Z",
            "reason": "Because",
            "message": "So it is.",
        }
    ]


def test_the_transition_time_stays_while_the_status_does() -> None:
    before = revised([], [ready(Truth.FALSE)], generation=1, now=NOON)
    (after,) = revised(before, [ready(Truth.FALSE, "Other", "New.")], generation=2, now=LATER)
    assert after["lastTransitionTime"] == "2026-03-01T12:00:00Z"
    assert (after["reason"], after["message"], after["observedGeneration"]) == ("Other", "New.", 2)


def test_the_transition_time_moves_with_the_status() -> None:
    before = revised([], [ready(Truth.FALSE)], generation=1, now=NOON)
    (after,) = revised(before, [ready(Truth.TRUE)], generation=1, now=LATER)
    assert after["lastTransitionTime"] == "2026-03-01T13:00:00Z"


def test_saying_the_same_again_changes_nothing() -> None:
    before = revised([], [ready(Truth.TRUE)], generation=1, now=NOON)
    assert revised(before, [ready(Truth.TRUE)], generation=1, now=LATER) == before


def test_conditions_stand_in_one_order_whatever_came_first() -> None:
    accepted = Condition("Accepted", Truth.TRUE, "Accepted", "Yes.")
    one = revised([], [ready(Truth.TRUE), accepted], generation=1, now=NOON)
    other = revised([], [accepted, ready(Truth.TRUE)], generation=1, now=NOON)
    assert one == other
    assert [condition["type"] for condition in one] == ["Accepted", "Ready"]


def test_the_conditions_of_others_stay_as_they_are() -> None:
    theirs = {"type": "Audited", "status": "True", "note": "kept"}
    assert theirs in revised([theirs], [ready(Truth.TRUE)], generation=1, now=NOON)


def test_what_was_given_is_not_changed() -> None:
    before = revised([], [ready(Truth.FALSE)], generation=1, now=NOON)
    revised(before, [ready(Truth.TRUE)], generation=2, now=LATER)
    assert before == revised([], [ready(Truth.FALSE)], generation=1, now=NOON)


def test_a_condition_without_a_transition_time_gets_one() -> None:
    (after,) = revised(
        [{"type": "Ready", "status": "True"}], [ready(Truth.TRUE)], generation=1, now=NOON
    )
    assert after["lastTransitionTime"] == "2026-03-01T12:00:00Z"


def test_times_are_written_in_utc() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5)))
    (condition,) = revised([], [ready(Truth.TRUE)], generation=1, now=there)
    assert condition["lastTransitionTime"] == "2026-03-01T12:00:00Z"


def test_a_condition_is_found_by_its_type() -> None:
    conditions = revised([], [ready(Truth.TRUE)], generation=1, now=NOON)
    assert find(conditions, "Ready") == conditions[0]
    assert find(conditions, "Accepted") is None
