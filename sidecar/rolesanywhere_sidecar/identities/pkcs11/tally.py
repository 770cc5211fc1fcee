"""What is counted of keys in tokens, for Prometheus to read.

No label takes its values from outside: codes are ours.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from rolesanywhere_contract.exposition import Family, Histogram, Sample, gauge

# Upper bounds, in seconds: a software token takes a millisecond, a TPM up to a second.
BUCKETS: Final = (0.001, 0.0025, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Tally:
    """Hears what becomes of signatures, logins and child processes."""

    def __init__(self) -> None:
        self._signatures: Counter[str] = Counter({"": 0})
        self._seconds = Histogram(BUCKETS)
        self._restarts = 0
        self.pin_latched = False

    def signed(self, seconds: float) -> None:
        """The token signed, and the certificate verifies it."""
        self._signatures[""] += 1
        self._seconds.observe(seconds)

    def failed(self, code: str) -> None:
        """There was no signature, for the reason ``code``."""
        self._signatures[code] += 1

    def restarted(self) -> None:
        """One more child process took the place of another."""
        self._restarts += 1

    def families(self) -> Iterator[Family]:
        """Everything as it is now."""
        yield Family(
            "rolesanywhere_pkcs11_signatures_total",
            "counter",
            "Signatures asked of a token, by outcome, and by code where there was none.",
            tuple(
                Sample(count, {"outcome": "failure" if code else "success", "code": code})
                for code, count in sorted(self._signatures.items())
            ),
        )
        yield Family(
            "rolesanywhere_pkcs11_sign_duration_seconds",
            "histogram",
            "How long a token took to sign, with whatever had to be mended before.",
            tuple(self._seconds.samples()),
        )
        yield Family(
            "rolesanywhere_pkcs11_child_restarts_total",
            "counter",
            "How often the process that holds the PKCS#11 module was replaced.",
            (Sample(self._restarts),),
        )
        yield gauge(
            "rolesanywhere_pkcs11_pin_latched",
            "1 while the PIN is not tried because of what the token said of it before, else 0.",
            self.pin_latched,
        )
