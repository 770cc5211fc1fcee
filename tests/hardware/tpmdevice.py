"""Device files of a TPM, for machines whose kernel has no driver that makes them: terminals.

    tpmdevice.py HOW_MANY GROUP

Prints the paths of so many terminals, which GROUP may open. Who opens one has a TPM with a resource
manager before it, as behind ``/dev/tpmrm0``: what is left in the TPM when it is closed is gone.
Unlike there, one client at a time: a terminal does not tell who of several speaks.

Run as a program, with the standard library alone, in the environment by which the TPM's own tools
find the resource manager.
"""

import ctypes
import os
import pty
import select
import sys
import termios
import threading
import time
import tty
from contextlib import suppress
from pathlib import Path
from typing import Final

# TPM 2.0 Library, part 1, 18: two bytes that tell the kind, four of the whole's size, four of code.
HEADER_BYTES: Final = 10
LARGEST_BYTES: Final = 4096
# TPM_RC_FAILURE: what a TPM answers when there is no hope for it.
FAILED: Final = bytes.fromhex("80010000000a00000101")
# TSS2_TCTI_RC_TRY_AGAIN, without the layer.
NOTHING_YET: Final = 9
# Within this a client is missed that has closed the terminal.
LOOK_SECONDS: Final = 0.02


class Closed(Exception):
    """Nobody has the terminal open any more."""


class Lost(Exception):
    """The resource manager does not answer as it should."""


class _Context(ctypes.Structure):
    """TSS2_TCTI_CONTEXT_COMMON_V1 (TCG TSS 2.0 TCTI specification), as far as it is used."""

    _fields_ = (
        ("magic", ctypes.c_uint64),
        ("version", ctypes.c_uint64),
        ("transmit", ctypes.CFUNCTYPE(
            ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)),
        ("receive", ctypes.CFUNCTYPE(
            ctypes.c_uint32, ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.c_char_p,
            ctypes.c_int32)),
    )  # fmt: skip


class Manager:
    """A connection to the resource manager; what it keeps in the TPM goes with it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libtss2-tctildr.so.0")
        self._handle = ctypes.c_void_p()
        name = os.environ["TPM2TOOLS_TCTI"].encode()
        if self._library.Tss2_TctiLdr_Initialize(name, ctypes.byref(self._handle)):
            raise Lost
        self._calls = ctypes.cast(self._handle, ctypes.POINTER(_Context)).contents

    def send(self, command: bytes) -> None:
        if self._calls.transmit(self._handle, len(command), command):
            raise Lost

    def said(self, *, within: float) -> bytes:
        """Its answer, or nothing if there is none yet."""
        size, buffer = ctypes.c_size_t(LARGEST_BYTES), ctypes.create_string_buffer(LARGEST_BYTES)
        code = self._calls.receive(self._handle, ctypes.byref(size), buffer, int(within * 1000))
        if code and code & 0xFF != NOTHING_YET:
            raise Lost
        # By its own word: of an answer that is a header alone the library does not tell the size.
        return b"" if code else buffer.raw[: int.from_bytes(buffer.raw[2:6])]

    def close(self) -> None:
        self._library.Tss2_TctiLdr_Finalize(ctypes.byref(self._handle))


class Terminal:
    """Our end of a terminal, whose other end is ``path``."""

    def __init__(self, group: int) -> None:
        self._end, other = pty.openpty()
        self.path = Path(os.ttyname(other))
        os.close(other)
        os.chown(self.path, 0, group)
        self.path.chmod(0o660)
        self.clear()

    def clear(self) -> None:
        """Bytes as they are and none of an earlier client's, whose end may have reset it."""
        other = os.open(self.path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(other)
        termios.tcflush(other, termios.TCIOFLUSH)
        os.close(other)

    @property
    def is_open(self) -> bool:
        """Whether a client has it open."""
        poll = select.poll()
        poll.register(self._end, 0)
        return not poll.poll(0)

    def command(self) -> bytes:
        """What a client sends, once it is whole. Raises `Closed`."""
        header = self._read(HEADER_BYTES)
        return header + self._read(int.from_bytes(header[2:6]) - HEADER_BYTES)

    def answer(self, content: bytes) -> None:
        """In one piece, which is how a client reads it."""
        os.write(self._end, content)

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            try:
                found += os.read(self._end, size - len(found))
            except OSError as ended:  # EIO
                raise Closed from ended
        return found


def serve(terminal: Terminal) -> None:
    """One client after the other, for ever."""
    while True:
        while not terminal.is_open:
            time.sleep(LOOK_SECONDS)
        connection = Connection()
        with suppress(Closed):
            while True:
                terminal.answer(connection.answer(terminal.command(), terminal))
        connection.close()
        terminal.clear()


class Connection:
    """What one client has of the TPM: by the resource manager of now, whichever that is."""

    def __init__(self) -> None:
        self._manager: Manager | None = None

    def answer(self, command: bytes, terminal: Terminal) -> bytes:
        """The TPM's. Raises `Closed` when the client waits no longer."""
        try:
            self._manager = self._manager or Manager()
            self._manager.send(command)
            while not (answer := self._manager.said(within=LOOK_SECONDS)):
                if not terminal.is_open:
                    raise Closed
        except Lost:
            self.close()
            return FAILED
        return answer

    def close(self) -> None:
        if self._manager is not None:
            self._manager.close()
        self._manager = None


def main(how_many: str, group: str) -> None:
    terminals = [Terminal(int(group)) for _ in range(int(how_many))]
    for terminal in terminals:
        threading.Thread(target=serve, args=[terminal], daemon=True).start()
    print(*(terminal.path for terminal in terminals), sep="\n", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
