"""The admin as staff use it: pages that fit, and what *Disconnect* leaves on them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import websockets
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Site, example, log_in
from tests.browser.picture import take_picture
from tests.support.gateway import wait_for
from tests.support.patience import PATIENCE

LIST = "/admin/sockets/session/"
CONFIRM = ".gateway-form [type=submit]"
ROWS = "#result_list tbody tr"
LIVE = "/admin/sockets/livesession/"
LIVE_ROWS = "#part-sessions tbody tr"
MOMENT = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0545$")
LONG_NODE = "a-node-with-a-name-of-64-characters-" + "n" * 28


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("admin")
    with example(folder, TIME_ZONE="Asia/Kathmandu", NODE_NAME=LONG_NODE) as gateway:
        yield gateway


async def connect(site: Site, stack: AsyncExitStack, *users: str) -> None:
    """Connect these users; returns when the list has them."""
    for user in users:
        await stack.enter_async_context(websockets.connect(site.client_url(user_id=user)))
    wait_for(lambda: {row["user"] for row in site.rows()} >= set(users), "the rows to be written")


_logins: dict[Site, list[Any]] = {}
"""The cookies of staff at each site: to look at a password takes half a second of a core."""


async def opened(browser: Browser, site: Site, path: str, width: int, scheme: str) -> Page:
    """Staff at this page; whoever has logged in at this site once is known there from then on."""
    context = await browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    await context.add_cookies(_logins.get(site, []))
    page = await context.new_page()
    if site not in _logins:
        await log_in(page, site, "/admin/")
        _logins[site] = await context.cookies()
    await page.goto(site.http(path, private=True))
    return page


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        (1024, "dark"),
        (768, "light"),
        (390, "dark"),
        pytest.param(1280, "dark", marks=pytest.mark.soak),
        pytest.param(1024, "light", marks=pytest.mark.soak),
        pytest.param(768, "dark", marks=pytest.mark.soak),
        pytest.param(390, "light", marks=pytest.mark.soak),
    ],
)
async def test_the_list_is_no_wider_than_the_page(
    width: int, scheme: str, browser: Browser, site: Site, shots: Path
) -> None:
    async with AsyncExitStack() as stack:
        await connect(site, stack, f"long-{width}-{scheme}-" + "w" * 200, f"{width}@{scheme}.test")
        page = await opened(browser, site, LIST, width, scheme)
        await take_picture(page, shots / f"admin-{width}-{scheme}.png")
        for part in ("document.documentElement", "document.querySelector('#changelist .results')"):
            found = await page.evaluate(f"(e => [e.scrollWidth, e.clientWidth])({part})")
            assert found[0] <= found[1], part
        moment = page.locator(f"{ROWS} td.field-connected_shown").first
        await expect(moment).to_have_text(MOMENT)


async def test_no_row_says_live_after_the_action(browser: Browser, site: Site) -> None:
    async with AsyncExitStack() as stack:
        await connect(site, stack, *[f"one-of-fifty-{number}" for number in range(50)])
        page = await opened(browser, site, f"{LIST}?q=one-of-fifty&state=live", 1280, "light")
        await expect(page.locator(ROWS)).to_have_count(50)
        await page.check("#action-toggle")
        await page.select_option("select[name=action]", "disconnect")
        await page.click("button[name=index]")
        await expect(page.locator(".gateway-affected")).to_have_text("This concerns 50 sessions.")
        await page.click(CONFIRM)
        told = page.locator(".messagelist")
        await expect(told).to_contain_text("50 sessions were disconnected.", timeout=20_000)
        await page.goto(site.http(f"{LIST}?q=one-of-fifty&state=all", private=True))
        await all_end(page, f"{ROWS} .gateway-badge", 50)


async def all_end(page: Page, badges: str, count: int) -> None:
    """None of them says live, not once; and all say at last that they have ended."""
    async with asyncio.timeout(PATIENCE):
        while (said := await page.locator(badges).all_inner_texts()) != ["ended"] * count:
            assert len(said) == count and set(said) <= {"closing", "ended"}, said
            await page.reload()  # rows that are not written yet are shown as closing


async def test_a_sessions_own_page_ends_it(browser: Browser, site: Site, shots: Path) -> None:
    async with AsyncExitStack() as stack:
        await connect(site, stack, "to-be-ended")
        page = await opened(browser, site, f"{LIST}?q=to-be-ended", 1280, "dark")
        await page.click(f"{ROWS} .field-state a")
        button = page.get_by_role("link", name="Disconnect…")
        await take_picture(page, shots / "admin-session.png")
        await button.click()
        await page.click(CONFIRM)
        told = page.locator(".messagelist")
        await expect(told).to_contain_text("1 session was disconnected.", timeout=20_000)
        await all_end(page, ".gateway-badge", 1)
        await expect(button).to_have_count(0)
        assert "View site" not in await page.locator("#header").inner_text()
    ended = [line for line in site.log().splitlines() if "disconnected" in line]
    assert "gateway.audit" in ended[-1] and "'by': 'staff:staff'" in ended[-1]


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Site]:
    with example(tmp_path / "forgetful", SESSION_HISTORY="false") as gateway:
        yield gateway


async def test_the_list_without_history(browser: Browser, forgetful: Site, shots: Path) -> None:
    """What is live, in a page that fits, and disconnected from there; nothing leads to rows."""
    site, long = forgetful, "w" * 200
    async with AsyncExitStack() as stack:
        for name in ("kim@live.test", long):
            await stack.enter_async_context(websockets.connect(site.client_url(user_id=name)))
        page = await opened(browser, site, LIVE, 1200, "light")
        await expect(page.locator("#content")).to_contain_text("No history is kept")
        await expect(page.locator(LIVE_ROWS)).to_have_count(2)
        assert await page.locator("a[href*='/sockets/session/']").count() == 0
        for width in (1200, 390):
            await page.set_viewport_size({"width": width, "height": 900})
            await take_picture(page, shots / f"admin-live-{width}.png")
            for part in ("html", "#part-sessions .gateway-scroll"):
                one = page.locator(part)
                assert await one.evaluate("(e) => e.scrollWidth <= e.clientWidth"), (part, width)
        await page.locator(LIVE_ROWS).filter(has_text="kim@live.test").locator("input").check()
        await page.locator("#gateway-chosen .gateway-actions button").click()
        await expect(page.locator(".gateway-affected")).to_have_text("This concerns 1 session.")
        await page.click(CONFIRM)
        told = page.locator(".messagelist")
        await expect(told).to_contain_text("1 session was disconnected.")
        await expect(page.locator(LIVE_ROWS)).to_have_count(1)
        await page.goto(site.http("/admin/sockets/gatewayuser/?user=kim@live.test", private=True))
        await expect(page.locator("#part-sessions [data-empty]")).to_be_visible()
        assert await page.locator("#part-visits").count() == 0
        await page.goto(site.http("/admin/sockets/node/", private=True))
        await expect(page.locator(ROWS)).to_have_count(1)
    assert site.rows() == []
