"""The pretended services as a process, for people who want to try the sidecar by hand.

It writes an identity to a folder, prints the sidecar's settings for it, and serves until it is
told to stop. It tells of each request on stderr, and never of a secret.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority, Identity
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes.aws",
        description="Serve a pretended IAM Roles Anywhere and STS on loopback, with an identity "
        "to ask them with. Prints settings to be sourced by a shell; stops on Ctrl-C.",
    )
    parser.add_argument("folder", type=Path, help="where to write tls.crt, tls.key and chain.pem")
    parser.add_argument("--https", action="store_true", help="serve HTTPS, with a CA file")
    parser.add_argument(
        "--kind",
        choices=["rsa-2048", "rsa-3072", "p256", "p384", "p521"],
        default="p256",
        help="the workload's key (default: %(default)s)",
    )
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(chosen))


async def _serve(chosen: argparse.Namespace) -> None:
    root = Authority.root(at=utc_now())
    identity = root.intermediate(at=utc_now()).leaf(at=utc_now(), kind=chosen.kind)
    write(identity, chosen.folder)
    tls_folder = chosen.folder if chosen.https else None
    async with FakeAWS.start(small_world(root.certificate), tls_folder=tls_folder) as aws:
        for name, value in _settings(aws, chosen.folder).items():
            print(f"export {name}={value}", flush=True)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await _tell(aws, stop)


async def _tell(aws: FakeAWS, stop: asyncio.Event) -> None:
    """A line for each request, until ``stop``."""
    told = 0
    while True:
        stopping = stop.is_set()
        for each in aws.requests[told:]:
            print(f"{each.service}: {each.verdict} {each.detail}".rstrip(), file=sys.stderr)
            told += 1
        if stopping:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=0.2)


def write(identity: Identity, folder: Path) -> None:
    """``tls.key`` (for its owner alone), ``tls.crt`` and ``chain.pem``."""
    key = folder / "tls.key"
    key.touch(mode=0o600)
    key.write_bytes(identity.key_pem())
    (folder / "tls.crt").write_bytes(identity.certificate_pem)
    (folder / "chain.pem").write_bytes(identity.chain_pem)


def _settings(aws: FakeAWS, folder: Path) -> Mapping[str, str]:
    given = {
        "ROLESANYWHERE_ENDPOINT": aws.rolesanywhere_url,
        "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
        "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
        "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
        "ROLESANYWHERE_CERTIFICATE": f"{folder.resolve()}/tls.crt",
        "ROLESANYWHERE_PRIVATE_KEY": f"{folder.resolve()}/tls.key",
        "ROLESANYWHERE_INTERMEDIATES": f"{folder.resolve()}/chain.pem",
        "AWS_ENDPOINT_URL_STS": aws.sts_url,
    }
    ca = {"ROLESANYWHERE_CA_BUNDLE": str(aws.ca_file.resolve())} if aws.ca_file else {}
    return {**given, **ca}
