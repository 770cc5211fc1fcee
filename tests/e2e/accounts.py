"""AWS as somebody meets it who begins: an account with nothing in it, under AWS's own names.

What is made there counts at once for the services that hand out sessions, which verify.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from tests.e2e.aws import listener
from tests.e2e.background import in_background
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster
from tests.e2e.harness.configuration import NETWORK, Files
from tests.fakes.administration import Administration
from tests.fakes.aws import FakeAWS
from tests.fakes.sessions import Issued
from tests.fakes.world import REGION, World

# Where in a cluster's network the services are that have names of their own.
SERVICES: Final = {
    f"rolesanywhere.{REGION}.amazonaws.com": "198.51.100.21",
    f"sts.{REGION}.amazonaws.com": "198.51.100.22",
    f"s3.{REGION}.amazonaws.com": "198.51.100.23",
}
HTTPS: Final = 443


@dataclass(frozen=True, slots=True)
class Beginning:
    """``administration`` makes what ``aws`` commands ask for at ``url``."""

    administration: Administration
    url: str

    @property
    def sessions(self) -> list[Issued]:
        """Every session granted so far, oldest first."""
        return self.administration.account.sessions

    def shorten_sessions(self, seconds: int) -> None:
        """Have every profile that was made grant no longer ones."""
        account = self.administration.account
        profiles = {
            arn: replace(profile, duration_seconds=seconds)
            for arn, profile in account.world.profiles.items()
        }
        account.world = replace(account.world, profiles=profiles)


@contextmanager
def beginning(cluster: Cluster) -> Iterator[Beginning]:
    """One for the length of the block; pods find its services by their names."""
    for address in SERVICES.values():
        cluster.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    lines = [f"{address} {name}\n" for name, address in SERVICES.items()]
    Files(cluster.folder).names.write_text("".join(lines))
    with in_background(_served(cluster)) as made:
        yield made


@asynccontextmanager
async def _served(cluster: Cluster) -> AsyncIterator[Beginning]:
    addresses = iter(SERVICES.values())
    folder = cluster.folder / "aws"
    folder.mkdir()
    async with FakeAWS.start(
        World(), tls_folder=folder, authority=images.trusted(), names=SERVICES,
        listen=lambda: listener(cluster, next(addresses), HTTPS),
    ) as services:  # fmt: skip
        made = Administration(services.account)
        own = listener(cluster)
        runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=1)
        await runner.setup()
        try:
            await web.SockSite(runner, own).start()
            yield Beginning(made, f"http://{NETWORK.address}:{own.getsockname()[1]}")
        finally:
            await runner.cleanup()
