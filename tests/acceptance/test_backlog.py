"""More come than are served: those who have gone cost nothing, and the others come back later."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

from tests.support.gateway import SHORT, Gateway, running, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import Upgrade, client, http_get, upgrade
from tests.support.scale import scaled

HANDSHAKE = (
    b"GET /?user_id=gone HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)


async def test_who_left_in_the_queue_is_not_served(gateway: Gateway) -> None:
    """While the process stood still clients came and lost their patience, and one did not."""
    count = scaled(500, 50)
    gateway.signal(signal.SIGSTOP)
    try:
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", gateway.client_port)) as impatient:
                impatient.sendall(HANDSHAKE)
        stays = asyncio.ensure_future(client(gateway, "stays"))
        await asyncio.sleep(1)
    finally:
        gateway.signal(signal.SIGCONT)
    peer = await stays
    wait_for(lambda: gateway.turned_away("gone") == count, "those who left to be counted")
    await peer.close()
    wait_for(lambda: gateway.rows("disconnected_at is not null"), "the row of the one who stayed")
    assert [row["user"] for row in gateway.rows()] == ["stays"]


LATE = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.late_settings"}


async def test_who_came_while_the_process_stood_still_is_served(tmp_path: Path) -> None:
    """Each has waited longer than is long; but that was once, and not for most of a span."""
    longer = LATE | {"LATE_LONG": "0.2", "LATE_SPAN": "60"}
    with running(tmp_path / "data", **SHORT | longer) as gateway:
        gateway.signal(signal.SIGSTOP)
        try:
            waiting = [asyncio.ensure_future(client(gateway, f"u{n}")) for n in range(20)]
            await asyncio.sleep(1)
        finally:
            gateway.signal(signal.SIGCONT)
        for peer in await asyncio.gather(*waiting):
            await peer.close()
        assert gateway.turned_away("late") == 0


async def test_whoever_waited_long_comes_back_later(tmp_path: Path) -> None:
    """Here after a first span of long waits; any header that is unusual goes by another way."""
    longer = LATE | {"LATE_LONG": "0.2", "LATE_SPAN": "0.5"}
    with running(tmp_path / "data", **SHORT | longer) as gateway:

        async def handshakes(*headers: str) -> list[Upgrade]:
            gateway.signal(signal.SIGSTOP)
            try:
                work = [
                    asyncio.to_thread(upgrade, gateway.client_port, "/?user_id=u", header=header)
                    for header in headers
                ]
                answers = asyncio.gather(*work)
                await asyncio.sleep(0.6)
            finally:
                gateway.signal(signal.SIGCONT)
            return await answers

        assert [one.status for one in await handshakes("", "", "")] == [101] * 3
        late = 0
        async with asyncio.timeout(PATIENCE):
            while True:  # again where this process stood still, so that a span had no end in time
                answers = await handshakes("", "X-Unusual: \t")
                sent_away = [one for one in answers if one.status != 101]
                late += len(sent_away)
                for one in sent_away:
                    assert (one.status, one.headers.get("retry-after")) == (503, "5")
                if len(sent_away) == 2:
                    break
        wait_for(lambda: gateway.turned_away("late") == late, "all of them to be counted")
        assert "the request waited for too long" in gateway.log()
        assert http_get(gateway.client_port, "/healthz")[0] == 200
        await handshakes("")  # the span goes on
        with socket.create_connection(("127.0.0.1", gateway.client_port), timeout=10) as patient:
            gateway.signal(signal.SIGSTOP)
            patient.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + HANDSHAKE)
            await asyncio.sleep(0.6)
            gateway.signal(signal.SIGCONT)
            found = b""
            while b"HTTP/1.1 101 " not in found and (data := patient.recv(4096)):
                found += data
        assert b"HTTP/1.1 101 " in found, "it waited for the answer before, in no queue"
