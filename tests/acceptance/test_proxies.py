"""The examples in deploy/, as they are but for names of files and ports, before a real gateway."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from tests.support.gateway import API_KEY, ROOT, SHORT, WORKER_KEY, Gateway, running, wait_for
from tests.support.peers import V1, Peer, client_at, refused, worker_at
from tests.support.scale import SOAK

PUBLIC, PRIVATE = "gateway.example.com", "gateway-admin.example.net"
SECRETS = ("in-the-query", "in-the-subprotocol", "in-the-cookie", "in-the-header")
"""What no proxy may write into a log."""

IDLE = 100.0 if SOAK else 3.0
"""Seconds without a message; nginx's own default would cut after 60."""


SHOP, SHOP_PRIVATE = "shop.example.com", "shop-admin.example.net"
"""Of a project of one's own."""


def certificate(folder: Path) -> tuple[Path, Path]:
    """For all names, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PUBLIC)])
    now = datetime.datetime.now(datetime.UTC)
    every = (PUBLIC, PRIVATE, SHOP, SHOP_PRIVATE)
    names = x509.SubjectAlternativeName([x509.DNSName(one) for one in every])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "fullchain.pem", folder / "privkey.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, private


def with_nginx(folder: Path, port: int, gateway: Gateway) -> list[str]:
    return _nginx(folder, port, gateway, "nginx.conf", {})


def with_own_site(folder: Path, port: int, gateway: Gateway, site: int) -> list[str]:
    """`site`: the port of gunicorn."""
    (folder / "static").mkdir()
    (folder / "static" / "a.txt").write_text("of the site")
    folder.chmod(0o755)  # for nginx' worker
    changes = {"127.0.0.1:8000": f"127.0.0.1:{site}", "/srv/shop/static/": f"{folder}/static/"}
    return _nginx(folder, port, gateway, "nginx-own-site.conf", changes)


def _nginx(
    folder: Path, port: int, gateway: Gateway, name: str, changes: dict[str, str]
) -> list[str]:
    chain, private = certificate(folder)
    example = (ROOT / "deploy" / name).read_text()
    changes = changes | {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/gateway/fullchain.pem": f"{chain}",
        "/etc/ssl/gateway/privkey.pem": f"{private}",
        "/var/log/nginx/gateway.log": f"{folder}/access.log",
        "/var/log/nginx/gateway-error.log": f"{folder}/error.log",
        "127.0.0.1:4000": f"127.0.0.1:{gateway.client_port}",
        "127.0.0.1:4001": f"127.0.0.1:{gateway.worker_port}",
    }
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"{user}daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log {folder}/log;\n"
        f"events {{}}\nhttp {{\n{folders}{replaced(example, changes)}}}\n"
    )
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return [program, "-e", f"{folder}/log", "-c", f"{config}"]


def with_caddy(folder: Path, port: int, gateway: Gateway) -> list[str]:
    chain, private = certificate(folder)
    example = (ROOT / "deploy" / "Caddyfile").read_text()
    changes = {
        f"{name} {{": f"{name}:{port} {{\n\tbind 127.0.0.1\n\ttls {chain} {private}\n"
        for name in (PUBLIC, PRIVATE)
    }
    changes |= {
        "127.0.0.1:4000": f"127.0.0.1:{gateway.client_port}",
        "127.0.0.1:4001": f"127.0.0.1:{gateway.worker_port}",
    }
    changes["{\n\tlog default"] = "{\n\tadmin off\n\tauto_https disable_redirects\n\tlog default"
    config = folder / "Caddyfile"
    config.write_text(replaced(example, changes))
    program = shutil.which("caddy")
    assert program, "no caddy on this machine: apt-get install caddy"
    return [program, "run", "--adapter", "caddyfile", "--config", f"{config}"]


def replaced(example: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in example, f"the example has no {old!r} any more"
        example = example.replace(old, new)
    return example


class Proxy:
    """A proxy before a gateway; `port` is the one that both names are at."""

    def __init__(self, gateway: Gateway, port: int, folder: Path, command: list[str]) -> None:
        self.gateway = gateway
        self.port = port
        self.folder = folder
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "HOME": f"{self.folder}"},
            )
        wait_for(self._listens, "the proxy to listen")

    def kill(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)  # nginx has a worker
        self._process.wait()
        wait_for(lambda: not self._listens(), "the proxy to be gone")

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    # --- through it

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=f"{self.folder}/fullchain.pem")

    def place(self, **more: Any) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port, "ssl": self.tls()} | more

    async def client(self, user: str, **more: Any) -> Peer:
        return await client_at(self.url(user), **self.place(**more))

    def url(self, user: str) -> str:
        return f"wss://{PUBLIC}:{self.port}/?user_id={user}&token={SECRETS[0]}"

    async def http(self, method: str, path: str, name: str = PRIVATE, **more: Any) -> Any:
        headers = {"Host": f"{name}:{self.port}"} | more.pop("headers", {})
        async with httpx.AsyncClient(verify=self.tls(), trust_env=False) as http:
            request = http.build_request(
                method, f"https://127.0.0.1:{self.port}{path}", headers=headers, **more
            )
            request.extensions["sni_hostname"] = name
            return await http.send(request)


@contextmanager
def proxied(
    folder: Path, make: Callable[[Path, int, Gateway], list[str]], **more: str
) -> Iterator[Proxy]:
    """`more`: settings of the gateway; `{port}` in them is the proxy's."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    origin = f"https://{PRIVATE}:{port}"
    environment = SHORT | {
        "CLIENT_SOCKET_URL": f"wss://{PUBLIC}:{port}",
        "WORKER_SOCKET_URL": f"wss://{PRIVATE}:{port}",
        "TRUSTED_PROXIES": "127.0.0.0/8",
        "CSRF_TRUSTED_ORIGINS": origin,
        "SECURE_COOKIES": "true",
        "HSTS_SECONDS": "60",
        "HEARTBEAT": "25" if SOAK else "1",
        "PONG_TIMEOUT": "20",
    }
    environment |= {name: value.replace("{port}", str(port)) for name, value in more.items()}
    with running(folder / "gateway", **environment) as gateway:
        home = folder / "proxy"
        home.mkdir()
        proxy = Proxy(gateway, port, home, make(home, port, gateway))
        proxy.start()
        try:
            yield proxy
        finally:
            proxy.stop()
        assert "Traceback" not in gateway.log()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("make", [with_nginx, with_caddy])
