"""The files and folders that the settings name: what is there, and is it as it should be?

`look` sees, the rest judges what was seen. Never opens a file.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rolesanywhere_contract import pkcs11uri
from rolesanywhere_contract.pkcs11uri import InvalidPkcs11Uri, Pkcs11Uri
from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, warning

# Set by the kubelet in every container that has a ServiceAccount's services.
_IN_A_POD: Final = "KUBERNETES_SERVICE_HOST"
# The link that a kubelet swaps to replace all files of a volume at once (its AtomicWriter).
_KUBELET_LINK: Final = "..data"

# Which setting names what, and the check that looks at it.
_FILES: Final[Mapping[Check, tuple[str, str]]] = {
    Check.CERTIFICATE_FILE: ("certificate", "certificate"),
    Check.PRIVATE_KEY_FILE: ("private_key", "private key"),
    Check.INTERMEDIATES_FILE: ("intermediates", "intermediates"),
    Check.PASSWORD_FILE: ("private_key_password_file", "private key's password"),
    Check.PIN_FILE: ("pin_file", "PIN"),
}
_WRITTEN: Final[Mapping[Check, tuple[str, str]]] = {
    Check.TOKEN_FILE: ("token_file", "token"),
    Check.SESSION_FILE: ("session_file", "session"),
    Check.PIN_LATCH_FILE: ("pin_latch_file", "PIN latch"),
}
_SECRET: Final = (Check.PRIVATE_KEY_FILE, Check.PASSWORD_FILE, Check.PIN_FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is at ``path``: ``problem`` says why it cannot be read; ``mode`` is None if absent.

    ``nearest`` is the lowest folder above it that exists. ``uid`` is ours, ``owner`` the file's.
    """

    path: Path
    uid: int
    problem: str = ""
    mode: int | None = None
    owner: int | None = None
    nearest: Path
    nearest_writable: bool = False
    in_a_pod: bool = False


def examine(values: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[Finding]:
    """Every file that is read, then every file that is written. Blocking."""
    for check, (setting, noun) in _FILES.items():
        path = values.get(setting)
        if check is Check.PIN_FILE and path is None:
            path = _pin_source(values)
        if path and not pkcs11uri.is_one(path):
            holds_key = check is Check.CERTIFICATE_FILE and not values["private_key"]
            yield judge_read(
                check,
                "certificate with its key" if holds_key else noun,
                look(Path(path), env),
                is_secret=holds_key or check in _SECRET,
            )
    for check, (setting, noun) in _WRITTEN.items():
        if values.get(setting):
            yield judge_written(check, noun, look(Path(values[setting]), env))


def look(path: Path, env: Mapping[str, str]) -> Seen:
    """What is at ``path``, as this process sees it; ``env`` tells whether this is a pod."""
    nearest = path.absolute().parent
    while not nearest.is_dir() and nearest != nearest.parent:
        nearest = nearest.parent
    mode, owner, problem = _status(path)
    return Seen(
        path=path,
        uid=os.geteuid(),
        problem=problem,
        mode=mode,
        owner=owner,
        nearest=nearest,
        nearest_writable=os.access(nearest, os.W_OK | os.X_OK, effective_ids=True),
        in_a_pod=bool(env.get(_IN_A_POD)) or (path.parent / _KUBELET_LINK).is_symlink(),
    )


def judge_read(check: Check, noun: str, seen: Seen, *, is_secret: bool) -> Finding:
    """Whether the file of a ``noun`` can be read, by us, and not by everybody if it is secret."""
    if seen.mode is None:
        return _absent(check, noun, seen)
    if seen.problem:
        return failure(
            check,
            f"the {noun} {seen.path} cannot be read by uid {seen.uid}: {seen.problem} (owner"
            f" {seen.owner}, mode {_octal(seen.mode)})",
            "let this user or its group read it; in a pod, set fsGroup",
        )
    if stat.S_ISDIR(seen.mode) and check is Check.CERTIFICATE_FILE:
        return ok(check, f"the {noun} is chosen from the folder {seen.path}")
    if not stat.S_ISREG(seen.mode):
        return failure(
            check, f"the {noun} {seen.path} is not a regular file", "name the file itself"
        )
    if is_secret and seen.mode & stat.S_IROTH and not seen.in_a_pod:
        return warning(
            check,
            f"the {noun} {seen.path} can be read by every user of this machine (mode"
            f" {_octal(seen.mode)})",
            f"chmod 0600 {seen.path}, owned by the user that runs this",
        )
    pod = " in a pod's own volume" if seen.in_a_pod and is_secret else ""
    return ok(check, f"the {noun} {seen.path} can be read (mode {_octal(seen.mode)}{pod})")


def judge_written(check: Check, noun: str, seen: Seen) -> Finding:
    """Whether we could put the file of a ``noun`` where the settings say."""
    folder = seen.path.absolute().parent
    if seen.nearest != folder:
        return failure(
            check,
            f"the {noun} file {seen.path} cannot be written: there is no folder {folder}"
            f" ({seen.nearest} is there)",
            "make the folder, or mount a volume there",
        )
    if not seen.nearest_writable:
        return failure(
            check,
            f"the {noun} file {seen.path} cannot be written: uid {seen.uid} may not write in"
            f" {folder}",
            "let this user write there; in a pod, use an emptyDir with medium Memory",
        )
    if seen.mode is None:
        return ok(check, f"the {noun} file {seen.path} can be written")
    if not stat.S_ISREG(seen.mode):
        return failure(
            check, f"the {noun} file {seen.path} is not a regular file", "name another path"
        )
    if seen.owner != seen.uid:
        return warning(
            check,
            f"the {noun} file {seen.path} is of uid {seen.owner}, not of ours ({seen.uid}), and"
            " is not believed",
            "run this as the user that serves; or leave it, to be replaced",
        )
    return ok(check, f"the {noun} file {seen.path} is there and can be replaced")


def _pin_source(values: Mapping[str, Any]) -> str | None:
    """The file that a URI names for its PIN; what is wrong with a URI is told elsewhere."""
    for source in (values.get("private_key"), values.get("certificate")):
        if source and pkcs11uri.is_one(source):
            try:
                path = Pkcs11Uri.parse(source).pin_file
            except InvalidPkcs11Uri:
                continue
            if path is not None:
                return path
    return None


def _absent(check: Check, noun: str, seen: Seen) -> Finding:
    folder = seen.path.absolute().parent
    if seen.problem:
        return failure(
            check,
            f"the {noun} {seen.path} cannot be reached by uid {seen.uid}: {seen.problem}",
            "let this user pass through every folder on the way (x permission)",
        )
    here = "its folder is there" if seen.nearest == folder else f"{seen.nearest} is there, no more"
    return failure(
        check,
        f"the {noun} {seen.path} does not exist; {here}",
        "check the path and its spelling; in a pod, the volume and its mount",
    )


def _status(path: Path) -> tuple[int | None, int | None, str]:
    """Mode, owner, and why it cannot be read."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None, None, ""
    except (OSError, ValueError) as problem:
        return None, None, getattr(problem, "strerror", None) or "the path is impossible"
    readable = os.access(path, os.R_OK, effective_ids=True)
    return status.st_mode, status.st_uid, "" if readable else "Permission denied"


def _octal(mode: int) -> str:
    return f"{stat.S_IMODE(mode):04o}"
