"""The operator's programs as processes of their own, told everything by their environment.

Each is killed at the end of its block at the latest, and its log stays.
"""

import http.client
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# A machine that builds meanwhile lets nobody run for seconds.
ANSWER_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """A running webhook or controller."""

    popen: subprocess.Popen[bytes]
    log: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What it logged of ``event``; a line that it is just writing counts as not there."""
        whole, _, _ = self.log.read_text(errors="replace").rpartition("\n")
        said = [json.loads(line) for line in whole.splitlines()]
        return [line for line in said if line.get("event") == event]

    def port(self, name: str) -> int:
        """The port called ``name``, 0 while it is not open."""
        opened = [line["port"] for line in self.lines("listening") if line["name_of_port"] == name]
        return int(opened[0]) if opened else 0

    def probe(self, path: str = "/readyz", *, within: float = ANSWER_SECONDS) -> tuple[int, str]:
        """Status and text of a probe; 0 when nobody answers, or not to the end."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            url = f"http://127.0.0.1:{self.port('probes')}{path}"
            with closing(opener.open(url, timeout=within)) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""

    @property
    def is_ready(self) -> bool:
        """Whether it says so."""
        return self.probe()[0] == 200


@contextmanager
def running(
    program: str, *, kubeconfig: Path, log: Path, settings: Mapping[str, object]
) -> Iterator[Program]:
    """``rolesanywhere-operator PROGRAM`` on loopback and free ports, for the length of the block.

    ``settings`` are named as in the environment, without prefix and in lower case.
    """
    told = {"address": "127.0.0.1", "probe_port": 0, **settings}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(log.parent),
        "KUBECONFIG": str(kubeconfig),
        **{f"ROLESANYWHERE_OPERATOR_{name.upper()}": str(told[name]) for name in told},
    }
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", "rolesanywhere_operator", program],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Program(popen, log)
    finally:
        popen.kill()
        popen.wait()
