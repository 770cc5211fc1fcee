"""Everything that tests build or install, before they run: ``python -m tests.toolbox [TIER ...]``.

So a first run shows what it waits for. What cannot be had is said and left to the tests that
need it: they skip with the reason, or fail under ``CI=true``; what cannot be built fails anywhere.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tests.bench import measures
from tests.cluster import binaries
from tests.e2e import cert_manager, teams, tpms
from tests.e2e.harness import images
from tests.e2e.harness.building import BuildFailed
from tests.e2e.harness.cluster import Programs
from tests.fakes import aws_helper
from tests.hardware import packages
from tests.support import clients, node, prometheus
from tests.support.tools import ToolMissing

BUILDS: Final[tuple[Callable[[], object], ...]] = (
    packages.install,
    aws_helper.find_or_build,
    clients.go,
    node.install,
    measures.load_generator,
    prometheus.promtool,
    prometheus.evaluator,
    binaries.find_or_build_helm,
    binaries.find_or_build,
)
# What only the tier of this name takes.
BUILDS_OF: Final[Mapping[str, Sequence[Callable[[], object]]]] = {
    "e2e": (
        Programs.find_or_build,
        images.build_all,
        teams.build_app,
        cert_manager.find_or_build,
        tpms.prepare,
    ),
}


def main(tiers: Sequence[str]) -> None:
    """Build what is not there yet for ``tiers``."""
    more = [build for tier in tiers for build in BUILDS_OF.get(tier, ())]
    for build in (*BUILDS, *more):
        try:
            build()
        except (ToolMissing, BuildFailed) as missing:
            print(missing, file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
