"""The example as visitors see it: real browser, real gateway, real worker."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Browser, expect

from tests.acceptance.gateway import Gateway
from tests.browser.conftest import ADMIN, PASSWORD
from tests.browser.tab import Tab

WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 390, "height": 844}


def photo(width: int = 1600, height: int = 1200, format: str = "PNG") -> bytes:
    """Something that takes a while to read, convert and write."""
    picture = Image.linear_gradient("L").resize((width, height))
    grain = Image.effect_noise((width, height), 40)
    out = BytesIO()
    Image.merge("RGB", (picture, grain, picture.rotate(180))).save(out, format)
    return out.getvalue()


async def test_every_tab_of_a_user_follows_and_nobody_else(
    site: Gateway, browser: Browser, shots: Path
) -> None:
    kim, lee = await browser.new_context(viewport=WIDE), await browser.new_context(viewport=WIDE)
    first, second = await Tab.open(kim, site), await Tab.open(kim, site)
    stranger = await Tab.open(lee, site)
    await expect(first.page.locator("#status")).to_have_text("Live in 2 tabs")

    await first.upload(("holiday.png", photo()))
    for tab in (first, second):
        await tab.becomes("holiday.png", "done")
        said = await tab.said()
        for step in ("Reading", "Converting to WebP", "Writing", "PNG"):
            assert any(line.startswith(f"holiday.png: {step}") for line in said), said

    heard = [[(m["event"], m["data"]["rev"]) for m in tab.messages] for tab in (first, second)]
    assert heard[0] == heard[1]
    assert sorted({event for event, _ in heard[0]}) == ["job.done", "job.progress", "job.queued"]
    reading = [m["data"]["percent"] for m in second.messages if m["data"]["step"] == "reading"]
    assert reading == sorted(reading)

    name, made = await second.download("holiday.png")
    assert (name, made.format, made.size) == ("holiday.webp", "WEBP", (1600, 1200))

    assert stranger.messages == []
    await expect(stranger.page.locator("#empty")).to_be_visible()
    link = await second.row("holiday.png").get_by_role("link").get_attribute("href")
    response = await stranger.page.request.get(site.http(f"/demo/{link}"))
    assert response.status == 404

    await admin_shows(browser, site, {first.client_id, second.client_id, stranger.client_id}, shots)
    assert first.errors == second.errors == stranger.errors == []


async def admin_shows(browser: Browser, site: Gateway, client_ids: set[str], shots: Path) -> None:
    """Staff see these sessions as live, and the worker's."""
    staff = await browser.new_context(viewport={"width": 1800, "height": 800})
    page = await staff.new_page()
    await page.goto(site.http("/admin/login/?next=/admin/sockets/session/", private=True))
    await page.fill("#id_username", ADMIN)
    await page.fill("#id_password", PASSWORD)
    await page.click("[type=submit]")
    table = page.locator("#result_list")
    async with asyncio.timeout(10):
        while True:  # rows are written in batches
            text = await table.inner_text()
            if all(client_id in text for client_id in client_ids) and "worker" in text:
                break
            await page.reload()
    for client_id in client_ids:
        row = table.locator("tr").filter(has_text=client_id)
        await expect(row).to_contain_text("live")
    await page.screenshot(path=shots / "admin-sessions.png")


async def test_every_format_comes_out_as_it_should(site: Gateway, browser: Browser) -> None:
    tab = await Tab.open(await browser.new_context(), site)
    formats = {"PNG": "PNG", "JPEG": "JPEG", "GIF": "GIF", "BMP": "BMP", "TIFF": "TIFF"}
    for label in formats:
        await tab.upload((f"to {label}.jpg", photo(300, 200, "JPEG")), to=label)
    for label, format in formats.items():
        await tab.becomes(f"to {label}", "done")
        _, made = await tab.download(f"to {label}")
        assert (made.format, made.size) == (format, (300, 200))


