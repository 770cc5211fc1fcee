"""The serving certificate, replaced under a listener that never closes.

Every handshake picks the latest good certificate. Files that do not belong together, as in the
middle of a rotation, or whose time is over or has not come, change nothing: the certificate before
them goes on being served.
"""

import asyncio
import hashlib
import logging
import ssl
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn

from rolesanywhere_operator.webhook import validity
from rolesanywhere_operator.webhook.rehearsal import rehearse

log = logging.getLogger(__name__)

# Volumes of Secrets announce changes in no way to rely on, so the files are looked at again.
POLL_SECONDS: Final = 5.0


class ServingCertificate:
    """The pair in two PEM files; ``front`` is the listener's context for all its life."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._files = (certificate, private_key)
        self._seen: bytes | None = None
        self._current: ssl.SSLContext | None = None
        self._ends: datetime | None = None
        self._told = ""
        self.front = _context()
        self.front.sni_callback = self._choose

    @property
    def loaded(self) -> bool:
        """Whether there is a certificate to serve."""
        return self._current is not None

    @property
    def ends(self) -> datetime | None:
        """When the certificate that is served ends; None where there is none, or it cannot tell."""
        return self._ends

    def refresh(self) -> bool:
        """Take up the files if they changed and make a pair that is good now; whether they did."""
        try:
            seen = _digest(self._files)
            if seen == self._seen:
                return False
            # Into a context of its own: a pair that fails could leave a live one half set, and a
            # key of another type would be added to it, not put in the old one's place.
            fresh = _context()
            # A key under a passphrase must fail; without this, OpenSSL asks on the terminal.
            fresh.load_cert_chain(*self._files, password="")
            rehearse(fresh, self._files[0].read_text())
        except (OSError, ValueError) as wrong:  # ssl.SSLError is an OSError
            self._tell(str(wrong))
            return False
        self._seen, self._current, self._told = seen, fresh, ""
        self._ends = _end_of(self._files[0])
        log.info("serving certificate loaded", extra={"file": str(self._files[0])})
        return True

    def _tell(self, problem: str) -> None:
        """Once, however often the files are looked at."""
        if problem != self._told:
            kept = "the one before is kept" if self.loaded else "there is none to serve"
            log.warning(
                "serving certificate not usable",
                extra={"files": [str(file) for file in self._files], "problem": problem,
                       "consequence": kept},
            )  # fmt: skip
        self._told = problem

    async def follow(self) -> NoReturn:
        """Look at the files every ``POLL_SECONDS``, for ever."""
        while True:
            self.refresh()
            await asyncio.sleep(POLL_SECONDS)

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _front: ssl.SSLContext
    ) -> int | None:
        """Called in every handshake, with or without a server name."""
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None


def _end_of(certificate: Path) -> datetime | None:
    """For the metrics alone: what OpenSSL took is served, whether or not we can read it."""
    with suppress(OSError, ValueError):
        return validity.ends(certificate.read_text(errors="replace"))
    return None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _digest(files: tuple[Path, ...]) -> bytes:
    parts = (hashlib.sha256(file.read_bytes()).digest() for file in files)
    return b"".join(parts)
