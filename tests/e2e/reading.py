"""Guides followed to the letter: their blocks of shell, in order, in a cluster.

What cannot be had here is stood in for by programs that come first on the PATH. No block is
changed, and none is left out that the reader would not leave out.
"""

import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.harness.cluster import Cluster
from tests.support.guides import Block

TIMEOUT_SECONDS: Final = 600
SAID: Final = 4000


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody with a shell in ``folder``, whose ``programs`` win over the machine's."""

    cluster: Cluster
    folder: Path
    programs: Path
    environment: dict[str, str]

    def follow(self, blocks: Collection[Block]) -> str:
        """Run ``blocks`` in one shell, which ends at the first failure; what they say.

        Raises `AssertionError` with the end of it.
        """
        done = subprocess.run(
            [*self.cluster.sandbox.entering(), "bash", "-eu", "-c",
             "\n".join(block.shell for block in blocks)],
            cwd=self.folder,
            env={
                **self.cluster.kubectl.environment(), **self.environment,
                "PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin",
            },
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-SAID:]
        return done.stdout
