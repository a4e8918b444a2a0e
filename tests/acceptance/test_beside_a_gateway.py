"""Rule 22: in memory mode other processes of the project call the gateway beside them."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import re
import signal
import socket
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support import warm
from tests.support.gateway import API_KEY, ROOT, Gateway, running, wait_for
from tests.support.peers import client, http_get, worker
from tests.support.site import Site
from tests.support.valkey import Server

SCRIPT = """
import asyncio, threading
import django; django.setup()
from sockets import api

assert api.is_online("42")
receipt = api.notify_user("42", "sync", {"n": 1})
assert receipt.reach == 1, receipt

async def main():
    assert (await api.apresence_of("42")).online
    await asyncio.gather(*(api.anotify_user("42", "async", n) for n in range(5)))

asyncio.run(main())
threads = [threading.Thread(target=api.notify_user, args=("42", "thread", n)) for n in range(5)]
for one in threads: one.start()
for one in threads: one.join()
print(api.client_socket_url(), api.read_stream("42").head, len(api.live_sessions()))
try:
    api.assign_task("nobody", "work")
except Exception as error:
    print(type(error).__name__)
done = api.disconnect_user("42", reason="enough")
print(done.closed)
"""


def run(gateway: Gateway, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {
        **gateway.environment,
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "NODE_NAME": "tools",
        **environment,
    }
    return warm.python(command, ROOT, given)


async def test_commands_shells_and_threads(shared_gateway: Gateway) -> None:
    gateway = shared_gateway
    file = gateway.data_dir / "node.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    tab = await client(gateway, "42")
    done = await asyncio.to_thread(run, gateway, "manage.py", "notify", "42", "hello", '{"n": 5}')
    assert done.returncode == 0 and "live sessions: 1" in done.stdout, done.stderr
    frame = await tab.receive()
    assert (frame["event"], frame["data"]) == ("hello", {"n": 5})
    done = await asyncio.to_thread(run, gateway, "manage.py", "sessions")
    assert done.returncode == 0 and "42" in done.stdout, done.stderr
    done = await asyncio.to_thread(run, gateway, "-W", "error", "-c", SCRIPT)
    assert done.returncode == 0, done.stderr
    url, head, live, error, closed = done.stdout.split()
    assert url == f"ws://localhost:{gateway.client_port}"
    assert (head, live, error, closed) == ("12", "1", "NoWorkerAvailable", "1")
    events = [(await tab.receive())["event"] for _ in range(11)]
    assert sorted(set(events)) == ["async", "sync", "thread"]
    assert (await tab.closed())[1] == "enough"
    assert "hello" not in file.read_text() and "secret" not in gateway.log()
    assert json.loads(file.read_text())["key"] not in gateway.log()


VIEWS = """
from django.http import JsonResponse
from sockets.api import apresence_of, notify_user
from sockets.exceptions import GatewayError

def pay(request, user):
    try:
        return JsonResponse({"reach": notify_user(user, "paid", {"n": 1}).reach})
    except GatewayError as error:
        return JsonResponse({"error": str(error)}, status=503)

async def online(request, user):
    return JsonResponse({"online": (await apresence_of(user)).online})

urlpatterns += [path("pay/<user>", pay), path("online/<user>", online)]
"""


@pytest.mark.parametrize(
    "first",
    [pytest.param((), marks=pytest.mark.soak, id="django"), pytest.param(("daphne",), id="daphne")],
)
async def test_runserver_beside_serve(tmp_path: Path, first: tuple[str, ...]) -> None:
    """Rule 21: a developer's site stays under `runserver`, its sockets under `serve`."""
    site = Site(tmp_path, *first)
    site.append("urls.py", VIEWS)
    site.migrate()
    beside = copy.copy(site)
    beside.log_path = tmp_path / "runserver.log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        beside.client_port = free.getsockname()[1]
    site.start()
    try:
        tab = await client(site, "42")
        beside.begin("manage.py", "runserver", "--noreload", f"{beside.client_port}")
        await asyncio.to_thread(
            wait_for, lambda: beside.ended() or beside.listens(), "runserver", 30
        )

        async def get(path: str) -> tuple[int, dict[str, object]]:
            status, body = await asyncio.to_thread(http_get, beside.client_port, path)
            return status, json.loads(body)

        assert await get("/pay/42") == (200, {"reach": 1})
        assert (await tab.receive())["event"] == "paid"
        assert await get("/online/42") == (200, {"online": True})
        assert await get("/online/43") == (200, {"online": False})
        assert await asyncio.to_thread(site.stop) == 0
        status, told = await get("/pay/42")
        assert status == 503 and "manage.py serve" in str(told["error"])
        await asyncio.to_thread(site.start)  # with another address and key
        assert await get("/pay/42") == (200, {"reach": 0})
    finally:
        beside.kill()
        site.kill()


