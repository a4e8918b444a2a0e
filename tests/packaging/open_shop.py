"""The shop that does what the page "Add it to your Django project" says: its processes, who visits.

It is a Channels project with a user model with UUIDs, a middleware that refuses paths,
ATOMIC_REQUESTS, "daphne", a consumer and a NinjaAPI of its own, the stock pub/sub layer and
PostgreSQL. Its files are in `shop_files.py`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from tests.packaging import page
from tests.packaging.environments import Environment
from tests.packaging.shop_files import REDIS, SEED, exported, write_shop
from tests.support import postgres
from tests.support.gateway import wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import Peer, client_at
from tests.support.valkey import Server

INSTALL, MIGRATE, SERVE, REDIS_IS, START_APP, ON_THE_SITE_S_HOST, ON_ITS_OWN_HOST = page.commands()
LISTENING = re.compile(r"Listening at: http://127.0.0.1:(\d+)")


class OpenShop:
    """The project and its processes: `web` is gunicorn, `gateway` is `manage.py serve`.

    `plain` and `server` are their environments. In `production` the tests are the proxy that ends
    TLS for both.
    """

    def __init__(
        self,
        folder: Path,
        plain: Environment,
        server: Environment,
        redis: Server,
        *,
        production: bool,
    ) -> None:
        self.folder, self.plain, self.server = folder, plain, server
        self.production = production
        self.host = "shop.example" if production else "127.0.0.1"
        write_shop(server, folder, production=production)
        assert exported(REDIS_IS) == {"REDIS_URL": REDIS}
        self.database = postgres.shared().database()
        self.variables = {
            "REDIS_URL": redis.url,
            "SHOP_REDIS": redis.url,
            "SHOP_PORT": str(postgres.shared().port),
            "SHOP_DATABASE": self.database.rpartition("/")[2],
            "READY_LAG": "0",
            "DRAIN_SECONDS": "0.1",
            "PRESENCE_GRACE": "0.5",
            **(exported(ON_THE_SITE_S_HOST) if production else {}),
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.port = self.client_port = self.worker_port = 0
        self.seed: dict[str, Any] = {}

    # --- its processes

    def run(
        self, environment: Environment, *arguments: str, check: bool = True, **variables: str
    ) -> str:
        """Run Python in the project; return what it wrote, errors too."""
        given = self.variables | variables
        done = environment.run(*arguments, cwd=self.folder, check=check, **given)
        return done.stdout + done.stderr

    def set_up(self) -> None:
        assert shlex.split(MIGRATE) == ["python", "manage.py", "migrate"]
        told = self.run(
            self.server,
            *("-c", SEED),
            DJANGO_SETTINGS_MODULE="shop.settings",
            BEFORE_THE_ROTATION="1",
        )
        self.seed = json.loads(told)

    @contextmanager
    def begun(
        self, name: str, environment: Environment, *command: str, **variables: str
    ) -> Iterator[None]:
        """Run a process beside the others."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = self.processes[name] = subprocess.Popen(
                [environment.python, *command],
                cwd=self.folder,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.folder),  # gunicorn keeps a socket there
                    "PYTHONUNBUFFERED": "1",
                    **self.variables | variables,
                },
                stdout=out,
                stderr=out,
            )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()
        assert "Traceback" not in self.log(name), self.log(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def ready(self, name: str, condition: Callable[[], Any]) -> None:
        """Wait for what a process does when it listens."""
        process = self.processes[name]
        wait_for(lambda: process.poll() is not None or condition(), name, PATIENCE)
        assert process.poll() is None, self.log(name)

    @contextmanager
    def serving(self, name: str, **variables: str) -> Iterator[tuple[int, int]]:
        """Run a gateway; gives its public and its private port."""
        file = self.folder / f"{name}.json"
        ports = "--client-port=0", "--worker-port=0", f"--ports-file={file}"
        with self.begun(name, self.server, *shlex.split(SERVE)[1:], *ports, **variables):
            self.ready(name, file.exists)
            found = json.loads(file.read_text())
            yield found["client_port"], found["worker_port"]

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Run its site and its gateway."""
        web = ["-m", "gunicorn", "shop.wsgi", "--bind=127.0.0.1:0", "--workers=2", "--preload"]
        with self.begun("web", self.plain, *web), self.serving("gateway") as ports:
            self.client_port, self.worker_port = ports
            self.ready("web", lambda: LISTENING.search(self.log("web")))
            self.port = int(LISTENING.findall(self.log("web"))[0])
            yield

    # --- who visits

    def visitor(self, port: int | None = None) -> httpx.Client:
        """A browser without JavaScript, at a port of this machine."""
        at = f"127.0.0.1:{port or self.port}"
        return httpx.Client(
            base_url=f"http://{at}",
            headers={"Host": self.host if self.production else at},
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=20,
            trust_env=False,
        )

    def signed_in(self, name: str) -> httpx.Client:
        """... that has gone through the site's own form."""
        made = self.visitor()
        made.get("/accounts/login/")
        assert post(made, "/accounts/login/", username=name, password="pw").status_code == 302
        return made

    async def socket(
        self, cookie: str, port: int | None = None, host: str | None = None, query: str = ""
    ) -> Peer:
        """A socket as a page of the site opens it: its cookie, its origin, and the host that the
        page asks for, which is its own unless given."""
        headers = {"Cookie": f"sessionid={cookie}"}
        port = port or self.client_port
        if self.production:
            url, origin = f"ws://{host or self.host}/ws/client{query}", f"https://{self.host}"
            at = {"host": "127.0.0.1", "port": port}
            return await client_at(url, origin=origin, additional_headers=headers, **at)
        url, origin = f"ws://127.0.0.1:{port}/ws/client{query}", f"http://127.0.0.1:{self.port}"
        return await client_at(url, origin=origin, additional_headers=headers)

    def order(self, of: str) -> dict[str, Any]:
        """The row of this user's order."""
        with psycopg.connect(self.database, row_factory=dict_row) as connection:
            number = self.seed["orders"][of]
            cursor = connection.execute("SELECT * FROM orders_order WHERE id = %s", [number])
            row = cursor.fetchone()
            assert row is not None
            return row


def post(visitor: httpx.Client, path: str, **form: str) -> httpx.Response:
    """Send a form, with the token of the one that was shown last."""
    token = visitor.cookies["csrftoken"]
    return visitor.post(path, data={**form, "csrfmiddlewaretoken": token})
