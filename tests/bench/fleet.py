"""``make simulate-fleet``: how fleets of sidecars start together, in virtual time, as a table.

Ten thousand by what decides (`pacing`, `turns`), a thousand by real brokers as the proof that it is
the same story. Never waits for anything: a quarter of an hour takes a second.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tests.support.fleets import QUOTA, Story, apart, lived, simulated, turns_for

SIZES: Final = (1, 10, 100, 1_000, 10_000)
PROVEN: Final = 1_000
SEED: Final = 1

HEADER: Final = """\
| sidecars | turns | calls each | most calls | 50 % ready | 95 % ready | all ready | at best |
|---:|---|---:|---:|---:|---:|---:|---:|"""


def row(story: Story, *, turns: str) -> str:
    """One fleet's line of the table; the last column is what the quota allows at best."""
    best = max(0.0, (story.sidecars - QUOTA) / QUOTA)
    shares = " | ".join(f"{story.ready(share):,.1f} s" for share in (0.5, 0.95, 1.0))
    return (
        f"| {story.sidecars:,} | {turns} | {story.calls_each:.2f} | {story.most_calls}"
        f" | {shares} | {best:,.1f} s |"
    )


def main() -> None:
    """Print the table and the proof."""
    # Thousands of failures are what is simulated here.
    logging.disable(logging.CRITICAL)
    print(HEADER)
    for sidecars in SIZES:
        print(row(simulated(sidecars, turns_for(sidecars, seed=SEED)), turns="yes"))
    for sidecars in SIZES:
        print(row(simulated(sidecars, [None] * sidecars), turns="no"))
    for name, turns in (("yes", turns_for(PROVEN, seed=SEED)), ("no", [None] * PROVEN)):
        print(f"\nThe same with {PROVEN:,} real brokers, turns: {name}: {_proof(turns)}")


def _proof(turns: Sequence[datetime | None]) -> str:
    told, seen = simulated(PROVEN, turns), asyncio.run(lived(PROVEN, turns))
    seconds = apart(told, seen)
    if seconds is None:
        raise SystemExit("real brokers tell ANOTHER story: the table above means nothing")
    return f"the same {len(seen.calls):,} calls, at most {seconds * 1000:.3f} ms apart"


if __name__ == "__main__":
    main()
