"""Limits with real sockets: whoever goes beyond them is told, and hurts nobody else."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import SHORT
from tests.acceptance.gateway import running
from tests.acceptance.peers import client, http_get, worker

LIMITS = SHORT | {
    "CLIENT_RATE": "20",
    "CLIENT_BURST": "10",
    "WORKER_RATE": "1000",
    "WORKER_BURST": "2000",
}


async def test_a_flood_is_told_then_ended_and_others_are_served(tmp_path: Path) -> None:
    with running(tmp_path / "data", **LIMITS) as gateway:
        flood, quiet, helper = (
            await client(gateway, "flood"),
            await client(gateway, "quiet"),
            await worker(gateway),
        )
        for number in range(40):
            await flood.send(type="sessions", ref=number)
        answers = [await flood.receive() for _ in range(40)]
        refused = [answer for answer in answers if not answer["ok"]]
        assert [answer["ref"] for answer in answers] == list(range(40)), "each by its own ref"
        assert {answer["error"]["code"] for answer in refused} == {"rate_limited"}
        assert len(refused) >= 20 and "wait" in refused[0]["error"]["message"]
        for number in range(300):
            await flood.send(type="sessions", ref=number)
        assert (await flood.closed())[0] == 4506
        # The worker has a limit of its own, the quiet client has not noticed.
        for _ in range(300):
            assert (await helper.ask(type="notify", user="quiet", event="e"))["ok"]
        assert (await quiet.receive())["offset"] == 1
        assert (await quiet.ask(type="sessions"))["ok"]
        metrics = http_get(gateway.worker_port, "/metrics")[1].decode()
        assert 'gateway_rate_limited_total{kind="client"}' in metrics
        assert 'gateway_rate_limited_total{kind="worker"} 0.0' in metrics
        assert 'gateway_disconnects_total{code="4506",kind="client"} 1.0' in metrics
    assert "Traceback" not in gateway.log()
