"""What the examples' pages do on `reset`, with the kit that a project tests its own pages with."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, Page, expect

from sockets.testing.live import LiveGateway
from tests.browser.pictures import photo


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    folder, secret = tmp_path_factory.mktemp("live"), "only-for-tests-" * 3
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("DEMO", "true"), ("JWT_SECRET", secret)):  # of this project's settings
            patch.setenv(name, value)
        with LiveGateway(folder, demo=True, auth=["jwt"], jwt_secret=secret) as running:
            yield running


def url(gateway: LiveGateway, path: str) -> str:
    return f"http://127.0.0.1:{gateway.client_port}/demo/{path}"


async def lose_the_streams(page: Page, gateway: LiveGateway) -> None:
    """End it as kill -9 does while the page is offline: in memory mode its streams are gone."""
    await page.context.set_offline(True)
    gateway.kill()
    gateway.start()


async def test_the_converter_loads_what_no_message_would_tell(
    gateway: LiveGateway, browser: Browser
) -> None:
    page = await browser.new_page()
    await page.goto(url(gateway, ""))
    await expect(page.locator("#status")).to_contain_text("Live")
    await lose_the_streams(page, gateway)
    await expect(page.locator("#status")).not_to_contain_text("Live")
    made = await page.context.request.post(
        url(gateway, "jobs?format=webp&name=meanwhile.png"),
        data=photo(40, 30, "PNG"),
        headers={"Content-Type": "application/octet-stream", "Origin": url(gateway, "")[:-6]},
    )
    assert made.status == 202, await made.text()
    await page.context.set_offline(False)
    row = page.locator("#jobs li", has_text="meanwhile.png")
    await expect(row).to_be_visible()
    # From there on it follows the new stream.
    id = (await made.json())["id"]
    done = await page.context.request.post(
        url(gateway, f"jobs/{id}/cancel"), headers={"Origin": url(gateway, "")[:-6]}
    )
    assert done.ok, await done.text()
    await expect(row).to_contain_text("Cancelled")
    await page.context.close()


async def test_the_bell_s_page_is_loaded_anew(gateway: LiveGateway, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(url(gateway, "bell/"))
    await expect(page).to_have_title(re.compile("online"))
    await page.click("button")
    await expect(page.locator("output")).to_have_text("1")
    await lose_the_streams(page, gateway)
    async with page.expect_navigation(timeout=20_000):
        await page.context.set_offline(False)
    await expect(page.locator("output")).to_have_text("0")
    await page.context.close()
