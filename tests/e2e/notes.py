"""What a run measured and nobody promises: lines for its end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Notes(list[str]):
    """The lines; and the stages on the way from nothing to a pod with credentials, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Remember how long the block took, as one of the stages."""
        started = time.monotonic()
        yield
        self._stages[what] = time.monotonic() - started

    def sum_up(self, what: str) -> None:
        """Note each stage, and ``what`` all of them are together."""
        stages = {**self._stages, what: sum(self._stages.values())}
        self.extend(f"{taken:6.1f} s  {stage}" for stage, taken in stages.items())
