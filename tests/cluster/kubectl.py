"""kubectl against one test cluster, whatever the developer's own kubectl is set up for."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# Longer than what any of our calls waits for itself, which says better what did not come.
TIMEOUT_SECONDS: Final = 120.0
# For a call that waits. Two clusters and two tiers of tests may share two cores.
PATIENCE: Final = "--timeout=90s"


class KubectlFailed(Exception):
    """kubectl ended with an error; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """A runner. It blocks: where the same event loop serves a webhook, call it in a thread.

    ``entering`` is a command that leads into the network of the cluster, where that is another.
    """

    binary: Path
    kubeconfig: Path
    cache: Path
    entering: Sequence[str] = ()

    def __call__(self, *args: str, input: str | None = None, as_: str | None = None) -> str:  # noqa: A002 - subprocess's own word
        """The output of ``kubectl ARGS``, as the user ``as_`` (impersonated) if given.

        Raises ``KubectlFailed`` on any exit code but 0.
        """
        who = [] if as_ is None else [f"--as={as_}"]
        done = subprocess.run(
            [*self.entering, self.binary, *args, *who],
            input=input or "",
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        if done.returncode != 0:
            raise KubectlFailed(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *args: str, as_: str | None = None) -> Any:
        """``kubectl get ARGS`` as parsed JSON."""
        return json.loads(self("get", *args, "--output=json", as_=as_))

    def environment(self) -> dict[str, str]:
        """Nothing of the caller's: neither a kuberc nor a proxy may change what a test sees."""
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.cache),
            "KUBERC": "off",
            "HOME": str(self.cache),
        }
