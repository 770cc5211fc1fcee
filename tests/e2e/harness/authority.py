"""Whom every image trusts besides the usual authorities, as a company's images trust its own.

It is made once and kept with the images, since another would make them others. It signs TLS
certificates of servers that tests run, and no workload's.
"""

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.fakes.pki import Authority


@cache
def find_or_make(folder: Path) -> Authority:
    """The authority that is kept in ``folder``, whichever of several runs made it."""
    kept = folder / "authority.pem"
    if not kept.exists():
        _keep(Authority.root("Tests of rolesanywhere", at=datetime.now(UTC)), kept)
    pem = kept.read_bytes()
    key = load_pem_private_key(pem, password=None)
    return Authority(key, x509.load_pem_x509_certificate(pem))  # type: ignore[arg-type]  # as it was made


def _keep(made: Authority, kept: Path) -> None:
    fresh = kept.with_suffix(f".{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_bytes(made.certificate_pem + made.key_pem())
    try:
        os.link(fresh, kept)
    except FileExistsError:  # Another run was faster.
        pass
    finally:
        fresh.unlink()
