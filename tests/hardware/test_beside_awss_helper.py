"""Known weaknesses of AWS's helper with keys in tokens, seen, and ours beside it.

``docs/from-aws-signing-helper.md`` names these tests. One that fails after an update of the helper
may be good news: then the page has to say so.
"""

import asyncio
import base64
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.bench import tokens
from tests.bench.tokens import Contender, Cost
from tests.fakes import aws_helper
from tests.fakes.aws import utc_now
from tests.fakes.pki import Authority
from tests.fakes.recorded import essence
from tests.fakes.wire import WireRequest
from tests.fakes.world import TRUST_ANCHOR_ARN, TrustAnchor
from tests.hardware import workbench
from tests.hardware.faults import FaultModule
from tests.hardware.scenes import Scene, a_scene, serving
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tokens import certified
from tests.support.commands import Outcome, finished
from tests.support.ports import free_port
from tests.support.tools import build_or_skip

WRONG = "wrong-pin-5150"


@pytest.fixture(scope="module")
def helper() -> Contender:
    return tokens.the_helper(build_or_skip(aws_helper.find_or_build), "aws_signing_helper")


async def theirs(helper: Contender, scene: Scene, **instead: str) -> Outcome:
    """The helper's ``credential-process``, with other words after some of its flags."""
    words = [str(word) for word in helper.credential_process(scene)]
    for flag, word in instead.items():
        words[words.index(f"--{flag.replace('_', '-')}") + 1] = word
    return await finished(*words, env=helper.env(scene))


async def ours(scene: Scene, **settings: str) -> Outcome:
    env = scene.env("p256", **settings)
    if settings:
        del env["ROLESANYWHERE_PRIVATE_KEY"]
    return await scene.run("credential-process", **env)


async def test_a_renewal_costs_the_helper_two_signatures_and_a_login(
    helper: Contender, faulty: FaultModule, folder: Path
) -> None:
    here, there = folder / "ours", folder / "theirs"
    here.mkdir()
    there.mkdir()
    their_cost = await tokens.renewals_of_helper(helper, faulty, there, count=3)
    assert (their_cost.signatures >= 2, their_cost.logins >= 1) == (True, True)
    our_cost = await tokens.our_renewals(faulty, here, count=3)
    assert (our_cost.signatures, our_cost.logins) == (1, 0)


async def test_a_first_session_costs_the_helper_more_signatures_and_logins(
    helper: Contender, faulty: FaultModule, folder: Path
) -> None:
    async with a_scene(faulty.token, folder) as scene:
        assert (await theirs(helper, scene)).status == 0
        their_cost = Cost.of(faulty.calls(), scene.granted())
        faulty.forget()
        assert (await ours(scene)).status == 0
        assert cost(faulty) == (1, 1)
        faulty.forget()
        async with serving(scene):
            assert cost(faulty) == (1, 1)
    assert their_cost.signatures >= 2
    assert their_cost.logins >= 2


def cost(faulty: FaultModule) -> tuple[float, float]:
    """The signatures and the logins of one session."""
    found = Cost.of(faulty.calls(), sessions=1)
    return found.signatures, found.logins


async def test_a_wrong_pin_is_tried_at_each_run_by_the_helper_alone(
    helper: Contender, faulty: FaultModule, folder: Path
) -> None:
    async with a_scene(faulty.token, folder, pin=WRONG) as scene:
        key = f"{faulty.token.uri('p256')}?pin-value={WRONG}"
        for _ in range(3):
            assert (await theirs(helper, scene, private_key=key)).status != 0
        tried = len(faulty.calls("C_Login"))
        assert tried >= 3
        for _ in range(3):
            assert (await ours(scene)).status != 0
        assert len(faulty.calls("C_Login")) == tried + 1


async def test_slot_0_is_any_slot_to_the_helper(
    helper: Contender, hsm: SoftHsm, folder: Path
) -> None:
    async with a_scene(hsm.token, folder) as scene:
        elsewhere = f"{hsm.token.uri('p256')};slot-id=0"
        done = await theirs(
            helper, scene, certificate=elsewhere,
            private_key=f"{elsewhere}?pin-value={hsm.token.pin}",
        )  # fmt: skip
        assert done.status == 0, done.errors
        refused = await ours(scene, certificate=elsewhere)
    assert refused.status != 0
    assert "NoSuchToken" in refused.errors


async def test_a_pin_in_a_file_is_read_by_ours_alone(
    helper: Contender, hsm: SoftHsm, folder: Path
) -> None:
    async with a_scene(hsm.token, folder) as scene:
        uri = f"{hsm.token.uri('p256')}?pin-source=file:{scene.pin_file}"
        assert (await theirs(helper, scene, private_key=uri)).status != 0
        assert (await ours(scene, certificate=uri)).status == 0


async def test_a_chain_in_a_token_is_sent_wrongly_by_the_helper(
    helper: Contender, hsm: SoftHsm, folder: Path
) -> None:
    root = Authority.root(at=utc_now())
    between = root.intermediate("Between", at=utc_now())
    key = hsm.token.keys["p256"]
    public = key.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    leaf = certified(between, public).public_bytes(Encoding.DER)
    hsm.do(
        workbench.destroy("CERTIFICATE", "p256"),
        workbench.certify(root.der, "root", b"\xa0"),
        workbench.certify(between.der, "between", b"\xa1"),
        workbench.certify(leaf, "p256", key.id),
    )
    async with a_scene(hsm.token, folder) as scene:
        scene.aws.account.world = replace(
            scene.aws.account.world,
            trust_anchors={TRUST_ANCHOR_ARN: TrustAnchor((root.certificate,))},
        )
        await theirs(helper, scene)
        assert (await ours(scene)).status == 0
        [them, us] = [chain(one.request) for one in scene.requests()]
    assert us == [between.der]
    assert them != us
    assert leaf in them or root.der in them


def chain(request: WireRequest) -> list[bytes]:
    """The certificates of its header, DER."""
    sent = essence(request)["headers"].get("x-amz-x509-chain", "")
    return [base64.b64decode(one) for one in sent.split(",") if one]


async def test_callers_at_once_end_the_helper(
    helper: Contender, hsm: SoftHsm, folder: Path
) -> None:
    """Each renews a session that ends soon, and the second login is an end of the process."""
    port = free_port()
    async with a_scene(hsm.token, folder, life=590) as scene:
        words = [*helper.arguments(scene), "--port", str(port)]
        env = dict(hsm.token.env)
        program = Path(helper.program[0])
        async with (
            aws_helper.running(program, "serve", *words, **env) as process,
            aiohttp.ClientSession() as client,
        ):
            token = await asking(client, port)
            for _ in range(20):
                await asyncio.gather(
                    *(ask(client, port, token) for _ in range(16)), return_exceptions=True
                )
                if process.returncode is not None:
                    break
            assert await asyncio.wait_for(process.wait(), 10) == 1


async def asking(client: aiohttp.ClientSession, port: int) -> str:
    """A token of IMDSv2, as soon as somebody gives one."""
    for _ in range(500):
        try:
            headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
            url = f"http://127.0.0.1:{port}/latest/api/token"
            async with client.put(url, headers=headers) as answer:
                return await answer.text()
        except aiohttp.ClientError:
            await asyncio.sleep(0.02)
    raise AssertionError("nobody listens")


async def ask(client: aiohttp.ClientSession, port: int, token: str) -> None:
    url = f"http://127.0.0.1:{port}/latest/meta-data/iam/security-credentials/reports"
    async with client.get(url, headers={"X-aws-ec2-metadata-token": token}) as answer:
        await answer.read()
