"""A real child process: what it is given, and that it ends when it should. No module is loaded."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rolesanywhere_sidecar.identities.pkcs11 import process
from rolesanywhere_sidecar.identities.pkcs11.process import Child, Died, Silent, environment
from tests.support.waiting import runs

PATIENCE = 20.0


@pytest.fixture
def child() -> Iterator[Child]:
    started = Child({"PATH": os.environ["PATH"], "ROLESANYWHERE_PRIVATE_KEY_PASSWORD": "hush"})
    yield started
    started.end()


def about(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_answers_what_it_is_asked_and_what_fails_is_an_answer(child: Child) -> None:
    answer = child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
    assert answer["error"] == "PKCS11Error"
    assert "cannot open shared object file" in answer["words"]


def test_it_loads_neither_cryptography_nor_an_event_loop(child: Child) -> None:
    child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
    mapped = about(child.pid, "maps")
    assert b"pkcs11" in mapped
    assert b"cryptography" not in mapped
    assert b"_asyncio" not in mapped


def test_it_is_shown_a_tpms_store_where_it_may_be_locked(tmp_path: Path) -> None:
    given = {"TPM2_PKCS11_STORE": "/var/lib/tpm2-pkcs11", "PKCS11_SQL_LOCK": str(tmp_path)}
    child = Child(given)
    try:
        child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
        assert f"TPM2_PKCS11_STORE={tmp_path}/".encode() in about(child.pid, "environ")
    finally:
        child.end()


def test_it_sees_no_setting_of_ours_and_nobodys_credentials(child: Child) -> None:
    child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
    seen = about(child.pid, "environ")
    assert b"PATH=" in seen
    assert b"TSS2_LOG=all+none" in seen
    assert b"ROLESANYWHERE" not in seen
    assert b"hush" not in seen
    assert environment({"AWS_SECRET_ACCESS_KEY": "x", "TSS2_LOG": "all+debug"}) == {
        "TSS2_LOG": "all+debug"
    }


@pytest.mark.parametrize("name", ["https_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_module_may_use_a_proxy_and_sees_nobodys_login_there(name: str) -> None:
    assert name not in environment({name: "http://svc:hunter2@proxy.example:3128"})
    assert environment({name: "http://proxy.example"})[name] == "http://proxy.example"


def test_it_holds_no_descriptor_of_ours_but_those_two(child: Child) -> None:
    child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
    assert len(list(Path(f"/proc/{child.pid}/fd").iterdir())) == 5


def test_who_does_not_answer_in_time_is_killed(child: Child) -> None:
    child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(Silent):
        child.ask({"do": "tokens"}, within=0.05)
    assert not Path(f"/proc/{child.pid}").exists(), "not even a zombie is left"


def test_who_has_ended_is_said_to_have_died(child: Child) -> None:
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(Died):
        child.ask({"do": "tokens"}, within=PATIENCE)
    assert not Path(f"/proc/{child.pid}").exists()


def test_its_last_words_are_kept_and_no_more_than_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talkative = "import os; os.write(2, b'x' * 500_000 + b'the end'); os._exit(3)"
    monkeypatch.setattr(process, "_BOOT", talkative)
    child = Child({})
    with pytest.raises(Died) as caught:
        child.ask({"do": "tokens"}, within=PATIENCE)
    assert caught.value.words.endswith("the end")
    assert len(caught.value.words) == process.LARGEST_LAST_WORDS


def test_a_module_that_tells_the_pin_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    telling = "import os; os.write(2, b'C_Login(1234-5150) failed'); os._exit(3)"
    monkeypatch.setattr(process, "_BOOT", telling)
    child = Child({})
    with pytest.raises(Died) as caught:
        child.ask({"do": "login", "slot": 0, "pin": "1234-5150"}, within=PATIENCE)
    assert caught.value.words == "C_Login([redacted]) failed"


def test_nonsense_from_it_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nonsense = "import os, sys, time; os.write(int(sys.argv[-1]), b'\\xff' * 99); time.sleep(60)"
    monkeypatch.setattr(process, "_BOOT", nonsense)
    child = Child({})
    with pytest.raises(Died):
        child.ask({"do": "tokens"}, within=PATIENCE)
    assert not Path(f"/proc/{child.pid}").exists()


def test_it_reads_no_module_from_where_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    child = Child({"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "json.py")})
    assert "error" in child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
    child.end()


_PARENT = """
import sys, time
from rolesanywhere_sidecar.identities.pkcs11.process import Child
child = Child({})
child.ask({"do": "load", "path": "/nowhere.so"}, within=20)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("frozen", [False, True], ids=["idle", "inside a call"])
def test_it_never_outlives_its_parent_however_that_ends(frozen: bool) -> None:
    """Stopped, no code of its own can run: the kernel does it, as for one that hangs in C."""
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout as told:
        pid = int(told.readline())
        if frozen:
            os.kill(pid, signal.SIGSTOP)
        assert runs(pid)
        parent.kill()
        parent.wait()
        until(lambda: not runs(pid))


