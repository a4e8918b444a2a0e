"""The policies of the pages in Chromium: nothing they need is forbidden, and inline script is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, expect

from tests.browser.conftest import ADMIN, Site, log_in
from tests.browser.foreign import foreign_page
from tests.browser.picture import take_picture
from tests.browser.tab import Tab
from tests.browser.watch import Watch
from tests.support.doubles import until
from tests.support.gateway import API_KEY

INJECT = """() => new Promise((resolve) => {
  document.addEventListener("securitypolicyviolation", (event) =>
    resolve(event.effectiveDirective), { once: true });
  const script = document.createElement("script");
  script.textContent = "window.injected = true";
  document.head.append(script);
  setTimeout(() => resolve("nothing"), 2000);
})"""

FORBIDDEN = re.compile("frame-ancestors|X-Frame-Options")
FRAME = """(url) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.onload = resolve;
  frame.src = url;
  document.body.append(frame);
})"""


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser) -> AsyncIterator[tuple[BrowserContext, Watch]]:
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    yield context, await Watch.over(context)


async def test_the_admin_works_under_its_policy(
    site: Site, visitor: tuple[BrowserContext, Watch]
) -> None:
    context, watch = visitor
    tab = await Tab.open(context, site)
    page = await context.new_page()
    await log_in(page, site, "/admin/sockets/session/")
    row = page.locator("#result_list tr").filter(has_text=tab.client_id)
    while not await row.count():  # rows are written in batches
        await page.reload()
    colour = "el => getComputedStyle(el).backgroundColor"
    badge = row.locator(".gateway-badge.good")
    assert await badge.evaluate(colour) != "rgba(0, 0, 0, 0)"

    await row.get_by_role("checkbox").check()
    await page.select_option("select[name=action]", "disconnect")
    await page.click("[name=index]")
    await page.click(".gateway-form [type=submit]")
    await expect(page.locator(".messagelist")).to_contain_text("1")
    await expect(tab.page.locator("#status")).not_to_have_attribute("data-state", "online")

    for path in (
        "/admin/",
        "/admin/sockets/node/",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/auth/group/add/",
        "/admin/password_change/",
    ):
        answer = await page.goto(site.http(path, private=True))
        assert answer is not None and answer.status == 200, path
    await page.goto(site.http("/admin/auth/user/", private=True))
    await page.locator("#result_list").get_by_role("link", name=ADMIN, exact=True).click()
    await page.fill("#id_first_name", "Chief")
    await page.click("[name=_continue]")
    await expect(page.locator(".messagelist .success")).to_be_visible()
    await page.click(".historylink")
    await expect(page.locator("#change-history")).to_contain_text("First name")
    await page.goto(site.http("/admin/sockets/session/?state=all", private=True))
    await page.locator("#result_list .field-id a, #result_list tbody a").first.click()
    await expect(page.locator("#content h1")).to_contain_text("View")
    await page.click(".theme-toggle")
    await page.click("#logout-form button")
    await expect(page.locator("#content")).to_contain_text("Logged out")
    assert watch.complaints == []


# Open all operations, or the first of each method, one at a time: Swagger reads the whole document
# anew for each. Gives the methods of those that were, and what was open before counts.
OPERATIONS = """async (all) => {
  const drawn = () => new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
  const method = (operation) => operation.querySelector(".opblock-summary-method").textContent;
  const opened = all ? [] : [...document.querySelectorAll(".opblock.is-open")].map(method);
  for (const operation of document.querySelectorAll(".opblock")) {
    if (!all && opened.includes(method(operation))) continue;
    const control = operation.querySelector(".opblock-summary-control");
    if (control.getAttribute("aria-expanded") === "false") control.click();
    while (control.getAttribute("aria-expanded") !== "true") await drawn();
    for (const button of operation.querySelectorAll(".try-out__btn")) button.click();
    await drawn();
    control.click();
    while (control.getAttribute("aria-expanded") !== "false") await drawn();
    opened.push(method(operation));
  }
  return opened;
}"""


@pytest.mark.parametrize("all", [False, pytest.param(True, marks=pytest.mark.soak)])
async def test_the_api_page_works_under_its_policy(
    site: Site, visitor: tuple[BrowserContext, Watch], all: bool
) -> None:
    context, watch = visitor
    page = await context.new_page()
    await page.goto(site.http("/api/v1/docs", private=True))
    await page.click(".btn.authorize")
    await page.fill(".auth-container input", API_KEY)
    await page.click(".auth-btn-wrapper .authorize")
    await page.click(".auth-btn-wrapper .btn-done")
    operation = page.locator(".opblock").filter(has_text="List the live gateway processes")
    await operation.locator(".opblock-summary-control").click()
    await operation.locator(".try-out__btn").click()
    await operation.locator(".execute").click()
    answer = operation.locator(".live-responses-table .response")
    await expect(answer.locator(".response-col_status")).to_contain_text("200")
    await expect(answer).to_contain_text("test-node")
    methods = await page.evaluate(OPERATIONS, all)
    assert set(methods) == {"DELETE", "GET", "POST", "PUT"}
    assert len(methods) >= 30 if all else len(methods) == 4
    await page.locator(".models-control, section.models button").first.click()
    assert watch.complaints == []


async def test_the_demo_works_under_its_policy(
    site: Site, visitor: tuple[BrowserContext, Watch]
) -> None:
    context, watch = visitor
    tab = await Tab.open(context, site)
    assert watch.complaints == []
    assert await tab.page.evaluate(INJECT) == "script-src-elem"


async def test_inline_script_does_not_run(
    site: Site, visitor: tuple[BrowserContext, Watch]
) -> None:
    context, _ = visitor
    page = await context.new_page()
    for path in ("/admin/login/", "/api/v1/docs", "/healthz"):
        await page.goto(site.http(path, private=True))
        assert await page.evaluate(INJECT) == "script-src-elem", path
        assert not await page.evaluate("window.injected"), path


async def test_no_page_can_be_framed(site: Site, visitor: tuple[BrowserContext, Watch]) -> None:
    context, watch = visitor
    page = await context.new_page()
    with foreign_page() as foreign:
        for private, path in ((True, "/admin/login/"), (True, "/api/v1/docs"), (False, "/demo/")):
            await page.goto(foreign.url())
            watch.complaints.clear()
            await page.evaluate(FRAME, site.http(path, private=private))
            (framed,) = page.frames[1:]
            # Chromium tells of both in its own time.
            await until(lambda: framed.url.startswith("chrome-error:"))  # noqa: B023
            await until(lambda: any(map(FORBIDDEN.search, watch.complaints)))


async def test_a_key_is_made_and_ended_under_the_policy(
    site: Site, visitor: tuple[BrowserContext, Watch], shots: Path
) -> None:
    context, watch = visitor
    page = await context.new_page()
    await log_in(page, site, "/admin/sockets/accesskey/")
    await page.click(".object-tools a")
    await page.fill("#id_name", "shop")
    await page.check("input[name=plain][value=notify]")
    await page.fill("#id_pools", "image.convert")
    await take_picture(page, shots / "admin-key-add.png")
    await page.click("[name=_save]")
    secret = await page.locator(".gateway-secret").inner_text()
    assert re.fullmatch(r"gw_[a-z2-7]{8}_[\w-]{43}", secret)
    await take_picture(page, shots / "admin-key-made.png")
    answer = await context.request.post(
        site.http("/api/v1/users/42/messages", private=True),
        data={"event": "e"},
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert answer.status == 200, "it counts at once"
    await page.get_by_role("link", name="To the keys").click()
    row = page.locator("#result_list tr").filter(has_text="shop")
    await expect(row.locator(".gateway-badge.good")).to_have_text("live")
    await take_picture(page, shots / "admin-keys.png")
    await row.get_by_role("checkbox").check()
    await page.select_option("select[name=action]", "end")
    await page.click("[name=index]")
    await expect(page.locator(".messagelist")).to_contain_text("1 key has ended")
    await expect(row.locator(".gateway-badge.quiet")).to_have_text("ended")
    assert secret not in await page.content()
    assert watch.complaints == []
