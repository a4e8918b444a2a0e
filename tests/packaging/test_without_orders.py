"""A fresh project that does what "Without an app `orders`" of the page says, without a Redis."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import httpx

from tests.packaging import page
from tests.packaging.conftest import Shop
from tests.packaging.open_shop import MIGRATE, SERVE, START_APP, post
from tests.packaging.test_shop import free_port, listens
from tests.support.gateway import wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import client_at

USER = "from django.contrib.auth.models import User; User.objects.create_superuser('kim', '', 'pw')"
FOR_A_START = "shop/settings.py", "shop/asgi.py"


def standing_in() -> dict[str, str]:
    """The blocks that stand in for the app, by file."""
    text = page.PAGE.read_text().split("## Without an app `orders`")[1].split("\n## ")[0]
    found = re.findall(
        r"^```(?:python|html)\n(?:\{#|#) ([\w/.]+), .*?\n(.*?)^```$", text, re.M | re.S
    )
    return dict(found)


def write(folder: Path) -> None:
    first = [block for block in page.blocks() if block.path in FOR_A_START][:2]
    (template,) = [block for block in page.blocks() if block.path.endswith(".html")]
    for block in first:
        block.put(folder)
    with (folder / "shop" / "settings.py").open("a") as settings:
        settings.write('INSTALLED_APPS += ["orders"]\n')
    for path, text in standing_in().items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.read_text() if path == "shop/urls.py" else ""
        file.write_text(before + text)
    template.put(folder)


@contextmanager
def running(python: Path, folder: Path, *command: str) -> Iterator[None]:
    log = folder / f"{command[1]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [python, *command], cwd=folder, env={"PATH": os.environ["PATH"]}, stdout=out, stderr=out
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)
    assert "Traceback" not in log.read_text(), log.read_text()


def visit(site: int) -> tuple[str, dict[str, str]]:
    """Sign in, look at an order, and pay it elsewhere: the cookie, and the page's position."""
    with httpx.Client(base_url=f"http://127.0.0.1:{site}", trust_env=False) as kim:
        assert kim.get("/orders/7/").headers["Location"] == "/admin/login/?next=/orders/7/"
        kim.get("/admin/login/")
        assert post(kim, "/admin/login/", username="kim", password="pw").status_code == 302
        text = kim.get("/orders/7/").text
        (found,) = re.findall(r'id="position" type="application/json">(.*?)</script>', text)
        assert post(kim, "/orders/7/").headers["Location"] == "/orders/7/"
        return kim.cookies["sessionid"], json.loads(found)


async def test_it_is_enough_to_try(server: Shop, tmp_path: Path) -> None:
    environment, folder, site = server.environment, tmp_path / "site", free_port()
    folder.mkdir()
    environment.run("-m", "django", "startproject", "shop", folder, cwd=folder)
    environment.run(*shlex.split(START_APP)[1:], cwd=folder)
    write(folder)
    environment.run(*shlex.split(MIGRATE)[1:], "--verbosity=0", cwd=folder)
    environment.run("manage.py", "shell", "-c", USER, cwd=folder)
    ports = folder / "ports.json"
    serve = *shlex.split(SERVE)[1:], "--client-port=0", "--worker-port=0", f"--ports-file={ports}"
    runserver = "manage.py", "runserver", "--noreload", f"127.0.0.1:{site}"
    with (
        running(environment.python, folder, *serve),
        running(environment.python, folder, *runserver),
    ):
        wait_for(lambda: ports.exists() and listens(site), "both", PATIENCE)
        cookie, position = await asyncio.to_thread(visit, site)
        port = json.loads(ports.read_text())["client_port"]
        peer = await client_at(
            f"ws://127.0.0.1:{port}/ws/client?{urlencode(position)}",
            origin=f"http://127.0.0.1:{site}",
            additional_headers={"Cookie": f"sessionid={cookie}"},
        )
        message = await peer.receive()
        assert (message["event"], message["data"]) == ("order.paid", {"order": 7})
        await peer.close()
