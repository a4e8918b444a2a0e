"""A shop that does what the page "Add it to your Django project" says, word by word.

Once with Django 5.2 under development, its site in an environment of its own with the plain
installation; once with Django 6.1 on Python 3.13 in production, both in one environment.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import time
from urllib.parse import urlencode

import pytest
from playwright.async_api import WebSocket, async_playwright, expect
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.browser.conftest import FLAGS, WINDOWLESS
from tests.packaging.open_shop import ON_ITS_OWN_HOST, OpenShop, post
from tests.packaging.page import PAGE, blocks
from tests.packaging.shop_files import REDIS, exported, in_the_template
from tests.support.gateway import wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import http_get, worker_at

OWN_HOST = "live.shop.example"
EVIL = Origin("https://evil.example")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_how_much_the_page_asks_for() -> None:
    """25 lines, and 15 more for receivers, as it says itself."""
    asked = {block.path: block.lines for block in reversed(blocks())}
    of_the_views, of_the_app = 2 + 3, 2  # all else was there
    files = "shop/settings.py", "shop/asgi.py", "orders/templates/orders/order.html"
    assert sum(asked[file] for file in files) + of_the_views <= 25
    assert asked["orders/receivers.py"] + of_the_app <= 15
    assert "and 25 lines, and 15 more" in PAGE.read_text()


def test_the_versions_are_those_that_are_promised(shop: OpenShop) -> None:
    """Rule 19."""
    told = shop.run(shop.server, "-c", "import django, sys; print(django.__version__, sys.version)")
    assert told.startswith("6.1." if shop.production else "5.2.")
    python = "3.13" if shop.production else "{}.{}".format(*sys.version_info)
    assert f" {python}." in told


def test_the_site_has_nothing_of_a_server(shop: OpenShop) -> None:
    """Rule 10."""
    found = "import importlib.util as u; print([n for n in ('jwt', 'httpx') if u.find_spec(n)])"
    assert shop.run(shop.plain, "-c", found).strip() == (
        "['jwt', 'httpx']" if shop.production else "[]"
    )


@pytest.mark.parametrize(
    "shop", ["development", pytest.param("production", marks=pytest.mark.soak)], indirect=True
)
def test_the_checks_say_nothing(shop: OpenShop) -> None:
    """Rules 1, 4, 12: of a dictionary by hand, too."""
    assert "no issues" in shop.run(shop.plain, "manage.py", "check")
    assert "gateway." not in shop.run(shop.server, "manage.py", "check", "--deploy", check=False)
    assert "(gateway." not in shop.log("gateway")
    told = shop.run(
        shop.server,
        "-c",
        "import django; django.setup(); from django.core.management import call_command as call; "
        "from sockets.conf import get_conf; call('check'); conf = get_conf(); "
        "print(conf.auth, conf.redis_url, conf.node_name)",
        DJANGO_SETTINGS_MODULE="shop.by_hand",
        REDIS_URL="",
        SHOP_REDIS=REDIS,
    )
    assert told.splitlines() == [
        "System check identified no issues (0 silenced).",
        f"('session',) {REDIS} shop-1",
    ]


async def test_who_pays_is_told(shop: OpenShop) -> None:
    """Rules 5, 6, 13: signed in at the site, connected by its cookie, notified from its view."""
    kim = await asyncio.to_thread(shop.signed_in, "kim")
    peer = await shop.socket(kim.cookies["sessionid"])
    assert peer.welcome["user"] == shop.seed["users"]["kim"]
    online = (await asyncio.to_thread(kim.get, "/online/")).json()
    assert online["online"] is True
    assert online["process"] != shop.processes["gateway"].pid
    order = shop.seed["orders"]["kim"]
    answer = await asyncio.to_thread(post, kim, f"/orders/{order}/pay/")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/orders/{order}/")
    message = await peer.receive()
    assert (message["event"], message["data"]) == ("order.paid", {"order": order})
    reply = await peer.ask(type="send", event="order.seen", data={"order": order})
    assert reply["ok"], reply
    await asyncio.to_thread(wait_for, lambda: shop.order("kim")["seen"], "client_message")
    await peer.close()


async def test_what_comes_while_a_page_is_loaded_is_not_missed(shop: OpenShop) -> None:
    """The page has the position of its data, and its socket begins there."""
    pat = await asyncio.to_thread(shop.signed_in, "pat")
    order = f"/orders/{shop.seed['orders']['pat']}/"
    text = (await asyncio.to_thread(pat.get, order)).text
    (found,) = re.findall(r'<script id="position" type="application/json">(.*?)</script>', text)
    position = json.loads(found)
    assert position.keys() == {"epoch", "offset"}
    await asyncio.to_thread(post, pat, f"{order}pay/")
    query = f"?{urlencode(position)}"
    peer = await shop.socket(pat.cookies["sessionid"], query=query)
    assert peer.welcome["recovered"] is True
    assert (await peer.receive())["event"] == "order.paid"
    await peer.close()
    later = await shop.socket(pat.cookies["sessionid"])
    assert later.welcome["recovered"] is None, "a page without one begins at now"
    await later.close()


async def test_a_session_under_an_old_key_goes_on(shop: OpenShop) -> None:
    """Rule 6: the socket writes nothing, and the site gives the session its new key. Who leaves is
    user_offline."""
    cookie = shop.seed["old_session"]
    peer = await shop.socket(cookie)
    assert peer.welcome["user"] == shop.seed["users"]["lee"]
    lee = shop.visitor()
    lee.cookies["sessionid"] = cookie
    answer = await asyncio.to_thread(lee.get, "/online/")
    assert (answer.status_code, answer.json()["online"]) == (200, True)
    assert answer.cookies["sessionid"] != cookie
    assert shop.order("lee")["reserved"]
    await peer.close()
    await asyncio.to_thread(wait_for, lambda: not shop.order("lee")["reserved"], "user_offline")
    assert shop.order("kim")["reserved"], "it is paid"


async def test_a_worker_does_what_the_site_assigns(shop: OpenShop) -> None:
    """The receiver of the page runs in the gateway's process."""
    order = shop.seed["orders"]["pat"]
    url = f"ws://127.0.0.1:{shop.worker_port}/ws/worker?name=writer&pools=invoices&capacity=1"
    worker = await worker_at(url, shop.seed["worker_key"])
    assert worker.welcome["type"] == "welcome", worker.welcome
    assigned = asyncio.create_task(asyncio.to_thread(shop.visitor().get, f"/invoices/{order}/"))
    offer = await worker.receive()
    assert (offer["type"], offer["data"]) == ("task", {"order": order})
    task = offer["task"]
    assert (await worker.ask(type="accept", task=task, offer=offer["offer"]))["ok"]
    assert (await assigned).status_code == 200
    assert (await worker.ask(type="done", task=task, data={"url": "/7.pdf"}))["ok"]
    await asyncio.to_thread(wait_for, lambda: shop.order("pat")["invoice"] == "/7.pdf", "task_done")
    pid = shop.processes["gateway"].pid
    assert f"task_done in process {pid}" in shop.log("gateway")
    assert "task_done in" not in shop.log("web")
    await worker.close()


