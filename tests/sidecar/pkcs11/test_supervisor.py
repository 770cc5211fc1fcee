"""The ladder: what is thrown away after which failure, and what is told when nothing helps."""

import errno
import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import NoReturn

import pytest

from rolesanywhere_sidecar.identities.pkcs11.conversation import Conversation
from rolesanywhere_sidecar.identities.pkcs11.errors import (
    ModuleCrashed,
    ModuleUnusable,
    NoSuchToken,
    PinIncorrect,
    Pkcs11Missing,
    TokenSilent,
    TokenUnavailable,
)
from rolesanywhere_sidecar.identities.pkcs11.process import Died, Silent
from rolesanywhere_sidecar.identities.pkcs11.supervisor import (
    CALL_SECONDS,
    LONGEST_WAIT_SECONDS,
    TOTAL_SECONDS,
    Supervisor,
)
from tests.support.pretend_tokens import ModuleFails, PretendModule, PretendToken


class Bench:
    """A supervised module, and a clock that a test owns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.restarts = 0
        self.module = PretendModule(PretendToken())
        # Any file will do for one that nobody loads.
        self.supervisor = Supervisor(
            __file__, env={}, spawn=self.module.spawn, monotonic=lambda: self.now,
            restarted=self._restarted,
        )  # fmt: skip

    def _restarted(self) -> None:
        self.restarts += 1

    def look(self) -> int:
        """How many tokens there are."""
        return self.supervisor.run(lambda talk: len(talk.tokens()))

    def after(self, seconds: float, wrong: Exception) -> Callable[[], None]:
        def happen() -> None:
            self.now += seconds
            raise wrong

        return happen


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_one_process_is_kept_for_all_calls(bench: Bench) -> None:
    assert [bench.look() for _ in range(5)] == [1] * 5
    assert len(bench.module.children) == 1
    assert bench.module.count("load") == 1
    assert bench.restarts == 0


def test_the_first_failure_costs_the_session_alone(bench: Bench) -> None:
    bench.look()
    bench.module.once("tokens", ModuleFails("SessionHandleInvalid"))
    assert bench.look() == 1
    assert "reinitialize" not in bench.module.asked
    assert len(bench.module.children) == 1


def test_an_open_session_is_closed_before_another_is_opened(bench: Bench) -> None:
    def work(talk: Conversation) -> int:
        [token] = talk.tokens()
        return len(talk.certificates(token))

    bench.supervisor.run(work)
    bench.module.once("certificates", ModuleFails("OperationActive"))
    bench.supervisor.run(work)
    assert bench.module.asked[-4:] == ["certificates", "forget", "tokens", "certificates"]


def test_the_second_initializes_the_module_anew_and_the_third_takes_a_new_process(
    bench: Bench,
) -> None:
    bench.look()
    bench.module.once("tokens", *[ModuleFails("GeneralError")] * 2)
    assert bench.look() == 1
    assert bench.module.count("reinitialize") == 1
    assert len(bench.module.children) == 1
    bench.module.once("tokens", *[ModuleFails("GeneralError")] * 3)
    assert bench.look() == 1
    assert [child.ended for child in bench.module.children] == [True, False]
    assert bench.restarts == 1


def test_what_no_process_cures_is_told_as_what_passes(bench: Bench) -> None:
    bench.look()
    bench.module.once("tokens", *[ModuleFails("DeviceError")] * 4)
    with pytest.raises(TokenUnavailable, match="fails: DeviceError") as caught:
        bench.look()
    assert caught.value.retryable
    assert bench.look() == 1


def test_an_error_of_reinitialize_itself_is_one_more_step(bench: Bench) -> None:
    bench.look()
    bench.module.once("tokens", *[ModuleFails("GeneralError")] * 2)
    bench.module.once("reinitialize", ModuleFails("GeneralError"))
    assert bench.look() == 1
    assert len(bench.module.children) == 2


def test_who_hangs_is_replaced_at_once(bench: Bench) -> None:
    bench.look()
    bench.module.on["tokens"] = [bench.after(CALL_SECONDS, Silent())]
    assert bench.look() == 1
    assert len(bench.module.children) == 2
    assert "reinitialize" not in bench.module.asked


def test_who_hangs_again_is_given_up_within_bounds(bench: Bench) -> None:
    bench.look()
    before = bench.now
    bench.module.on["tokens"] = [bench.after(CALL_SECONDS, Silent()) for _ in range(9)]
    with pytest.raises(TokenSilent, match="did not answer within 5 seconds") as caught:
        bench.look()
    assert caught.value.retryable
    assert bench.now - before <= TOTAL_SECONDS


def test_a_call_is_given_no_more_time_than_all_together_have(bench: Bench) -> None:
    given: list[float] = []
    bench.look()
    [child] = bench.module.children
    ask = child.ask

    def watched(question: object, *, within: float) -> object:
        given.append(within)
        bench.now += 4.0
        return ask(question, within=within)  # type: ignore[arg-type]  # as it came

    child.ask = watched  # type: ignore[assignment]  # what a spy is
    bench.supervisor.run(lambda talk: [talk.tokens() for _ in range(4)])
    assert given == [5.0, 5.0, 4.0, 0.05]


def test_a_crash_is_told_with_its_last_words_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.look()
    bench.module.once("tokens", *[Died("vendor: assertion failed")] * 2)
    with pytest.raises(ModuleCrashed) as caught:
        bench.look()
    assert "assertion failed" not in str(caught.value)
    told = [each for each in caplog.records if each.message == "last words of a PKCS#11 module"]
    assert [vars(each)["words"] for each in told] == ["vendor: assertion failed"] * 2


def test_each_step_of_the_ladder_is_in_the_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.look()
    bench.module.once("tokens", *[ModuleFails("DeviceRemoved")] * 3)
    bench.look()
    assert [vars(each)["with_new"] for each in caplog.records] == ["session", "module", "process"]
    assert "fails: DeviceRemoved" in vars(caplog.records[0])["problem"]


def test_a_process_that_ends_again_and_again_is_started_ever_more_slowly(bench: Bench) -> None:
    bench.module.once("tokens", *[Died("")] * 1000)
    for _ in range(600):
        with pytest.raises(TokenUnavailable):
            bench.look()
        bench.now += 1.0
    assert len(bench.module.children) < 2 + 10 + 2 * 600 / LONGEST_WAIT_SECONDS
    bench.module.on.clear()
    bench.now += LONGEST_WAIT_SECONDS
    assert bench.look() == 1


def test_while_it_waits_to_be_started_it_says_so(bench: Bench) -> None:
    bench.module.once("tokens", *[Died("")] * 4)
    for _ in range(2):
        with pytest.raises(TokenUnavailable):
            bench.look()
    with pytest.raises(TokenUnavailable, match="it is started again in") as caught:
        bench.look()
    assert caught.value.retryable


def test_a_token_that_is_missed_is_looked_for_with_the_module_initialized_anew(
    bench: Bench,
) -> None:
    bench.look()
    missing = [True]

    def work(talk: Conversation) -> str:
        if "reinitialize" not in bench.module.asked:
            raise NoSuchToken("away")
        missing.clear()
        return "back"

    assert bench.supervisor.run(work) == "back"
    assert len(bench.module.children) == 1


def test_what_a_fresh_module_does_not_show_is_not_there(bench: Bench) -> None:
    def work(talk: Conversation) -> str:
        raise NoSuchToken("away")

    with pytest.raises(NoSuchToken):
        bench.supervisor.run(work)
    assert bench.module.asked == ["load"]


def test_a_refused_pin_is_no_step_and_ends_the_process_whose_session_leaks(bench: Bench) -> None:
    bench.look()

    def work(talk: Conversation) -> None:
        [token] = talk.tokens()
        try:
            talk.login(token, "wrong")
        except Exception:
            raise PinIncorrect("no") from None

    with pytest.raises(PinIncorrect):
        bench.supervisor.run(work)
    assert bench.module.count("login") == 1
    assert bench.module.children[0].ended


def test_a_module_that_is_no_file_is_named_before_anything_is_started() -> None:
    module = PretendModule()
    with pytest.raises(ModuleUnusable, match=r"/nowhere\.so is no file"):
        Supervisor("/nowhere.so", env={}, spawn=module.spawn).run(lambda talk: talk.tokens())
    assert module.children == []


def test_without_python_pkcs11_the_variant_is_named(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Pkcs11Missing, match=r"the image's variant for PKCS#11") as caught:
        bench.look()
    assert "rolesanywhere[pkcs11]" in str(caught.value)


def test_a_process_that_cannot_be_started_is_told_as_what_passes() -> None:
    def spawn(env: Mapping[str, str]) -> NoReturn:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    supervisor = Supervisor(__file__, env={}, spawn=spawn)
    with pytest.raises(TokenUnavailable, match=r"could be started .* unavailable"):
        supervisor.run(lambda talk: talk.tokens())


def test_closing_ends_the_process_and_no_other_is_started(bench: Bench) -> None:
    bench.look()
    bench.module.on["tokens"] = [bench.supervisor.close, bench.after(0, Died(""))]
    bench.look()
    assert bench.module.children[0].ended
    bench.module.on.clear()
    bench.supervisor._drop()
    with pytest.raises(TokenUnavailable, match="this process ends"):
        bench.look()
    assert len(bench.module.children) == 1
