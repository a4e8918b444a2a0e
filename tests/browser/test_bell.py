"""The bell: the smallest example, in two tabs of one visitor and one of another."""

from __future__ import annotations

import re

from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import Site


async def opened(context: BrowserContext, site: Site) -> Page:
    page = await context.new_page()
    await page.goto(site.http("/demo/bell/"))
    await expect(page).to_have_title(re.compile("online"))
    return page


async def test_it_rings_in_every_tab_of_the_visitor(site: Site, browser: Browser) -> None:
    own, other = await browser.new_context(), await browser.new_context()
    first, second, stranger = [await opened(one, site) for one in (own, own, other)]
    await first.click("button")
    await second.click("button")
    name = (await first.title()).partition(":")[0]
    for page in (first, second):
        await expect(page.locator("output")).to_have_text("2")
    await first.click("button")
    await expect(second.locator("p")).to_have_text(f"{name} rang")
    await expect(stranger.locator("output")).to_have_text("0")
