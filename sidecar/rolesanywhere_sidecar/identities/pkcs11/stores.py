"""The store of tpm2-pkcs11, where nobody may write beside it.

The module locks its store even to read it, by a file beside it, and PKCS11_SQL_LOCK is meant to
name another folder for such files. Version 1.9.0, Debian 12's, puts them into ``/`` whatever it
says, where a container may write least of all. So the module is shown the store in that folder, by
a link, and locks it there. Never copies it: a key that is added is seen.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

STORE: Final = "TPM2_PKCS11_STORE"
LOCKS: Final = "PKCS11_SQL_LOCK"

# What the module calls its database in the folder of STORE.
_DATABASE: Final = "tpm2_pkcs11.sqlite3"


def lockable(env: Mapping[str, str]) -> dict[str, str]:
    """``env`` of a module, such that it locks its store in the folder of PKCS11_SQL_LOCK.

    As it is where there is no such store, or no room for the link: the module then says what it
    lacks.
    """
    told = dict(env)
    if told.get(STORE) and told.get(LOCKS):
        with contextlib.suppress(OSError):
            folder = Path(told[LOCKS])
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _link(folder / _DATABASE, Path(told[STORE]) / _DATABASE)
            told[STORE] = str(folder)
            del told[LOCKS]
    return told


def _link(link: Path, target: Path) -> None:
    """Made anew each time: a container's restart may come with another store."""
    fresh = link.with_name(f"{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
