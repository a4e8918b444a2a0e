"""ARCHITECTURE rule 11 in Chromium: cookies know no ports, so that they alone prove nothing.

Two ports of one host, and a page of a third.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.acceptance.conftest import SHORT
from tests.acceptance.gateway import running
from tests.acceptance.test_authentication import SIGN_IN
from tests.browser.conftest import ADMIN, PASSWORD, Site
from tests.browser.foreign import Foreign, foreign_page
from tests.browser.tab import Tab

SOCKET = """(url) => new Promise((resolve) => {
  const socket = new WebSocket(url, ["gateway.v1"]);
  socket.onmessage = (event) => {
    const frame = JSON.parse(event.data);
    if (frame.type === "welcome") resolve({ user: frame.user ?? "a worker" });
  };
  socket.onclose = (event) => resolve({ code: event.code, reason: event.reason });
})"""

FETCH = """async ([url, method, body]) => {
  try {
    const answer = await fetch(url, { method, body, credentials: "include" });
    return { status: answer.status, text: await answer.text() };
  } catch (error) {
    return { error: error.name };
  }
}"""

FORM = """([url, fields]) => {
  const form = document.createElement("form");
  form.method = "post";
  form.action = url;
  for (const [name, value] of fields) {
    const input = document.createElement("input");
    input.name = name;
    input.value = value;
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}"""


async def signed_in(browser: Browser, site: Site) -> tuple[BrowserContext, Page]:
    """Staff, at the private port."""
    # Not the policies are asked here, but what cookies would allow without them.
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    await page.goto(site.http("/admin/login/?next=/admin/", private=True))
    await page.fill("#id_username", ADMIN)
    await page.fill("#id_password", PASSWORD)
    await page.click("[type=submit]")
    await page.wait_for_url("**/admin/")
    return context, page


async def pages(context: BrowserContext, site: Site, foreign: Foreign) -> list[Page]:
    """Of the public port, and of a third one of this host."""
    found = []
    for url in (site.http("/healthz"), foreign.url()):
        page = await context.new_page()
        await page.goto(url)
        found.append(page)
    return found


async def test_the_admins_cookies_have_names_and_a_path_of_their_own(
    site: Site, browser: Browser
) -> None:
    context, _ = await signed_in(browser, site)
    cookies = await context.cookies()
    assert {cookie["name"] for cookie in cookies} == {"gateway_admin_session", "gateway_admin_csrf"}
    for cookie in cookies:
        assert (cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == ("/admin/", True, "Lax")
    with foreign_page() as foreign:
        page = await context.new_page()
        await page.goto(foreign.url())
        assert foreign.cookies == [""], "no other path of the host gets them"
        await page.goto(f"{foreign.url()}admin/")
        # That is the browsers' rule. Check W003 asks for a host name of its own.
        assert "gateway_admin_session=" in foreign.cookies[-1]


async def test_the_public_port_sets_no_cookie_but_the_examples_own(
    site: Site, browser: Browser
) -> None:
    context = await browser.new_context()
    await Tab.open(context, site)
    for path in ("/healthz", "/gateway.js", "/none", "/admin/"):
        await (await context.new_page()).goto(site.http(path))
    found = [(cookie["name"], cookie["path"]) for cookie in await context.cookies()]
    assert found == [("demo_visitor", "/demo/")]


async def test_no_page_opens_the_worker_socket(site: Site, browser: Browser) -> None:
    context, admin = await signed_in(browser, site)
    with foreign_page() as foreign:
        for page in (*await pages(context, site, foreign), admin):
            for path in ("/", "/ws/worker/"):
                url = f"ws://127.0.0.1:{site.worker_port}{path}"
                answer = await page.evaluate(SOCKET, url)
                assert answer == {"code": 4502, "reason": "the worker socket is not for browsers"}


async def test_a_page_of_another_port_opens_no_client_socket(site: Site, browser: Browser) -> None:
    context, admin = await signed_in(browser, site)
    url = f"ws://127.0.0.1:{site.client_port}/?user_id=42"
    with foreign_page() as foreign:
        own, other = await pages(context, site, foreign)
        assert await own.evaluate(SOCKET, url) == {"user": "42"}
        for page in (other, admin):
            assert (await page.evaluate(SOCKET, url))["code"] == 1006  # 403 before the handshake


async def test_the_admins_cookie_is_no_key_of_the_api(site: Site, browser: Browser) -> None:
    context, admin = await signed_in(browser, site)
    url = site.http("/api/v1/nodes", private=True)
    assert (await admin.evaluate(FETCH, [url, "GET", None]))["status"] == 401
    body = json.dumps({"event": "e"})
    target = site.http("/api/v1/users/42/messages", private=True)
    assert (await admin.evaluate(FETCH, [target, "POST", body]))["status"] == 401
    with foreign_page() as foreign:
        for page in await pages(context, site, foreign):
            for asked in ([url, "GET", None], [target, "POST", body]):
                assert await page.evaluate(FETCH, asked) == {"error": "TypeError"}


async def test_no_page_of_another_port_acts_in_the_admin(site: Site, browser: Browser) -> None:
    context, admin = await signed_in(browser, site)
    tab = await Tab.open(await browser.new_context(), site)
    await admin.goto(site.http("/admin/sockets/session/", private=True))
    row = admin.locator("#result_list tr").filter(has_text=tab.client_id)
    while not await row.count():  # rows are written in batches
        await admin.reload()
    session = await row.locator("[name=_selected_action]").get_attribute("value")
    target = site.http("/admin/sockets/session/", private=True)
    fields = [("action", "disconnect"), ("_selected_action", session), ("index", "0")]
    with foreign_page() as foreign:
        for page in await pages(context, site, foreign):
            assert await page.evaluate(FETCH, [target, "GET", None]) == {"error": "TypeError"}
            async with page.expect_navigation() as navigation:
                await page.evaluate(FORM, [target, fields])
            answer = await navigation.value
            assert answer is not None and answer.status == 403
            # Django sees the cookie, for it is one site to the browser; CSRF stops it.
            assert "gateway_admin_session=" in (await answer.request.all_headers())["cookie"]
    await expect(tab.page.locator("#status")).to_have_attribute("data-state", "online")


async def test_a_session_cookie_counts_on_its_own_origin_only(
    tmp_path: Path, browser: Browser
) -> None:
    with foreign_page() as foreign:
        allowed = foreign.url().removesuffix("/")
        more = SHORT | {"AUTH": "session", "CLIENT_ORIGIN": allowed}
        with running(tmp_path / "data", **more) as gateway:
            made = gateway.manage("shell", "--no-imports", "-c", SIGN_IN).stdout.split()
            user, key = made[-2:]
            context = await browser.new_context(bypass_csp=True)
            cookie: Any = {"name": "sessionid", "value": key, "domain": "127.0.0.1", "path": "/"}
            await context.add_cookies([cookie])
            url = f"ws://127.0.0.1:{gateway.client_port}/"
            page = await context.new_page()
            await page.goto(gateway.http("/healthz"))
            assert await page.evaluate(SOCKET, url) == {"user": user}
            # A page that may connect with a token may not with the cookie that it has as well.
            await page.goto(foreign.url())
            assert f"sessionid={key}" in foreign.cookies[-1]
            answer = await page.evaluate(SOCKET, url)
            assert answer["code"] == 4501 and "pages of this origin" in answer["reason"]
            await context.close()