@pytest.mark.parametrize(
    "shop", ["development", pytest.param("production", marks=pytest.mark.soak)], indirect=True
)
async def test_the_shop_s_own_sockets_stay(shop: OpenShop) -> None:
    """Rule 4: at its own server, and behind the gateway's private port; never at the public one."""
    kim = await asyncio.to_thread(shop.signed_in, "kim")
    headers = {"Cookie": f"sessionid={kim.cookies['sessionid']}"}

    def chat(port: int) -> connect:
        at = f"ws://127.0.0.1:{port}/ws/chat/"
        return connect(at, additional_headers=headers, proxy=None, open_timeout=15)

    port = free_port()
    own = f"-m daphne -p {port} shop.asgi:application".split()
    with shop.begun("own", shop.server, *own):
        shop.ready("own", lambda: listens(port))
        async with chat(port) as here, chat(shop.worker_port) as there:
            await here.send(json.dumps({"text": "hello"}))
            said = {"who": "kim", "text": "hello"}
            assert [json.loads(await one.recv()) for one in (here, there)] == [said, said]
        assert (await asyncio.to_thread(kim.get, "/api/hello")).json() == {"from": "the shop"}
        status, _ = await asyncio.to_thread(http_get, port, "/healthz", headers={"Host": shop.host})
        assert status == 403, "the gateway is not there"
    with pytest.raises(InvalidStatus):
        await chat(shop.client_port)


