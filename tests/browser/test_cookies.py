"""Browsers send a host's cookies to all of its ports (architecture.md, rule 9): what pages can do.

One gateway, and pages of its two ports and of others of its host, and a frame whose origin is null.
Pages run without their policies: what stands here has to hold for pages that have none.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Frame, Page, Request, Response

from tests.acceptance.test_authentication import SIGN_IN
from tests.browser.conftest import Site, example, log_in
from tests.browser.foreign import Foreign, foreign_page
from tests.support.api_server import api_server, status
from tests.support.gateway import API_KEY, JWT_SECRET, WORKER_KEY, running
from tests.support.peers import V1, client_at, worker

OF_ADMIN = {"gateway_admin_session", "gateway_admin_csrf"}
FORBIDDEN, UNAUTHORIZED, NO_HANDSHAKE = 4502, 4501, 1006
FORGED = "f" * 32
"""A CSRF token, in the form that Django gives them."""

# Opens a socket; what came first: a welcome, or the end.
OPEN = """([url, protocols]) => new Promise((resolve) => {
  const socket = new WebSocket(url, protocols);
  socket.onmessage = (event) => { resolve(JSON.parse(event.data)); socket.close(); };
  socket.onclose = (event) => resolve({ code: event.code, reason: event.reason });
})"""

# What a script of the page may know of an answer: its status, or nothing.
FETCH = """([url, options]) => fetch(url, options).then(
  (answer) => answer.status, () => "nothing to read")"""

# The same of a form that a script sends.
POST = """([url, options, fields]) =>
  fetch(url, { ...options, body: new URLSearchParams(fields) }).then(
    (answer) => answer.status, () => "nothing to read")"""

# A frame without an origin: what it asks for has Origin: null.
SANDBOX = """() => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.srcdoc = "<p>nowhere";
  frame.onload = resolve;
  document.body.append(frame);
})"""

# Sends a form away, as a button would; with it goes the page.
SUBMIT = """([url, fields, referrer]) => {
  const meta = document.createElement("meta");
  meta.name = "referrer";
  meta.content = referrer;
  document.head.append(meta);
  const form = document.createElement("form");
  form.method = "POST";
  form.action = url;
  for (const [name, value] of Object.entries(fields)) {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = name;
    field.value = value;
    form.append(field);
  }
  document.body.append(form);
  HTMLFormElement.prototype.submit.call(form);
}"""


@dataclass
class Host:
    """A gateway, and two ports more: `known` is in CLIENT_ORIGIN, `strange` is in no setting."""

    site: Site
    known: Foreign
    strange: Foreign
    staff: list[Any] = field(default_factory=list)
    """The cookies of whoever logged in: to look at a password takes half a second of a core."""

    def pages(self) -> dict[str, str]:
        return {
            "public": self.site.http("/healthz"),
            "private": self.site.http("/healthz", private=True),
            "known": self.known.url(),
            "strange": self.strange.url(),
        }


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with ExitStack() as stack:
        known, strange = (stack.enter_context(foreign_page()) for _ in range(2))
        settings = {"AUTH": "jwt,session", "CLIENT_ORIGIN": known.url().rstrip("/")}
        folder = tmp_path_factory.mktemp("host")
        yield Host(stack.enter_context(example(folder, **settings)), known, strange)


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser) -> AsyncIterator[BrowserContext]:
    yield await browser.new_context(bypass_csp=True)


async def staff(visitor: BrowserContext, host: Host) -> Page:
    """The visitor has signed in at the admin."""
    page = await visitor.new_page()
    await visitor.add_cookies(host.staff)
    if not host.staff:
        await log_in(page, host.site, "/admin/")
        host.staff += [one for one in await visitor.cookies() if one["name"] in OF_ADMIN]
    await page.goto(host.site.http("/admin/", private=True))
    return page


async def at(visitor: BrowserContext, url: str) -> Page:
    page = await visitor.new_page()
    await page.goto(url)
    return page


async def everywhere(visitor: BrowserContext, host: Host) -> dict[str, Page | Frame]:
    """A page of each kind; "nowhere" is the frame whose origin is null."""
    pages: dict[str, Page | Frame] = {
        whose: await at(visitor, url) for whose, url in host.pages().items()
    }
    around = await at(visitor, host.known.url())
    await around.evaluate(SANDBOX)
    return pages | {"nowhere": around.frames[1]}


async def opened(page: Page | Frame, port: int, path: str = "/", token: str = "") -> dict[str, Any]:
    """The first frame of a socket that the page opens, or `code` and `reason` of its end."""
    protocols = [V1, *([f"gateway.bearer.{token}"] if token else [])]
    url = f"ws://127.0.0.1:{port}{path}"
    found: dict[str, Any] = await page.evaluate(OPEN, [url, protocols])
    return found


def token(user: str) -> str:
    now = int(time.time())
    return jwt.encode({"sub": user, "iat": now, "exp": now + 3_600}, JWT_SECRET, algorithm="HS256")


def names(cookies: str) -> set[str]:
    return set(SimpleCookie(cookies))


async def test_no_page_opens_the_worker_socket(host: Host, visitor: BrowserContext) -> None:
    """Not even one that has a worker's key, in the browser of staff."""
    await staff(visitor, host)
    pages = await everywhere(visitor, host)
    reason = "the worker socket is not for browsers"
    before = host.site.log().count(reason)
    for path in ("/", "/ws/worker/"):
        for key in ("", WORKER_KEY):
            for whose, page in pages.items():
                end = await opened(page, host.site.worker_port, path, key)
                assert end == {"code": FORBIDDEN, "reason": reason}, whose
    assert host.site.log().count(reason) == before + 4 * len(pages), "the audit log has them"
    program = await worker(host.site)
    assert program.welcome["type"] == "welcome", "the key is good"
    await program.close()


