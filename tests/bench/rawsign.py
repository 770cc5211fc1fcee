"""A PKCS#11 module by itself: how long it takes over a signature, with nothing between.

    python -m tests.bench.rawsign < ORDER > TIMES

Reads one JSON document, prints a list of microseconds. A process of its own, as the module keeps
the settings that it was loaded with. Calls it by ctypes, whose own part is a few microseconds.
"""

import ctypes
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

_Ulong = ctypes.c_ulong

# CKF_SERIAL_SESSION, CKU_USER, CKA_CLASS, CKA_LABEL, CKO_PRIVATE_KEY (PKCS#11 v2.40, pkcs11t.h).
_SERIAL: Final = 4
_USER: Final = 1
_CLASS: Final = 0
_LABEL: Final = 3
_PRIVATE_KEY: Final = 3

# CK_TOKEN_INFO begins with the label, and is smaller than this.
_LABEL_BYTES: Final = 32
_INFO_BYTES: Final = 512
_MOST_SLOTS: Final = 64
_LONGEST_SIGNATURE: Final = 1024


class _Attribute(ctypes.Structure):
    _fields_ = (("type", _Ulong), ("value", ctypes.c_void_p), ("length", _Ulong))


class _Mechanism(ctypes.Structure):
    _fields_ = (("mechanism", _Ulong), ("parameter", ctypes.c_void_p), ("length", _Ulong))


class Module:
    """The functions of a module, which exports each by its name."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise RuntimeError(f"{name} gave {code:#x}")


def opened(module: Module, label: str, pin: str) -> Any:
    """A session with the token called ``label``, logged in."""
    module.call("C_Initialize", None)
    slots, count = (_Ulong * _MOST_SLOTS)(), _Ulong(_MOST_SLOTS)
    module.call("C_GetSlotList", True, slots, ctypes.byref(count))
    for slot in slots[: count.value]:
        info = ctypes.create_string_buffer(_INFO_BYTES)
        module.call("C_GetTokenInfo", _Ulong(slot), info)
        if info.raw[:_LABEL_BYTES].rstrip(b" ") == label.encode():
            session = _Ulong()
            module.call(
                "C_OpenSession", _Ulong(slot), _Ulong(_SERIAL), None, None, ctypes.byref(session)
            )
            secret = pin.encode()
            module.call("C_Login", session, _Ulong(_USER), secret, _Ulong(len(secret)))
            return session
    raise RuntimeError(f"no token is called {label}")


def private_key(module: Module, session: Any, label: str) -> Any:
    """The private key called ``label``."""
    kind, name = _Ulong(_PRIVATE_KEY), label.encode()
    wanted = (_Attribute * 2)(
        _Attribute(_CLASS, ctypes.addressof(kind), ctypes.sizeof(kind)),
        _Attribute(_LABEL, ctypes.cast(ctypes.c_char_p(name), ctypes.c_void_p), len(name)),
    )
    found, count = _Ulong(), _Ulong()
    module.call("C_FindObjectsInit", session, wanted, _Ulong(2))
    module.call("C_FindObjects", session, ctypes.byref(found), _Ulong(1), ctypes.byref(count))
    module.call("C_FindObjectsFinal", session)
    if not count.value:
        raise RuntimeError(f"no private key is called {label}")
    return found


def times(order: Mapping[str, Any]) -> Sequence[float]:
    """Microseconds of each signature: C_SignInit and C_Sign together."""
    module = Module(order["module"])
    session = opened(module, order["label"], order["pin"])
    key = private_key(module, session, order["key"])
    mechanism = _Mechanism(order["mechanism"], None, 0)
    data = bytes.fromhex(order["data"])
    signature = ctypes.create_string_buffer(_LONGEST_SIGNATURE)
    found = []
    for _ in range(order["count"]):
        length = _Ulong(_LONGEST_SIGNATURE)
        since = time.perf_counter()
        module.call("C_SignInit", session, ctypes.byref(mechanism), key)
        module.call("C_Sign", session, data, _Ulong(len(data)), signature, ctypes.byref(length))
        found.append(1e6 * (time.perf_counter() - since))
    return found


if __name__ == "__main__":
    json.dump(times(json.load(sys.stdin)), sys.stdout)
