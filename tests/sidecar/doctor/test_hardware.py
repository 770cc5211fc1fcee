"""What is said of a module, its tokens and a PIN, by what was seen of them."""

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.pkcs11uri import InvalidPkcs11Uri
from rolesanywhere_sidecar.doctor.findings import Check
from rolesanywhere_sidecar.doctor.hardware import Seen, judge, judge_pin
from rolesanywhere_sidecar.identities.identity import KeyMismatch, NoSuchCertificate
from rolesanywhere_sidecar.identities.pkcs11.conversation import Token
from rolesanywhere_sidecar.identities.pkcs11.errors import (
    ModuleUnusable,
    NoSuchKey,
    NoSuchToken,
    PinIncorrect,
    TokenSilent,
)
from rolesanywhere_sidecar.identities.pkcs11.facts import LibraryFacts, SlotFacts, TokenFacts
from rolesanywhere_sidecar.identities.pkcs11.pins import PinSource
from tests.support.examined import FAILURE, OK, SKIPPED, WARNING, of, troubles

LIBRARY = LibraryFacts(
    library_manufacturer="SoftHSM".ljust(32), library_description="", library_version=(2, 6)
)
LOGIN_REQUIRED, INITIALIZED = 0x4, 0x400
COUNT_LOW, FINAL_TRY, LOCKED = 0x10000, 0x20000, 0x40000


def a_token(flags: int = LOGIN_REQUIRED) -> Token:
    return Token(
        TokenFacts(token="node-hsm", manufacturer="SoftHSM", serial="1", model="v2"),
        SlotFacts(slot_manufacturer="", slot_description="", slot_id=0),
        INITIALIZED | flags,
    )


def seen(*tokens: Token, shown: int = 1, pin: PinSource | None = None) -> Seen:
    return Seen(
        module="/m.so", library=LIBRARY, shown=shown, meant=tokens, pin=pin or PinSource("/pin")
    )


def test_a_module_and_its_token_are_named() -> None:
    found = list(judge(seen(a_token())))
    assert troubles(found) == []
    assert of(found, Check.MODULE).sentence == "the module /m.so is SoftHSM, 2.6"
    assert "token=node-hsm" in of(found, Check.TOKEN).sentence
    assert of(found, Check.TOKEN).sentence.endswith("is in slot 0; it asks for a PIN")


def test_one_token_of_several_is_told_as_such() -> None:
    [token] = list(judge(seen(a_token(), shown=3)))[1:]
    assert "in slot 0, one of 3 that it shows" in token.sentence


def test_a_module_that_cannot_be_used_hides_its_tokens() -> None:
    problem = ModuleUnusable("the PKCS#11 module /m.so is no file", hint="name one")
    found = list(judge(Seen(module="/m.so", problem=problem)))
    assert troubles(found) == [(FAILURE, Check.MODULE), (SKIPPED, Check.TOKEN)]
    assert of(found, Check.MODULE).remedy == "name one"


def test_a_token_that_is_not_there_is_no_failure_of_the_module() -> None:
    problem = NoSuchToken("no token is as pkcs11:token=x says")
    found = list(judge(Seen(module="/m.so", library=LIBRARY, problem=problem)))
    assert troubles(found) == [(FAILURE, Check.TOKEN)]
    assert of(found, Check.TOKEN).remedy


def test_a_uri_that_is_none_is_no_failure_of_the_module() -> None:
    found = list(judge(Seen(problem=InvalidPkcs11Uri("the PKCS#11 URI has both"))))
    assert troubles(found) == [(FAILURE, Check.TOKEN)]


@pytest.mark.parametrize(
    ("flag", "says"),
    [(COUNT_LOW, "a few more lock it"), (FINAL_TRY, "one more locks it"), (LOCKED, "is locked")],
)
def test_what_a_token_says_of_its_pin_is_a_warning(flag: int, says: str) -> None:
    found = list(judge(seen(a_token(LOGIN_REQUIRED | flag))))
    assert troubles(found) == [(WARNING, Check.TOKEN)]
    assert says in of(found, Check.TOKEN).sentence


def test_a_pin_that_was_refused_is_a_failure_with_its_way_out() -> None:
    refused = PinIncorrect("the token refused the PIN", hint="put the right one there")
    found = judge_pin(seen(a_token()), refused)
    assert (found.verdict, found.remedy) == (FAILURE, "put the right one there")


@pytest.mark.parametrize("problem", [None, NoSuchKey("no key"), KeyMismatch("another key")])
def test_a_pin_that_was_taken_is_well_whatever_is_wrong_with_the_key(
    problem: RolesAnywhereError | None,
) -> None:
    found = judge_pin(seen(a_token()), problem)
    assert (found.verdict, found.sentence) == (OK, "the token takes the PIN of /pin")


@pytest.mark.parametrize("problem", [NoSuchCertificate("none"), TokenSilent("no answer")])
def test_a_pin_that_may_not_have_been_tried_is_not_judged(problem: RolesAnywhereError) -> None:
    assert judge_pin(seen(a_token()), problem).verdict is SKIPPED


def test_a_token_that_asks_for_no_pin_is_told_as_such() -> None:
    assert judge_pin(seen(a_token(flags=0)), None).sentence == "the token asks for no PIN"
    assert judge_pin(Seen(), None).verdict is SKIPPED


def test_a_pin_in_a_uri_is_a_warning_that_does_not_show_it() -> None:
    found = judge_pin(seen(a_token(), pin=PinSource(value="s3cr3t")), None)
    assert found.verdict is WARNING
    assert "s3cr3t" not in f"{found}"