async def test_pages_that_are_not_listed_open_no_client_socket(
    host: Host, visitor: BrowserContext
) -> None:
    """Though they have a token."""
    got = {}
    for whose, page in (await everywhere(visitor, host)).items():
        answer = await opened(page, host.site.client_port, token=token("42"))
        got[whose] = answer.get("user") or answer["code"]
    assert got == {
        "public": "42",
        "known": "42",
        "private": NO_HANDSHAKE,
        "strange": NO_HANDSHAKE,
        "nowhere": NO_HANDSHAKE,
    }


async def test_the_admins_cookies_reach_the_admin_and_nothing_else(
    host: Host, visitor: BrowserContext
) -> None:
    sent: list[Request] = []
    visitor.on("request", lambda request: sent.append(request))
    demo = await at(visitor, host.site.http("/demo/"))
    page = await visitor.new_page()
    await log_in(page, host.site, "/admin/")
    for path in ("/admin/sockets/session/", "/api/v1/docs", "/healthz"):
        await page.goto(host.site.http(path, private=True))
    await demo.reload()

    seen: dict[str, set[str]] = {}
    for request in sent:
        url = urlsplit(request.url)
        place = "admin" if url.path.startswith("/admin/") else "demo"
        if not url.path.startswith(("/admin/", "/demo/")):
            place = "elsewhere"
        surface = "public" if url.port == host.site.client_port else "private"
        cookies = names((await request.all_headers()).get("cookie", ""))
        seen.setdefault(f"{surface} {place}", set()).update(cookies)
    assert seen == {
        "public demo": {"demo_visitor"},
        "public elsewhere": set(),
        "private admin": OF_ADMIN,
        "private elsewhere": set(),
    }
    for cookie in await visitor.cookies():
        assert cookie["path"] == ("/admin/" if cookie["name"] in OF_ADMIN else "/demo/")
        assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"


async def test_what_another_port_of_the_host_is_sent(host: Host, visitor: BrowserContext) -> None:
    """As the public port would: there a path is all that parts cookies."""
    await at(visitor, host.site.http("/demo/"))
    await staff(visitor, host)
    page = await at(visitor, host.strange.url())
    got = {}
    for path in ("", "ws/client/", "ws/worker/", "api/v1/nodes", "demo/", "admin/"):
        host.strange.cookies.clear()
        await page.goto(host.strange.url() + path)
        got[path] = names(host.strange.cookies[0])
        host.strange.cookies.clear()
        await page.evaluate(OPEN, [host.strange.url().replace("http", "ws") + path, []])
        assert names(host.strange.cookies[0]) == got[path], "a handshake has them too"
    # The last is why production wants another host name for the admin.
    assert got.pop("admin/") == OF_ADMIN
    assert got.pop("demo/") == {"demo_visitor"}
    assert not any(got.values())
    assert await page.evaluate("document.cookie") == "", "and no script reads them"


async def test_the_admins_cookie_is_nothing_to_sockets_and_the_api(
    host: Host, visitor: BrowserContext
) -> None:
    """Not where a browser sends it, and not where it was made to send it."""
    page = await staff(visitor, host)
    (session,) = [c for c in await visitor.cookies() if c["name"] == "gateway_admin_session"]
    public = await at(visitor, host.site.http("/healthz"))
    nodes = host.site.http("/api/v1/nodes", private=True)
    with_cookies: dict[str, Any] = {"credentials": "include"}
    for wide in (False, True):
        if wide:
            value = session["value"]
            await visitor.add_cookies(
                [{"name": session["name"], "value": value, "domain": "127.0.0.1", "path": "/"}]
            )
        assert (await opened(public, host.site.client_port))["code"] == UNAUTHORIZED
        assert (await opened(page, host.site.worker_port))["code"] == FORBIDDEN
        assert await page.evaluate(FETCH, [nodes, with_cookies]) == 401
    with_key = {"headers": {"Authorization": f"Bearer {API_KEY}"}}
    assert await page.evaluate(FETCH, [nodes, with_key]) == 200
    assert await public.evaluate(FETCH, [nodes, with_key]) == "nothing to read"


