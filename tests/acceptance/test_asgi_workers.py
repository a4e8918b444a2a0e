"""Processes of another ASGI server, all with the same settings: site and sockets on one port."""

from __future__ import annotations

import asyncio
import copy
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.acceptance.place import LEASE, RENEW, Place, place
from tests.support.gateway import API_KEY, SHORT, Gateway, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import client_at, http_get, worker_at
from tests.support.scale import scaled
from tests.support.site import Site
from tests.support.valkey import Server

NAMES = ["web", "web~2", "web~3"][: scaled(3, 2)]


async def pids(here: Place) -> dict[str, int]:
    return {info.name: info.pid for info in await here.registry.all()}


async def test_uvicorns_workers_have_names_of_their_own(tmp_path: Path, redis: Server) -> None:
    async with place(tmp_path, redis, **SHORT) as here:
        settings = here.environment | {"LEASE_RENEW": f"{RENEW}", "LEASE_TTL": f"{LEASE}"}
        server = here.nodes["web"] = Gateway(
            tmp_path / "web", NODE_NAME="web", SURFACE="both", **settings
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            server.client_port = server.worker_port = free.getsockname()[1]
        server.spawn(
            *("-m", "uvicorn", "gateway.asgi:application", f"--port={server.client_port}"),
            *(f"--workers={len(NAMES)}", "--lifespan=on", "--no-access-log"),
        )
        try:
            await here.until("a node each", lambda: named(here, NAMES), 60)
            before = await pids(here)
            assert len(set(before.values())) == len(NAMES)
            wait_for(server.listens, "a worker to listen: uvicorn's do once their node is there")
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


SHOP = """
from sockets import environment
GATEWAY = environment.read() | GATEWAY
del CHANNEL_LAYERS  # the gateway makes one of its own
"""
VIEWS = """
from django.http import JsonResponse
from sockets.api import anotify_user, notify_user

def pay(request):
    return JsonResponse({"reach": notify_user("42", "paid").reach})

async def apay(request):
    return JsonResponse({"reach": (await anotify_user("42", "paid")).reach})

urlpatterns += [path("pay/", pay), path("apay/", apay)]
"""
SERVERS = {
    "uvicorn": ("-m", "uvicorn", "shop.asgi:application", "--workers=2", "--port={port}"),
    "daphne": ("-m", "daphne", "shop.asgi:application", "--port={port}"),
}


@contextmanager
def process_of(site: Site, surface: str, *command: str) -> Iterator[int]:
    """Start another process of the site; yield its port."""
    process = copy.copy(site)
    process.environment = site.environment | {"SURFACE": surface}
    process.log_path = site.data_dir / f"{surface}.log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = process.client_port = free.getsockname()[1]
    process.begin(*(word.format(port=port) for word in command))
    try:
        wait_for(lambda: process.ended() or process.listens(), "the server to listen", PATIENCE)
        assert not process.ended(), process.log()
        yield port
    finally:
        process.signal(signal.SIGTERM)
        process.wait(30)


@pytest.mark.parametrize("server", ["daphne", pytest.param("uvicorn", marks=pytest.mark.soak)])
async def test_one_port_for_site_and_sockets(tmp_path: Path, redis: Server, server: str) -> None:
    """Rule 20: and a second process for what strangers may not have."""
    site = Site(tmp_path, REDIS_URL=redis.url)
    site.append("settings.py", SHOP)
    site.append("urls.py", VIEWS)
    asgi = site.folder / "shop" / "asgi.py"
    asgi.write_text(asgi.read_text().replace("(application)", "(application, public_site=True)"))
    site.migrate()
    private = ("-m", "uvicorn", "shop.asgi:application", "--port={port}", "--lifespan=on")
    with (
        process_of(site, "public", *SERVERS[server]) as port,
        process_of(site, "private", *private) as inside,
    ):
        tabs = [await client_at(f"ws://127.0.0.1:{port}/?user_id=42") for _ in range(6)]
        for number, path in enumerate(("/pay/", "/apay/"), 1):
            status, body = await asyncio.to_thread(http_get, port, path)
            assert (status, body) == (200, b'{"reach": 6}')
            for tab in tabs:
                frame = await tab.receive()
                assert (frame["event"], frame["offset"]) == ("paid", number)
        assert (await asyncio.to_thread(http_get, port, "/healthz"))[0] == 200
        for path in ("/admin/login/", "/api/v1/users/42", "/metrics"):
            assert (await asyncio.to_thread(http_get, port, path))[0] == 404, path
        with pytest.raises(InvalidStatus):
            await worker_at(f"ws://127.0.0.1:{port}/worker")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{inside}") as api:
            answer = await api.post(
                "/api/v1/users/42/messages",
                json={"event": "by.http"},
                headers={"Authorization": f"Bearer {API_KEY}"},
            )
            assert answer.status_code == 200, answer.text
        assert (await tabs[0].receive())["event"] == "by.http"
        assert (await asyncio.to_thread(http_get, inside, "/admin/login/"))[0] == 200
        peer = await worker_at(f"ws://127.0.0.1:{inside}/")
        assert peer.welcome["type"] == "welcome"


def test_memory_mode_is_one_process_here_too(tmp_path: Path) -> None:
    """Rule 20: the server ends, and says what to do."""
    gateway = Gateway(tmp_path)
    gateway.migrate()
    gateway.spawn(
        *("-m", "uvicorn", "gateway.asgi:application", "--port=0", "--workers=2"),
        "--lifespan=on",
    )
    try:
        gateway.wait(40)
    finally:
        gateway.kill()
    assert "memory mode is one process: stop it, set REDIS_URL" in gateway.log()
