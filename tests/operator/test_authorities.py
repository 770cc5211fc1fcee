"""Which step comes next, for every state that the cluster can be found in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rolesanywhere_operator.domain import authorities
from rolesanywhere_operator.domain.authorities import (
    AUTHORITY_LIFE,
    AUTHORITY_MARGIN,
    LEAF_LIFE,
    LEAF_MARGIN,
    MOST_AUTHORITIES,
    SETTLING,
    Certificate,
    Found,
    Leaf,
    NewAuthority,
    NewLeaf,
    Step,
    Trust,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOSTS = frozenset({"webhook.aws-system.svc"})
NOTHING = Found(authority=None, known=frozenset(), leaf=None, trusted=("",))


def an_authority(name: str = "first", *, age: timedelta = timedelta(days=1)) -> Certificate:
    return Certificate(f"{name}\n", NOW - age, NOW - age + AUTHORITY_LIFE)


FIRST = an_authority()
OLD = an_authority("old", age=AUTHORITY_LIFE - timedelta(days=30))


def a_leaf(issuer: Certificate | None = FIRST, *, left: timedelta = LEAF_LIFE) -> Leaf:
    ends = NOW + left
    return Leaf(Certificate("leaf\n", ends - LEAF_LIFE, ends), HOSTS, issuer)


def well(leaf: Leaf | None = None) -> Found:
    """A cluster where nothing is to be done."""
    return Found(
        authority=FIRST,
        known=frozenset({FIRST}),
        leaf=leaf or a_leaf(),
        trusted=(FIRST.pem,),
    )


def step(found: Found, *, trusted_for: timedelta = SETTLING) -> Step | None:
    return authorities.next_step(found, hosts=HOSTS, at=NOW, trusted_for=trusted_for)


def test_where_all_is_well_nothing_is_done() -> None:
    assert step(well()) is None


def test_a_first_leaf_waits_for_nothing_but_the_configuration() -> None:
    """An authority, its place in the configuration, a leaf; each a write of its own."""
    assert step(NOTHING, trusted_for=timedelta()) == NewAuthority(())
    made = replace(NOTHING, authority=FIRST, known=frozenset({FIRST}))
    assert step(made, trusted_for=timedelta()) == Trust(FIRST.pem)
    trusted = replace(made, trusted=(FIRST.pem,))
    assert step(trusted, trusted_for=timedelta()) == NewLeaf((), ends=NOW + LEAF_LIFE)


@pytest.mark.parametrize(
    ("left", "due"), [(LEAF_MARGIN + timedelta(hours=1), False), (LEAF_MARGIN, True)]
)
def test_a_leaf_is_renewed_ten_days_before_its_end(left: timedelta, due: bool) -> None:
    found = well(a_leaf(left=left))
    assert step(found) == (NewLeaf((), ends=NOW + LEAF_LIFE) if due else None)


@pytest.mark.parametrize(
    ("left", "due"), [(AUTHORITY_MARGIN + timedelta(hours=1), False), (AUTHORITY_MARGIN, True)]
)
def test_an_authority_is_renewed_before_a_leaf_could_outlive_it(left: timedelta, due: bool) -> None:
    ageing = Certificate("ageing\n", NOW - timedelta(days=275), NOW + left)
    found = Found(
        authority=ageing,
        known=frozenset({ageing}),
        leaf=a_leaf(ageing),
        trusted=(ageing.pem,),
    )
    assert step(found) == (NewAuthority((ageing,)) if due else None)


def test_a_leaf_never_outlives_its_authority() -> None:
    assert LEAF_LIFE < AUTHORITY_MARGIN


def test_a_new_authority_signs_only_when_every_api_server_has_heard_of_it() -> None:
    bundle = FIRST.pem + OLD.pem
    found = Found(
        authority=FIRST, known=frozenset({FIRST, OLD}), leaf=a_leaf(OLD), trusted=(bundle,)
    )
    assert step(found, trusted_for=SETTLING - timedelta(seconds=1)) is None
    assert step(found) == NewLeaf((OLD,), ends=NOW + LEAF_LIFE)


def test_after_the_secret_was_deleted_what_is_served_stays_trusted_and_nothing_is_rushed() -> None:
    found = replace(NOTHING, known=frozenset({OLD}), trusted=(OLD.pem,))
    assert step(found) == NewAuthority((OLD,))
    made = replace(found, authority=FIRST, known=frozenset({FIRST, OLD}))
    assert step(made) == Trust(FIRST.pem + OLD.pem)
    trusted = replace(made, trusted=(FIRST.pem + OLD.pem,))
    assert step(trusted, trusted_for=timedelta()) is None
    assert step(trusted) == NewLeaf((OLD,), ends=NOW + LEAF_LIFE)


@pytest.mark.parametrize("overwritten", ["", "a stranger\n", f"{FIRST.pem}a stranger\n"])
def test_what_somebody_else_wrote_into_the_configuration_is_put_right(overwritten: str) -> None:
    assert step(replace(well(), trusted=(overwritten,))) == Trust(FIRST.pem)


def test_every_webhook_of_the_configuration_is_looked_at() -> None:
    assert step(replace(well(), trusted=(FIRST.pem, ""))) == Trust(FIRST.pem)


def test_an_authority_leaves_the_configuration_at_its_own_end() -> None:
    ended = Certificate("ended\n", NOW - AUTHORITY_LIFE, NOW)
    found = replace(
        well(), known=frozenset({FIRST, OLD, ended}), trusted=(FIRST.pem + OLD.pem + ended.pem,)
    )
    assert step(found) == Trust(FIRST.pem + OLD.pem)


def test_the_configuration_does_not_grow_for_ever_and_keeps_who_signed_the_leaf() -> None:
    many = [an_authority(f"{n:02}", age=timedelta(days=40 - n)) for n in range(20)]
    found = Found(
        authority=FIRST,
        known=frozenset({FIRST, *many}),
        leaf=a_leaf(many[0]),
        trusted=("",),
    )
    latest = [one.pem for one in reversed(many[-MOST_AUTHORITIES + 2 :])]
    assert step(found) == Trust("".join([FIRST.pem, many[0].pem, *latest]))


def test_other_hosts_take_another_leaf() -> None:
    found = well(replace(a_leaf(), hosts=frozenset({"webhook.elsewhere.svc"})))
    assert step(found) == NewLeaf((), ends=NOW + LEAF_LIFE)


def test_a_leaf_of_a_stranger_is_replaced() -> None:
    assert step(well(a_leaf(None))) == NewLeaf((), ends=NOW + LEAF_LIFE)


def test_a_clock_that_was_set_back_makes_no_certificate_of_tomorrow_count() -> None:
    tomorrow = Certificate("tomorrow\n", NOW + timedelta(days=1), NOW + AUTHORITY_LIFE)
    found = replace(NOTHING, authority=tomorrow, known=frozenset({tomorrow}))
    assert step(found) == NewAuthority((tomorrow,))