@pytest.mark.parametrize("whose", ["public", "known", "strange"])
async def test_no_other_page_acts_in_the_admin(
    host: Host, visitor: BrowserContext, whose: str
) -> None:
    """The browser sends the cookie of staff, and a CSRF token that the page has planted."""
    bearer = f"gateway.bearer.{token('victim')}"
    target = await client_at(host.site.client_url(), subprotocols=[V1, bearer])
    await staff(visitor, host)
    page = await at(visitor, host.pages()[whose])
    await page.evaluate(f"document.cookie = 'gateway_admin_csrf={FORGED}; path=/'")
    url = host.site.http("/admin/sockets/livesession/disconnect/", private=True)
    form = {
        "session": target.welcome["session"],
        "asked": "1",
        "code": "4504",
        "reason": "by another page",
        "csrfmiddlewaretoken": FORGED,
    }
    assert await page.evaluate(FETCH, [url, {"credentials": "include"}]) == "nothing to read"

    blind = {"credentials": "include", "method": "POST", "mode": "no-cors"}
    wire = await visitor.new_cdp_session(page)  # what a page must not see: headers and status
    sent: asyncio.Queue[Any] = asyncio.Queue()
    came: asyncio.Queue[Any] = asyncio.Queue()
    wire.on("Network.requestWillBeSentExtraInfo", sent.put_nowait)
    wire.on("Network.responseReceivedExtraInfo", came.put_nowait)
    await wire.send("Network.enable")
    assert await page.evaluate(POST, [url, blind, form]) == "nothing to read"
    async with asyncio.timeout(60):
        headers = (await sent.get())["headers"]
        as_staff({name.lower(): value for name, value in headers.items()}, origin_of(page))
        assert (await came.get())["statusCode"] == 403
    for referrer, origin in (("unsafe-url", origin_of(page)), ("no-referrer", "null")):
        tab = await at(visitor, host.pages()[whose])
        async with tab.expect_response(url) as answer:
            await tab.evaluate(SUBMIT, [url, form, referrer])
        response: Response = await answer.value
        assert response.status == 403
        as_staff(await response.request.all_headers(), origin)
    assert (await target.ask(type="sessions"))["ok"], "nobody has disconnected it"

    # The same request, said to come from the admin's own page: the Origin was all that it lacked.
    own = {"Origin": host.site.http("", private=True)}
    done = await visitor.request.post(url, form=form, headers=own)
    assert done.ok
    assert (await target.closed())[0] == 4504


def as_staff(headers: dict[str, str], origin: str) -> None:
    """The browser sent the cookies of staff with it, and whose page it was."""
    assert headers["origin"] == origin
    assert headers["cookie"].count("gateway_admin_csrf=") == 2
    assert names(headers["cookie"]) == OF_ADMIN


def origin_of(page: Page) -> str:
    url = urlsplit(page.url)
    return f"{url.scheme}://{url.netloc}"


async def test_a_session_counts_on_pages_of_the_sockets_own_origin_only(
    host: Host, visitor: BrowserContext
) -> None:
    """AUTH=session, with a cookie that reaches every port and path."""
    made = host.site.manage("shell", "--no-imports", "-c", SIGN_IN).stdout.split()
    user, key = made[-2:]
    await visitor.add_cookies(
        [{"name": "sessionid", "value": key, "domain": "127.0.0.1", "path": "/"}]
    )
    got = {}
    for whose, page in (await everywhere(visitor, host)).items():
        answer = await opened(page, host.site.client_port)
        got[whose] = answer.get("user") or (answer["code"], answer["reason"][:22])
    nothing = (NO_HANDSHAKE, "")
    assert got == {
        "public": user,
        "known": (UNAUTHORIZED, "a cookie counts only o"),
        "private": nothing,
        "strange": nothing,
        "nowhere": nothing,
    }
    # The page that is listed proves itself by a token, and the cookie is in nobody's way.
    known = await at(visitor, host.known.url())
    assert (await opened(known, host.site.client_port, token=token("9")))["user"] == "9"
    # At the admin it is nobody.
    page = await at(visitor, host.site.http("/admin/", private=True))
    assert urlsplit(page.url).path == "/admin/login/"


async def test_cookies_are_shown_to_the_api_server_from_the_sockets_own_origin_only(
    host: Host, visitor: BrowserContext, tmp_path: Path
) -> None:
    """AUTH=proxy."""
    await visitor.add_cookies(
        [{"name": "platform", "value": "s", "domain": "127.0.0.1", "path": "/"}]
    )
    async with api_server() as platform:
        platform.answer = status(200, body=json.dumps({"user": "7"}).encode())
        settings = {
            "AUTH": "proxy",
            "API_SERVER_URL": f"http://127.0.0.1:{platform.port}",
            "AUTH_PROXY_CACHE": "0",
            "CLIENT_ORIGIN": host.known.url().rstrip("/"),
        }
        with running(tmp_path / "data", **settings) as gateway:
            page = await at(visitor, gateway.http("/healthz"))
            assert (await opened(page, gateway.client_port))["user"] == "7"
            (asked,) = platform.requests
            assert names(asked.headers["cookie"]) == {"platform"}
            page = await at(visitor, host.known.url())
            assert (await opened(page, gateway.client_port))["code"] == UNAUTHORIZED
            page = await at(visitor, gateway.http("/healthz", private=True))
            assert (await opened(page, gateway.client_port))["code"] == NO_HANDSHAKE
            assert platform.requests == [asked], "no more questions"
