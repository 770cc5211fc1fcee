"""The child process: takes calls from its parent, one at a time, and ends when that does.

Whatever a vendor's module does happens here: it may hang, crash or leak, and is killed for it.
Loads next to nothing. Never decides anything, and never writes a secret anywhere.
"""

import fcntl
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from typing import Final, NoReturn

from rolesanywhere_sidecar.identities.pkcs11 import framing

# Bytes of a core dump: too few for a file, and what Linux takes for "none" where dumps go to a
# program, for which 0 would be no limit (core(5), kernel/fs/coredump.c).
_NO_CORE: Final = 1


def main() -> NoReturn:
    """Serve on the socket and with the lifeline whose descriptors are the last two arguments."""
    lifeline, conversation = (int(argument) for argument in sys.argv[-2:])
    for ours in (lifeline, conversation):
        # A program that a module starts is no party to this.
        os.set_inheritable(ours, False)
    die_with_parent(lifeline)
    leave_no_core()
    with socket.socket(fileno=conversation) as wire:
        _serve(wire)
    # Not by the interpreter's own end: that calls into a module which may hang.
    os._exit(0)


def die_with_parent(lifeline: int) -> None:
    """Have the kernel kill this process, and what a module has started in its group, as soon as
    nobody holds the other end of ``lifeline``.

    A module that hangs may hold every lock there is, so no thread of ours could. Nor is it
    PR_SET_PDEATHSIG, which counts the end of the thread that started us as the parent's.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
    try:
        gone = os.read(lifeline, 1) == b""
    except BlockingIOError:
        gone = False
    if gone:
        os._exit(0)


def leave_no_core() -> None:
    """Have a module that crashes leave no memory behind: the PIN is in it."""
    # Refused where somebody has forbidden dumps for good.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE, _NO_CORE))


def _serve(wire: socket.socket) -> None:
    # Only now: by then the kernel knows with whom this process ends.
    from rolesanywhere_sidecar.identities.pkcs11.cryptoki import Cryptoki

    token = Cryptoki()
    while (call := framing.read(wire.recv)) is not None:
        wire.sendall(framing.encode(token.answer(call)))


if __name__ == "__main__":
    main()