async def test_after_kill_9_the_remedy_is_told(tmp_path: Path) -> None:
    with running(tmp_path) as gateway:
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
        assert (tmp_path / "node.json").exists()
        done = await asyncio.to_thread(run, gateway, "manage.py", "notify", "42", "hello")
        assert done.returncode == 1
        assert "start `python manage.py serve`" in done.stderr and "Traceback" not in done.stderr
        gateway.start()
        done = await asyncio.to_thread(run, gateway, "manage.py", "notify", "42", "hello")
        assert done.returncode == 0, done.stderr


def test_the_key_of_the_file_opens_nothing_but_this(shared_gateway: Gateway) -> None:
    gateway = shared_gateway
    found = json.loads((gateway.data_dir / "node.json").read_text())
    bearer = {"Authorization": f"Bearer {found['key']}"}
    api = found["url"]
    assert httpx.post(f"{api}call", json={}, headers=bearer).status_code == 422
    assert httpx.get(f"{api}nodes", headers=bearer).status_code == 403
    assert httpx.post(f"{api}call", json={}).status_code == 401
    wrong = {"Authorization": "Bearer guess"}
    assert httpx.post(f"{api}call", json={}, headers=wrong).status_code == 401
    public = f"http://127.0.0.1:{gateway.client_port}/api/v1/call"
    assert httpx.post(public, json={}, headers=bearer).status_code == 404
    assert "/call" not in httpx.get(f"{api}openapi.json").text
    socket = httpx.get(f"http://127.0.0.1:{gateway.worker_port}/ws/worker/", headers=bearer)
    assert socket.status_code in (400, 401, 404, 426)


def test_there_is_no_file_where_nobody_should_find_one(tmp_path: Path, redis: Server) -> None:
    with running(tmp_path / "redis", REDIS_URL=redis.url):
        assert not (tmp_path / "redis" / "node.json").exists()


async def test_a_process_elsewhere_has_an_address_and_a_key(tmp_path: Path) -> None:
    with running(tmp_path / "gateway") as gateway:
        made = gateway.manage("create_key", "shop", "--scope", "call")
        secret = made.stdout.strip().splitlines()[-1]
        narrow = gateway.manage("create_key", "other", "--scope", "notify").stdout.split()[-1]
        tab = await client(gateway, "42")
        away = {
            "DATA_DIR": str(tmp_path / "elsewhere"),
            "GATEWAY_URL": f"http://127.0.0.1:{gateway.worker_port}",
        }

        async def notify(key: str) -> subprocess.CompletedProcess[str]:
            command = ("manage.py", "notify", "42", "hello")
            return await asyncio.to_thread(run, gateway, *command, **away, GATEWAY_KEY=key)

        done = await notify(secret)
        assert done.returncode == 0, done.stderr
        assert (await tab.receive())["event"] == "hello"
        assert (await notify(API_KEY)).returncode == 0
        for key in (narrow, "guess"):
            done = await notify(key)
            assert done.returncode == 1 and "the scope `call`" in done.stderr
            assert key not in done.stderr
        without = await asyncio.to_thread(run, gateway, "manage.py", "check", **away)
        assert "GATEWAY_KEY" in without.stderr
        gateway.stop()
        done = await notify(secret)
        assert done.returncode == 1 and "cannot be reached" in done.stderr


async def test_work_is_given_from_beside(shared_gateway: Gateway) -> None:
    script = (
        "import django; django.setup()\n"
        "from sockets import api\n"
        "print(api.assign_task('convert', 'image', {'id': 7}, user_id=42).state)\n"
    )
    gateway = shared_gateway
    peer = await worker(gateway, pools="convert")
    asked = asyncio.create_task(asyncio.to_thread(run, gateway, "-c", script))
    offer = await peer.receive()
    assert offer["data"] == {"id": 7}
    await peer.send(type="accept", task=offer["task"], offer=offer.get("offer"))
    done = await asked
    assert done.stdout.strip() == "running", done.stderr


def test_a_stop_leaves_the_file_of_the_next_one(tmp_path: Path) -> None:
    """One that ends slowly must not take away what its successor wrote."""
    with running(tmp_path) as gateway:
        first = json.loads((tmp_path / "node.json").read_text())
        gateway.stop()
        wait_for(lambda: not (tmp_path / "node.json").exists(), "the file to go")
        gateway.start()
        second = json.loads((tmp_path / "node.json").read_text())
        assert first["key"] != second["key"] and second["pid"] != first["pid"]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/v1/", second["url"])
        assert os.getuid() == (tmp_path / "node.json").stat().st_uid
