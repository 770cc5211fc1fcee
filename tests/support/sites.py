"""A site of the operator on a loopback port, and a real HTTP client that calls it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession

from rolesanywhere_operator.listeners import listening
from rolesanywhere_operator.ports.messages import Site


@asynccontextmanager
async def called(site: Site) -> AsyncIterator[ClientSession]:
    """A client whose paths are those of ``site``, for the length of the block."""
    async with (
        listening(site, name="test", address="127.0.0.1", port=0) as port,
        ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client
