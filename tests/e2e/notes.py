"""What a run measured and nobody promises: lines for its end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Notes(list[str]):
    """The lines; and the stages on the way from nothing to a pod with credentials, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[float] = []

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Note how long the block took, as one of the stages."""
        started = time.monotonic()
        yield
        self.stages.append(time.monotonic() - started)
        self.seconds(self.stages[-1], what)

    def seconds(self, taken: float, what: str) -> None:
        """Note what took so long."""
        self.append(f"{taken:6.1f} s  {what}")
