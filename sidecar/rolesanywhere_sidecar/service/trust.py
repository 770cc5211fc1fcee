"""Whose TLS certificates are believed: everybody's usual authorities, or those in a file.

Never believes the usual ones where a file was named, whatever is wrong with that.
"""

import hashlib
import ssl
import threading
from pathlib import Path

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import files


class InvalidCABundle(RolesAnywhereError):
    """The file with the authorities cannot be read."""

    code = "InvalidCABundle"

    def __init__(self, problem: str) -> None:
        super().__init__(problem, hint="check --ca-bundle (ROLESANYWHERE_CA_BUNDLE)")


class Trust:
    """The authorities, read once; a bundle is read anew when its content changes."""

    def __init__(self, ca_bundle: str | None) -> None:
        self._bundle = ca_bundle
        self._digest = b""
        self._context: ssl.SSLContext | None = None
        self._one_reader = threading.Lock()

    def context(self) -> ssl.SSLContext:
        """Reads a file: blocking. Raises `InvalidCABundle` unless a good one was read before."""
        # Whoever comes while another reads has the same context: reading costs megabytes.
        with self._one_reader:
            try:
                return self._read()
            except InvalidCABundle:
                if self._context is None:
                    raise
                return self._context

    def _read(self) -> ssl.SSLContext:
        digest = _digest_of(self._bundle) if self._bundle else b""
        if self._context is None or digest != self._digest:
            try:
                self._context = ssl.create_default_context(cafile=self._bundle)
            except OSError:
                raise InvalidCABundle(
                    f"the CA bundle {self._bundle} is not a PEM file of certificates"
                ) from None
            self._digest = digest
        return self._context


def _digest_of(bundle: str) -> bytes:
    try:
        return hashlib.sha256(files.read_regular(Path(bundle))).digest()
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        raise InvalidCABundle(f"the CA bundle {bundle} cannot be read: {reason}") from None
