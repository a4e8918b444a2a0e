"""Limits with real sockets: whoever goes beyond them is told, and hurts nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.acceptance.conftest import SHORT
from tests.acceptance.gateway import API_KEY, Gateway, running
from tests.acceptance.peers import client, client_at, http_get, refused, worker

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


async def address_of(gateway: Gateway, *forwarded: str) -> str:
    """What presence shows of a client that says this of itself."""
    headers = [("X-Forwarded-For", value) for value in forwarded]
    headers += [("X-Real-IP", "6.6.6.6"), ("Forwarded", "for=6.6.6.6")]
    peer = await client_at(gateway.client_url(user_id="42"), additional_headers=headers)
    key = {"Authorization": f"Bearer {API_KEY}"}
    base = f"http://127.0.0.1:{gateway.worker_port}/api/v1"
    async with httpx.AsyncClient(base_url=base, headers=key) as http:
        (session,) = (await http.get("/users/42")).json()["sessions"]
    await peer.close()
    await asyncio.sleep(0.1)
    return str(session["address"])


async def test_forwarding_headers_are_believed_of_proxies_only(tmp_path: Path) -> None:
    with running(tmp_path / "none", **SHORT) as gateway:
        assert (await address_of(gateway, "1.2.3.4")).startswith("127.0.0.1:")
    trusting = SHORT | {"TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8"}
    with running(tmp_path / "some", **trusting) as gateway:
        assert await address_of(gateway, "6.6.6.6, 1.2.3.4, 10.0.0.7") == "1.2.3.4"
        assert await address_of(gateway, "6.6.6.6", "1.2.3.4") == "1.2.3.4"
        assert (await address_of(gateway, "nonsense")).startswith("127.0.0.1:")
        bad = {"Authorization": "Bearer x", "X-Forwarded-For": "1.2.3.9"}
        await refused(gateway.client_url(), additional_headers=bad)
        assert "'address': '1.2.3.9'" in gateway.log()
