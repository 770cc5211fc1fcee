"""Commands that say something and end, run to their end."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left: its exit status, and what it printed; that may hold secrets."""

    status: int
    output: str = field(repr=False)
    errors: str

    def document(self) -> dict[str, Any]:
        """The JSON that a successful command printed; a test fails on any other."""
        assert self.status == 0, self.errors
        found: dict[str, Any] = json.loads(self.output)
        return found


async def finished(*command: str | Path, env: Mapping[str, str], told: str = "") -> Outcome:
    """Run ``command`` with nothing but ``env`` and ``told`` on its stdin; killed when it hangs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        talk = process.communicate(told.encode())
        output, errors = await asyncio.wait_for(talk, timeout=PATIENCE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Outcome(process.returncode or 0, output.decode(), errors.decode())