def test_it_ends_without_the_wire_too(child: Child) -> None:
    """Whoever still holds a copy of one end does not keep it alive."""
    child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
    os.close(child._lifeline)
    child._lifeline = -1
    until(lambda: not runs(child.pid))


@pytest.mark.parametrize("parent_ends", [False, True], ids=["it is ended", "its parent ends"])
def test_what_a_module_has_started_ends_with_it(
    monkeypatch: pytest.MonkeyPatch, parent_ends: bool
) -> None:
    """Else each hang of such a module would cost us a process, a thread and a descriptor."""
    hooked = process._BOOT.replace("main()", "import os, time; os.fork() or time.sleep(60); main()")
    monkeypatch.setattr(process, "_BOOT", hooked)
    child = Child({"PATH": os.environ["PATH"]})
    child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
    [helper] = of_group(child.pid) - {child.pid}
    if parent_ends:
        os.close(child._lifeline)
        child._lifeline = -1
    else:
        child.end()
        child._listener.join(PATIENCE)
        assert not child._listener.is_alive()
    until(lambda: not runs(helper))
    child.end()


def of_group(leader: int) -> set[int]:
    numbers = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]
    found = set()
    for number in numbers:
        with suppress(ProcessLookupError):
            if os.getpgid(number) == leader:
                found.add(number)
    return found


def test_a_program_that_a_module_starts_gets_no_descriptor_of_ours(child: Child) -> None:
    child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
    flags = [
        int(line.split()[1], 8)
        for entry in Path(f"/proc/{child.pid}/fdinfo").iterdir()
        if int(entry.name) > 2
        for line in entry.read_text().splitlines()
        if line.startswith("flags:")
    ]
    assert flags
    assert all(each & os.O_CLOEXEC for each in flags)


def test_a_crash_leaves_no_memory_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The PIN is in it. Dumps are allowed here, as in most containers."""
    monkeypatch.chdir(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        child = Child({"PATH": os.environ["PATH"]})
        child.ask({"do": "load", "path": "/nowhere.so"}, within=PATIENCE)
        limit = resource.prlimit(child.pid, resource.RLIMIT_CORE)
        os.kill(child.pid, signal.SIGSEGV)
        with pytest.raises(Died):
            child.ask({"do": "tokens"}, within=PATIENCE)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert max(limit) <= 1
    assert not list(tmp_path.iterdir())


def test_a_key_press_at_the_terminal_is_for_the_parent(child: Child) -> None:
    assert os.getsid(child.pid) != os.getsid(0)


def test_no_descriptor_is_left_behind() -> None:
    def held() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not walked

    first = Child({})
    first.end()
    before = held()
    for _ in range(5):
        child = Child({})
        child.end()
        child.end()
    until(lambda: held() <= before)