async def test_the_example_does_what_a_proxy_has_to(
    tmp_path: Path, make: Callable[[Path, int, Gateway], list[str]]
) -> None:
    with proxied(tmp_path, make) as proxy:
        await sockets_of_browsers(proxy)
        await workers_and_backends(proxy)
        await the_admin(proxy)
        await a_restart(proxy)
        await the_gateway_away(proxy)
        logs = "".join(file.read_text() for file in proxy.folder.iterdir() if file.is_file())
        assert not [secret for secret in SECRETS if secret in logs]


async def sockets_of_browsers(proxy: Proxy) -> None:
    own = f"https://{PUBLIC}:{proxy.port}"
    tab = await proxy.client("42", origin=own)
    elsewhere = await proxy.client("far", local_addr=("127.0.0.77", 0))
    forged = await proxy.client("forger", additional_headers={"X-Forwarded-For": "6.6.6.6"})
    for user, address in (("far", "127.0.0.77"), ("forger", "127.0.0.1")):
        answer = await proxy.http("GET", f"/api/v1/users/{user}", headers=KEY)
        (session,) = answer.json()["sessions"]
        assert re.fullmatch(rf"{re.escape(address)}(:\d+)?", session["address"])
    with pytest.raises(Exception, match="403"):
        await refused(proxy.url("42"), **proxy.place(origin="https://evil.example"))
    for path in ("/admin/", "/metrics", "/api/v1/nodes"):
        assert (await proxy.http("GET", path, PUBLIC)).status_code == 404
    sdk = await proxy.http("GET", "/gateway.js", PUBLIC)
    assert sdk.status_code == 200
    assert sdk.headers["Strict-Transport-Security"] == "max-age=60"

    assert (await forged.ask(type="sessions"))["ok"]
    await forged.close()
    listening = [asyncio.ensure_future(peer.receive(IDLE + 60)) for peer in (tab, elsewhere)]
    await asyncio.sleep(IDLE)
    assert not any(one.done() for one in listening)
    for user in ("42", "far"):
        await proxy.http(
            "POST", f"/api/v1/users/{user}/messages", json={"event": "late"}, headers=KEY
        )
    assert [(await one)["event"] for one in listening] == ["late", "late"]