async def test_its_admin_has_the_sessions_and_keeps_its_name(shop: OpenShop) -> None:
    """Rule 15: in the site's own process."""
    chief = await asyncio.to_thread(shop.signed_in, "chief")
    kim = await asyncio.to_thread(shop.signed_in, "kim")
    peer = await shop.socket(kim.cookies["sessionid"])

    def listed() -> bool:
        return peer.welcome["session"] in chief.get("/admin/sockets/session/").text

    await asyncio.to_thread(wait_for, listed, "the session in the list")
    text = (await asyncio.to_thread(chief.get, "/admin/")).text
    assert re.search(r"<title>[^<]*\| Shop</title>", text)
    assert re.search(r'id="site-name">\s*<a[^>]*>Shop</a>', text)
    await peer.close()


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/admin/", "/admin", "/accounts/login/", "/orders/1/", "/api/hello", "/static/x"),
        *("/metrics", "/readyz", "/api/v1/docs", "/api/v1/nodes", "/nowhere"),
    ],
)
def test_strangers_see_nothing_of_the_site(shop: OpenShop, path: str) -> None:
    """Rule 2."""
    assert shop.visitor(shop.client_port).get(path).status_code == 404


def test_the_private_port_has_all_of_it(shop: OpenShop) -> None:
    """Rules 4, 13: the shop's middleware is for the shop's paths."""
    private = shop.visitor(shop.worker_port)
    for path in ("/admin/login/", "/api/hello", "/metrics", "/readyz", "/api/v1/docs"):
        assert private.get(path).status_code == 200, path
    assert private.get("/nowhere/").status_code == 403
    assert private.get("/api/v1/nodes").status_code == 401


async def test_logout_closes_the_socket(shop: OpenShop) -> None:
    """Rules 7, 8: in the web process, and within about a second."""
    pat = await asyncio.to_thread(shop.signed_in, "pat")
    other = await asyncio.to_thread(shop.signed_in, "pat")
    peer = await shop.socket(pat.cookies["sessionid"])
    stays = await shop.socket(other.cookies["sessionid"])
    began = time.monotonic()
    leaving = asyncio.create_task(asyncio.to_thread(post, pat, "/accounts/logout/"))
    assert (await peer.closed())[0] == 4508
    assert time.monotonic() - began < 5
    assert (await leaving).status_code in (200, 302)
    assert (await stays.ask(type="ack", epoch=stays.welcome["epoch"], offset=0))["ok"]
    await stays.close()


@pytest.mark.parametrize("shop", ["production"], indirect=True)
async def test_a_second_gateway_on_a_host_of_its_own(shop: OpenShop) -> None:
    """Rule 3: the cookie of a page that CLIENT_ORIGIN names; the user has pages at both."""
    kim = await asyncio.to_thread(shop.signed_in, "kim")
    cookie = kim.cookies["sessionid"]
    with shop.serving("second", **exported(ON_ITS_OWN_HOST), NODE_NAME="second") as (port, _):
        first, second = await shop.socket(cookie), await shop.socket(cookie, port, OWN_HOST)
        await asyncio.to_thread(post, kim, f"/orders/{shop.seed['orders']['kim']}/pay/")
        assert [(await one.receive())["event"] for one in (first, second)] == ["order.paid"] * 2
        with pytest.raises(InvalidStatus):
            await connect(f"ws://127.0.0.1:{port}/ws/client", origin=EVIL, proxy=None)
        await first.close()
        await second.close()


@pytest.mark.parametrize("shop", ["development"], indirect=True)
async def test_the_page_shows_it(shop: OpenShop) -> None:
    """The page's script in a browser, beside daphne's own `runserver`."""
    port = free_port()
    in_the_template(shop.folder, shop.client_port)
    command = "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"
    order = f"http://127.0.0.1:{port}/orders/{shop.seed['orders']['kim']}/"
    url = re.compile(rf"ws://127\.0\.0\.1:{shop.client_port}/ws/client\b")
    welcomed = asyncio.Event()

    def listen(opened: WebSocket) -> None:
        if url.match(opened.url):
            opened.on("framereceived", lambda _: welcomed.set())

    with shop.begun("runserver", shop.server, *command):
        shop.ready("runserver", lambda: listens(port))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=WINDOWLESS, args=FLAGS)
            context = await browser.new_context()
            shown, paying = await context.new_page(), await context.new_page()
            shown.on("websocket", listen)
            await shown.goto(f"http://127.0.0.1:{port}/accounts/login/?next={order}")
            await shown.fill("[name=username]", "kim")
            await shown.fill("[name=password]", "pw")
            await shown.click("button")
            await asyncio.wait_for(welcomed.wait(), PATIENCE)
            await paying.goto(order)
            await paying.click("button")
            news = f"order.paid: order {shop.seed['orders']['kim']}"
            await expect(shown.locator("#news")).to_have_text(news)
            await browser.close()
