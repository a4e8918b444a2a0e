"""What a socket had is free when it is gone, without the garbage collector.

What waits for that one may wait for hours: it looks at the oldest objects when there are a quarter
more than last time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sockets.base.ids import new_id
from tests.support.gateway import SHORT, Gateway, running, uvicorn, wait_for
from tests.support.peers import Peer, RawClient, client_at, upgrade, worker_at

OF_A_SOCKET = {
    "BoundChannel",
    "BoundWebSocket",
    "ClientConsumer",
    "Connection",
    "FrameOutbox",
    "GatewayRequest",
    "Inbound",
    "InboundQueue",
    "LocalSession",
    "Outbound",
    "PumpOutbox",
    "Room",
    "SessionInfo",
    "Tap",
    "Upgrade",
    "WorkerConsumer",
    "_Verdict",
}
SITE = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.garbage_settings"}


@pytest.fixture(params=["memory", "redis", "uvicorn"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway without a garbage collector."""
    more: dict[str, Any] = SHORT | SITE
    if request.param == "redis":
        more |= {"REDIS_URL": request.getfixturevalue("redis").url}
    start = uvicorn if request.param == "uvicorn" else running
    with start(tmp_path / "data", **more) as gateway:
        yield gateway


def garbage(gateway: Gateway) -> dict[str, int]:
    """Return how many objects of each class only a collector would free, since the last time."""
    answer = gateway.data_dir / "garbage"
    answer.unlink(missing_ok=True)
    (gateway.data_dir / "ask").touch()
    wait_for(answer.exists, "the garbage to be counted")
    found: dict[str, int] = json.loads(answer.read_text())
    return found


async def _come_and_go(gateway: Gateway) -> None:
    port, worker_port = gateway.client_port, gateway.worker_port
    to_client, to_worker = ("/ws/client/", "/ws/worker/") if port == worker_port else ("/", "/")

    async def client(user: str, id: str) -> Peer:
        query = f"user_id={user}&client_id={id}"
        return await client_at(f"ws://127.0.0.1:{port}{to_client}?{query}")

    sender = await worker_at(f"ws://127.0.0.1:{worker_port}{to_worker}")
    for number in range(3):
        one, two = new_id(), new_id()
        peers = [await client(f"user-{number}", id) for id in (one, two)]
        await sender.ask(type="notify", user=f"user-{number}", event="n", data=1)
        await peers[0].close()
        newer = await client(f"user-{number}", two)
        await peers[1].closed()
        await newer.close()
        with RawClient(port, f"{to_client}?user_id=user-{number}") as cut:
            cut.read_frame()  # and no word of its going
        for path, header in (
            ("/unknown", ""),
            (to_client, "X-Unusual: \t"),
            (to_client, "Origin: x"),
        ):
            upgrade(port, f"{path}?user_id=user-{number}", header=header)
    await sender.close()
    wait_for(lambda: not gateway.rows("disconnected_at is null"), "all to be gone")


async def test_sockets_that_are_gone_are_no_garbage(place: Gateway) -> None:
    await _come_and_go(place)
    garbage(place)  # what a first time leaves
    await _come_and_go(place)
    found = garbage(place)
    assert not {name: found[name] for name in found.keys() & OF_A_SOCKET}, found