KEY = {"Authorization": f"Bearer {API_KEY}"}


async def workers_and_backends(proxy: Proxy) -> None:
    url = f"wss://{PRIVATE}:{proxy.port}/ws/worker/"
    helper = await worker_at(url, WORKER_KEY, **proxy.place())
    assert (await helper.ask(type="notify", user="42", event="e"))["ok"]
    assert (await proxy.http("GET", "/readyz")).status_code == 200
    assert (await proxy.http("GET", "/api/v1/nodes", headers=KEY)).status_code == 200
    assert (await proxy.http("GET", "/api/v1/nodes")).status_code == 401


async def the_admin(proxy: Proxy) -> None:
    told = proxy.gateway.manage("devsetup").stderr
    password = told.split("password: ")[1].split()[0]
    page = await proxy.http("GET", "/admin/login/")
    assert page.status_code == 200
    assert all("Secure" in cookie for cookie in page.headers.get_list("set-cookie"))
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token is not None
    form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token[1]}
    origin = f"https://{PRIVATE}:{proxy.port}"
    cookies = "; ".join(c.partition(";")[0] for c in page.headers.get_list("set-cookie"))
    for given, status in ((form, 302), (form | {"password": "wrong"}, 200)):
        answer = await proxy.http(
            "POST",
            "/admin/login/?next=/admin/",
            data=given,
            headers={"Cookie": cookies, "Origin": origin, "Referer": f"{origin}/admin/login/"},
        )
        assert answer.status_code == status
    log = proxy.gateway.log()
    assert re.search(r"signed_in .*'username': 'admin', 'address': '127.0.0.1'", log)
    assert re.search(r"sign_in_failed .*'username': 'admin', 'address': '127.0.0.1'", log)
    assert password not in log and "wrong" not in log


async def a_restart(proxy: Proxy) -> None:
    """What was sent meanwhile is there when the client is back."""
    tab = await proxy.client("survivor")
    await asyncio.to_thread(proxy.kill)
    assert (await tab.closed())[0] == 1006
    answer = httpx.post(  # noqa: ASYNC210
        proxy.gateway.http("/api/v1/users/survivor/messages", private=True),
        json={"event": "meanwhile"},
        headers=KEY,
        trust_env=False,
    )
    assert answer.status_code == 200
    await asyncio.to_thread(proxy.start)
    at = f"&epoch={tab.welcome['epoch']}&offset={tab.welcome['offset']}"
    again = await client_at(proxy.url("survivor") + at, **proxy.place())
    assert again.welcome["recovered"] is True
    assert (await again.receive())["event"] == "meanwhile"


async def the_gateway_away(proxy: Proxy) -> None:
    """Proxies have much to say then; who comes later is served as ever."""
    _, subprotocol, cookie, header = SECRETS
    assert await asyncio.to_thread(proxy.gateway.stop) == 0
    more = proxy.place(additional_headers={"Cookie": f"sessionid={cookie}"})
    with pytest.raises(Exception, match="502"):
        await client_at(proxy.url("42"), subprotocols=[V1, f"gateway.bearer.{subprotocol}"], **more)
    for name in (PUBLIC, PRIVATE):
        path = f"/api/v1/nodes?token={SECRETS[0]}"
        headers = {"Authorization": f"Bearer {header}"}
        assert (await proxy.http("GET", path, name, headers=headers)).status_code == 502
    await asyncio.to_thread(proxy.gateway.start)
    assert (await proxy.client("42")).welcome["user"] == "42"


