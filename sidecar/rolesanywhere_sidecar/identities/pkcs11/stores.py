"""The store of tpm2-pkcs11, where nobody may write beside it.

The module locks its store even to read it, by a file beside it, and PKCS11_SQL_LOCK is meant to
name another folder for such files. Version 1.9.0, Debian 12's, puts them into ``/`` whatever it
says, where a container may write least of all. So the module is shown the store in a folder below
that one, by a link, and locks it there. Never copies it: a key that is added is seen. Never
replaces what is not such a link.
"""

import os
import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from rolesanywhere_contract.names import TPM_LOCKS, TPM_STORE

# What the module calls its database in the folder of TPM_STORE.
_DATABASE: Final = "tpm2_pkcs11.sqlite3"


def lockable(env: Mapping[str, str]) -> dict[str, str]:
    """``env`` of a module, such that it locks its store below the folder of PKCS11_SQL_LOCK.

    As it is where there is no such store, or no room of our own for the link: the module then says
    what it lacks.
    """
    told = dict(env)
    if not (told.get(TPM_STORE) and told.get(TPM_LOCKS)):
        return told
    store = Path(told[TPM_STORE]).absolute()
    # Of this store alone: another that is locked below the same folder is not ours to move.
    folder = Path(told[TPM_LOCKS]).absolute() / sha256(os.fsencode(store)).hexdigest()[:16]
    try:
        _make_private(folder)
        _link(folder / _DATABASE, store / _DATABASE)
    except OSError:
        return told
    del told[TPM_LOCKS]
    return told | {TPM_STORE: str(folder)}


def _make_private(folder: Path) -> None:
    """Whoever may write there decides which store is loaded. Raises OSError where others may."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(str(folder))


def _link(link: Path, target: Path) -> None:
    """Made anew each time, by a name of this process: another may start at the same moment."""
    if os.path.lexists(link) and not link.is_symlink():
        raise FileExistsError(str(link))
    fresh = link.with_name(f"{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
