"""Private keys in files: PKCS#8, PKCS#1 and SEC1, in PEM or DER, encrypted or not, and PKCS#12.

Never reads the file itself, and never repeats a parser's message: it could quote the key.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from rolesanywhere_sidecar.identities import der, pem
from rolesanywhere_sidecar.identities.keys import costs, legacy, mldsa, pbes2, pkcs12
from rolesanywhere_sidecar.identities.keys.errors import (
    InvalidKey,
    PasswordMissing,
    PasswordWrong,
    UnsupportedKey,
)
from rolesanywhere_sidecar.identities.keys.memory import (
    SUPPORTED,
    FileKey,
    signing_with,
    unsupported,
)

_PKCS8: Final = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
_TRADITIONAL: Final = ("RSA PRIVATE KEY", "EC PRIVATE KEY")

# PEM labels of keys that are none of ours, and how to make them so.
_FOREIGN: Final[Mapping[str, tuple[str, str]]] = {
    "OPENSSH PRIVATE KEY": (
        "is in OpenSSH's own format",
        "convert a copy with ssh-keygen -p -m PKCS8",
    ),
    "DSA PRIVATE KEY": ("is a DSA key", SUPPORTED),
    "TSS2 PRIVATE KEY": (
        "is wrapped for a TPM (TSS2), and a TPM's keys are used by PKCS#11 alone",
        "make a key there with tpm2_ptool and name it by a pkcs11: URI (docs/hardware-keys.md)",
    ),
}

_Load = Callable[[bytes, bytes | None], Any]


def read_key(content: bytes, *, where: str, password: bytes | None = None) -> FileKey:
    """The first private key in ``content``; certificates around it do not matter.

    ``password`` is for a key that is encrypted, and no other. Raises `InvalidKey` when there is
    none or it is damaged, `PasswordMissing` or `PasswordWrong`, and `UnsupportedKey` for schemes,
    algorithms, sizes and curves that are not for us.
    """
    password = password or None
    if pkcs12.recognised(content):
        return pkcs12.open_store(content, where=where, password=password).key()
    if der.looks_like_one(content):
        return _from_der(content, where=where, password=password)
    block = _private_block(content, where=where)
    if block.label in _TRADITIONAL:
        return signing_with(
            _loaded(load_pem_private_key, block.text, where=where, password=password), where=where
        )
    try:
        return _from_der(block.decoded(), where=where, password=password)
    except ValueError:
        raise _damaged(where) from None


def holds_key(content: bytes) -> bool:
    """Whether ``content`` is worth a `read_key`: it has a PEM key or is PKCS#12."""
    return pkcs12.recognised(content) or any(
        block.label.endswith("PRIVATE KEY") for block in pem.blocks(content)
    )


def _from_der(data: bytes, *, where: str, password: bytes | None) -> FileKey:
    if mldsa.parameter_set(data):
        return mldsa.read_key(data, where=where)
    if problem := costs.of_key(data).problem:
        raise UnsupportedKey(f"the private key in {where} {problem}", hint=costs.HINT)
    try:
        key = _loaded(load_der_private_key, data, where=where, password=password)
        return signing_with(key, where=where)
    except (PasswordWrong, InvalidKey):
        opened = _decrypted(data, password)
        if opened is None or not pbes2.is_plain(opened):
            raise
    return _from_der(opened, where=where, password=None)


def _decrypted(data: bytes, password: bytes | None) -> bytes | None:
    """Without its encryption what the library could not take in: ML-DSA, or unusual DER."""
    try:
        return pbes2.decrypt(data, password) if password else None
    except (ValueError, OverflowError, MemoryError):
        return None


def _loaded(load: _Load, data: bytes, *, where: str, password: bytes | None) -> object:
    what = f"the private key in {where}"
    try:
        return _with_fitting_password(load, data, password)
    except UnsupportedAlgorithm:
        raise legacy.refusal(data, what=what) or unsupported(
            where, "is of an algorithm or curve that is not supported"
        ) from None
    except TypeError:  # the library's word for a password that it lacks
        raise PasswordMissing(what) from None
    except Exception as problem:  # whatever a parser finds in it: its words may quote what it read
        if "nknown" in str(problem):
            raise UnsupportedKey(
                f"{what} is encrypted in a way that is not supported",
                hint="encrypt it anew with openssl pkcs8 -topk8 -v2 aes-256-cbc",
            ) from None
        if password is None or not _is_locked(load, data):
            raise _damaged(where) from None
        raise legacy.refusal(data, what=what) or PasswordWrong(what) from None


def _with_fitting_password(load: _Load, data: bytes, password: bytes | None) -> object:
    """A key that is not encrypted is no worse for a password that is set."""
    try:
        return load(data, password)
    except TypeError:
        if password is None:
            raise
        return load(data, None)


def _is_locked(load: _Load, data: bytes) -> bool:
    try:
        load(data, None)
    except TypeError:
        return True
    except Exception:  # it is damaged, not locked
        return False
    return False


def _private_block(content: bytes, *, where: str) -> pem.Block:
    """The key's own PEM block, found by us so that a file may hold parameters or certificates."""
    keys = (each for each in pem.blocks(content) if each.label.endswith("PRIVATE KEY"))
    block = next(keys, None)
    if block is None:
        raise InvalidKey(
            f"{where} holds no private key",
            hint="expected -----BEGIN PRIVATE KEY----- (or RSA or EC) up to its END line, DER, or"
            " PKCS#12",
        )
    if block.label in _FOREIGN:
        problem, hint = _FOREIGN[block.label]
        raise UnsupportedKey(f"the private key in {where} {problem}", hint=hint)
    if block.label not in (*_PKCS8, *_TRADITIONAL):
        raise unsupported(where, f"is a {block.label!r} block")
    return block


def _damaged(where: str) -> InvalidKey:
    return InvalidKey(
        f"the private key in {where} cannot be read",
        hint="it must be complete, from its first byte or BEGIN line to its last; openssl pkey"
        " checks it",
    )