async def test_what_is_no_image_is_refused_clearly(
    site: Gateway, browser: Browser, shots: Path
) -> None:
    tab = await Tab.open(await browser.new_context(viewport=WIDE), site)
    bad = {
        "letter.png": (b"Dear reader, this is no image.", "text file"),
        "cut off.png": (photo()[:100_000], "ends too early"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        "nothing.png": (b"", "empty"),
        "huge.png": (None, "Larger than 20 MB"),
    }
    for name, (content, _) in bad.items():
        if content is None:
            await tab.drop(name, 21 * 2**20)
        else:
            await tab.upload((name, content))
    for name, (_, message) in bad.items():
        await tab.becomes(name, "failed")
        await expect(tab.row(name).locator(".detail")).to_contain_text(message)
        await expect(tab.row(name).get_by_role("link")).to_have_count(0)
    await tab.page.screenshot(path=shots / "converter-errors.png", full_page=True)

    local = tab.row("huge.png")  # never uploaded, so only this tab has it and can drop it
    await local.get_by_role("button", name="Dismiss").click()
    await expect(local).to_have_count(0)


async def test_the_page_survives_kill_9(own_site: Gateway, browser: Browser, shots: Path) -> None:
    tab = await Tab.open(await browser.new_context(viewport=WIDE), own_site)
    await tab.upload(("before.png", photo(200, 200)))
    await tab.becomes("before.png", "done")

    own_site.kill()
    status = tab.page.locator("#status")
    await expect(status).to_have_attribute("data-state", "offline")
    await expect(status).to_contain_text("retry in", timeout=15_000)
    await tab.page.screenshot(path=shots / "converter-offline.png")

    await asyncio.to_thread(own_site.start)
    await tab.live()
    await tab.becomes("before.png", "done")
    await tab.upload(("after.png", photo(200, 200)))
    await tab.becomes("after.png", "done")
    assert [m["event"] for m in tab.messages if m["data"]["name"] == "after.png"][-1] == "job.done"
    assert len({tab.client_id}) == 1


async def test_a_tab_keeps_its_client_id_and_a_duplicate_gets_another(
    site: Gateway, browser: Browser
) -> None:
    context = await browser.new_context()
    tab = await Tab.open(context, site)
    before = tab.client_id
    await tab.page.reload()
    await tab.live()
    assert tab.client_id == before, "a reload is the same tab"

    # A page opened by another one starts with a copy of its sessionStorage, as a duplicate does.
    async with context.expect_page() as opened:
        await tab.page.evaluate("() => { window.open('/demo/'); }")
    duplicate = Tab(await opened.value)
    await duplicate.page.reload()
    await duplicate.live()
    assert duplicate.client_id != before
    await expect(tab.page.locator("#status")).to_have_text("Live in 2 tabs")


async def test_dropping_a_file_anywhere_on_the_page(site: Gateway, browser: Browser) -> None:
    tab = await Tab.open(await browser.new_context(), site)
    assert await tab.drop("dropped.png", photo(40, 40))
    await tab.becomes("dropped.png", "done")


async def test_it_works_by_keyboard(site: Gateway, browser: Browser) -> None:
    tab = await Tab.open(await browser.new_context(), site)
    keyboard, page = tab.page.keyboard, tab.page
    # Listening begins when Chromium has heard of it; begun with the key press, that is too late.
    page.on("filechooser", lambda _: None)
    await page.get_by_role("radio", name="WebP").focus()
    await keyboard.press("ArrowRight")
    await expect(page.get_by_role("radio", name="GIF")).to_be_checked()
    await keyboard.press("Tab")
    await expect(page.locator("#files")).to_be_focused()
    async with page.expect_file_chooser() as opened:
        await keyboard.press("Enter")
    chooser = await opened.value
    assert chooser.is_multiple()
    await chooser.set_files(
        [{"name": "typed.png", "mimeType": "image/png", "buffer": photo(40, 40)}]
    )
    await tab.becomes("typed.png", "done")
    await expect(page.locator("#said")).to_have_text("typed.png: GIF is ready")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "viewport"), [("wide", WIDE), ("narrow", NARROW)])
async def test_how_it_looks(
    site: Gateway, browser: Browser, shots: Path, scheme: str, width: str, viewport: dict[str, int]
) -> None:
    context = await browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    tab = await Tab.open(context, site)
    await tab.page.screenshot(path=shots / f"converter-{width}-{scheme}-empty.png", full_page=True)
    await tab.upload(("letter to the editor.png", b"Dear reader, this is no image."))
    await tab.upload(("a very long name of a holiday picture, mountains.png", photo(900, 600)))
    await tab.upload(("logo.png", photo(200, 200)), to="JPEG")
    await tab.becomes("logo", "done")
    await tab.becomes("mountains", "done")
    await tab.upload(("panorama.jpg", photo(3000, 2000, "JPEG")), to="PNG")
    await expect(tab.row("panorama")).to_have_attribute("data-state", "working", timeout=15_000)
    await tab.page.screenshot(path=shots / f"converter-{width}-{scheme}.png", full_page=True)
    await tab.becomes("panorama", "done")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await tab.page.evaluate(overflow) == 0
    assert tab.errors == []
