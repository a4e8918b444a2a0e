"""Several processes of another ASGI server, all with the same settings."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

from tests.acceptance.place import LEASE, RENEW, Place, place
from tests.support.gateway import SHORT, Gateway
from tests.support.peers import client_at
from tests.support.valkey import Server

NAMES = ["web", "web~2", "web~3"]


async def pids(here: Place) -> dict[str, int]:
    return {info.name: info.pid for info in await here.registry.all()}


async def test_uvicorns_workers_have_names_of_their_own(tmp_path: Path, redis: Server) -> None:
    async with place(tmp_path, redis, **SHORT) as here:
        settings = here.environment | {"LEASE_RENEW": f"{RENEW}", "LEASE_TTL": f"{LEASE}"}
        server = here.nodes["web"] = Gateway(
            tmp_path / "web", NODE_NAME="web", SURFACE="both", **settings
        )
        await asyncio.to_thread(server.migrate)
        with socket.create_server(("127.0.0.1", 0)) as free:
            server.client_port = server.worker_port = free.getsockname()[1]
        server.spawn(
            *("-m", "uvicorn", "gateway.asgi:application", f"--port={server.client_port}"),
            *("--workers=3", "--lifespan=on", "--no-access-log"),
        )
        try:
            await here.until("three nodes", lambda: named(here, NAMES), 60)
            before = await pids(here)
            assert len(set(before.values())) == 3
            peers = [
                await client_at(f"ws://127.0.0.1:{server.client_port}/?user_id=u{n}")
                for n in range(9)
            ]
            assert {peer.welcome["node"] for peer in peers} <= set(NAMES)
            # The one that dies is followed by one of its name.
            os.kill(before["web~2"], signal.SIGKILL)
            await here.until("another web~2", lambda: followed(here, before), 60)
            # `serve` is one process: a second one of a name is refused, as ever.
            done = await asyncio.to_thread(
                server.manage, "serve", "--client-port=0", "--worker-port=0", check=False
            )
            assert done.returncode == 1 and "already runs as node 'web'" in done.stderr
        finally:
            server.signal(signal.SIGTERM)
            await asyncio.to_thread(server.wait, 30)
        await here.until("nobody", lambda: named(here, []), 20)


async def named(here: Place, names: list[str]) -> bool:
    return sorted(await pids(here)) == names


async def followed(here: Place, before: dict[str, int]) -> bool:
    now = await pids(here)
    return sorted(now) == NAMES and now["web~2"] not in before.values()
