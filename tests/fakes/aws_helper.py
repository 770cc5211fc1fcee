"""AWS's own credential helper (``aws_signing_helper``), built from its Go module as a witness."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.fakes.pki import Identity, KeyForm
from tests.support.commands import Outcome, finished
from tests.support.gotools import build

PACKAGE: Final = "github.com/aws/rolesanywhere-credential-helper"

# Nothing of this machine's: no profile, no metadata service, no proxy.
ENVIRONMENT: Final = {
    "HOME": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "*",
}


def find_or_build() -> Path:
    """The helper of the version pinned for tests. Raises ``ToolMissing``."""
    return build("aws-helper", PACKAGE, cgo=True)


async def run(helper: Path, *arguments: str) -> Outcome:
    """One run to its end."""
    return await finished(helper, *arguments, env=ENVIRONMENT)


@asynccontextmanager
async def running(
    helper: Path, *arguments: str, **env: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The helper until the block ends; what it prints may hold tokens and is dropped."""
    process = await asyncio.create_subprocess_exec(
        helper,
        *arguments,
        env={**ENVIRONMENT, **env},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def identity_flags(identity: Identity, folder: Path, form: KeyForm = "pkcs8") -> list[str]:
    """The flags for ``identity``, which is written to ``folder``.

    The helper takes a chain only from a file of its own.
    """
    (folder / "tls.crt").write_bytes(identity.certificate_pem)
    (folder / "tls.key").write_bytes(identity.key_pem(form))
    flags = ["--certificate", f"{folder}/tls.crt", "--private-key", f"{folder}/tls.key"]
    if identity.chain:
        (folder / "chain.pem").write_bytes(identity.chain_pem)
        flags += ["--intermediates", f"{folder}/chain.pem"]
    return flags