class _Site(BaseHTTPRequestHandler):
    """What gunicorn runs: it answers with what it was asked, and by whom."""

    def do_GET(self) -> None:
        names = ("Host", "X-Forwarded-For", "X-Forwarded-Proto")
        told = {"path": self.path} | {name: self.headers.get(name) for name in names}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The tests' output is no access log."""


@contextmanager
def a_site() -> Iterator[int]:
    """Its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.timeout(300)
async def test_a_site_and_its_gateway_behind_one_name(tmp_path: Path) -> None:
    """The site's pages connect to /ws/client of their own host; all else there is the site's."""
    settings = {
        "CLIENT_SOCKET_URL": f"wss://{SHOP}:{{port}}/ws/client",
        "WORKER_SOCKET_URL": f"wss://{SHOP_PRIVATE}:{{port}}",
        "TRUSTED_PROXIES": "1",
    }
    with a_site() as site:

        def make(folder: Path, port: int, gateway: Gateway) -> list[str]:
            return with_own_site(folder, port, gateway, site)

        with proxied(tmp_path, make, **settings) as proxy:
            at = f"{SHOP}:{proxy.port}"
            url = f"wss://{at}/ws/client?user_id=42&token={SECRETS[0]}"
            page = f"https://{at}"
            forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http"}
            tab = await client_at(url, origin=page, **proxy.place(additional_headers=forged))
            answer = await proxy.http("GET", "/api/v1/users/42", SHOP_PRIVATE, headers=KEY)
            (session,) = answer.json()["sessions"]
            assert session["address"].startswith("127.0.0.1")
            with pytest.raises(Exception, match="403"):
                await refused(url, **proxy.place(origin="https://evil.example"))

            for path in ("/", "/admin/", "/metrics", "/ws/client/more", "/gateway.js"):
                answer = await proxy.http("GET", path, SHOP, headers=forged)
                assert answer.json() == {
                    "path": path,
                    "Host": at,
                    "X-Forwarded-For": "127.0.0.1",
                    "X-Forwarded-Proto": "https",
                }
            assert (await proxy.http("GET", "/static/a.txt", SHOP)).text == "of the site"

            url = f"wss://{SHOP_PRIVATE}:{proxy.port}/ws/worker/"
            helper = await worker_at(url, WORKER_KEY, **proxy.place())
            assert (await helper.ask(type="notify", user="42", event="e"))["ok"]
            assert (await tab.receive())["event"] == "e"
            assert (await proxy.http("GET", "/admin/login/", SHOP_PRIVATE)).status_code == 200
            logs = "".join(file.read_text() for file in proxy.folder.iterdir() if file.is_file())
            assert SECRETS[0] not in logs


async def test_the_page_ends_with_a_connection(tmp_path: Path) -> None:
    """Step 8 of docs/first-production-start.md, behind the proxy of its step 6."""
    page = (ROOT / "docs" / "first-production-start.md").read_text()
    (typed,) = re.findall(r"^# gateway (shell .*)$", page, re.M)
    (url,) = re.findall(r'-m websockets "wss://[^/]*(/[^"]*)"', page)
    with proxied(tmp_path, with_nginx) as proxy:
        frame = proxy.gateway.manage(*shlex.split(typed)).stdout
        at = f"wss://{PUBLIC}:{proxy.port}{url}"
        async with connect(at, proxy=None, **proxy.place()) as tab:
            await tab.send(frame.strip())
            welcome = json.loads(await tab.recv())
            assert (welcome["type"], welcome["user"]) == ("welcome", "42")
