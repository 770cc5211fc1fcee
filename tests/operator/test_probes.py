"""What the kubelet is told of the operator's programs."""

import logging

import pytest
from aiohttp import ClientSession

from rolesanywhere_operator.listeners import listening
from rolesanywhere_operator.probes import prober
from tests.support.sites import called


async def test_not_ready_says_why() -> None:
    problem: list[str] = ["no certificate"]
    site = prober(lambda: problem[0] if problem else None)
    async with called(site) as client:
        async with client.get("/livez") as answer:
            assert answer.status == 200
        async with client.get("/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "no certificate\n")
        problem.clear()
        async with client.get("/readyz") as answer:
            assert answer.status == 200


async def test_what_only_a_new_start_mends_is_said_on_the_liveness_path_alone() -> None:
    ailments: list[str] = ["no watch was begun"]
    site = prober(lambda: None, ailment=lambda: ailments[0] if ailments else None)
    async with called(site) as client:
        async with client.get("/livez") as answer:
            assert (answer.status, await answer.text()) == (503, "no watch was begun\n")
        async with client.get("/readyz") as answer:
            assert answer.status == 200
        ailments.clear()
        async with client.get("/livez") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_an_open_port_is_said_by_its_name_and_closed_in_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    probes = listening(prober(lambda: None), name="probes", address="127.0.0.1", port=0)
    with caplog.at_level(logging.INFO):
        async with probes:
            [said] = [vars(one) for one in caplog.records if one.getMessage() == "listening"]
            assert said["name_of_port"] == "probes"
            url = f"http://127.0.0.1:{said['port']}/livez"
            async with ClientSession() as client, client.get(url) as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
    async with ClientSession() as client:
        with pytest.raises(OSError, match="Cannot connect"):
            await client.get(url)
