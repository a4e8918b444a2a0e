"""The example as visitors see it: real browser, real gateway, real worker."""

from __future__ import annotations

import asyncio
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Literal
from zipfile import ZipFile

import pytest
from PIL import Image
from playwright.async_api import Browser, FilePayload, Route, ViewportSize, expect

from examples.image_converter.formats import FORMATS
from tests.browser.conftest import ADMIN, PASSWORD, Site
from tests.browser.picture import take_picture
from tests.browser.pictures import LONG, bomb, photo
from tests.browser.tab import PATIENCE, Tab
from tests.support.doubles import until
from tests.support.gateway import wait_for

WIDE: ViewportSize = {"width": 1200, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}


STEPS = {"decode": "Reading", "resize": "Resizing to 2,048", "encode": "Saving as PNG · "}
"""What the page says of each step that a worker tells of."""


async def test_every_tab_of_a_user_follows_and_nobody_else(
    site: Site, browser: Browser, shots: Path
) -> None:
    kim, lee = await browser.new_context(viewport=WIDE), await browser.new_context(viewport=WIDE)
    first, second = await Tab.open(kim, site), await Tab.open(kim, site)
    stranger = await Tab.open(lee, site)
    await expect(first.page.locator("#status")).to_have_text("Live in 2 tabs")
    await expect(first.page.locator("#workers")).to_contain_text(
        "1 converter online, 2 images at a time"
    )

    await first.upload(("holiday.jpg", photo(2600, 1900, "JPEG")), to="PNG", side="2048")
    for tab in (first, second):
        await tab.becomes("holiday.jpg", "done")
        await tab.says("holiday.jpg", "JPEG")

    # The job is done before the task's end is told: Django code hears of that first.
    both = (first, second)
    await until(lambda: all("task.done" in [m["event"] for m in one.durable()] for one in both))
    heard = [[(m["event"], m["data"]) for m in tab.durable()] for tab in both]
    assert heard[0] == heard[1]
    assert {event for event, _ in heard[0]} == {
        "job.queued", "job.working", "job.done", "task.progress", "task.done"
    }  # fmt: skip
    reports = [data["data"] for event, data in heard[0] if event == "task.progress"]
    told = {report["step"] for report in reports}  # a busy worker tells the newest alone
    assert "encode" in told
    for tab in both:
        said = await tab.said()
        for step in told:
            assert any(line.startswith(f"holiday.jpg: {STEPS[step]}") for line in said), said
    percents = [report["percent"] for report in reports if report["step"] == "decode"]
    assert percents == sorted(percents)
    written = [report["written"] for report in reports if report["step"] == "encode"]
    assert written == sorted(written)
    assert len(set(written)) > 2

    row = second.row("holiday.jpg")
    await expect(row.locator(".note")).to_have_text(
        "2,600 × 1,900 → 2,048 × 1,497 · by converter-1"
    )
    await expect(row.locator(".detail")).to_contain_text("larger")
    await expect(row.locator("img")).to_be_visible()
    assert await row.locator("img").evaluate("image => image.naturalWidth") == 160
    name, made = await second.download("holiday.jpg")
    assert (name, made.format, made.size) == ("holiday.png", "PNG", (2048, 1497))

    assert stranger.durable() == []
    await expect(stranger.page.locator("#empty")).to_be_visible()
    link = await row.get_by_role("link").get_attribute("href")
    for path in (link, link.replace("result", "thumbnail")):
        ours = await second.page.request.get(site.http(f"/demo/{path}"))
        theirs = await stranger.page.request.get(site.http(f"/demo/{path}"))
        assert (ours.status, theirs.status) == (200, 404)

    await admin_shows(browser, site, {first.client_id, second.client_id, stranger.client_id}, shots)
    assert first.errors == second.errors == stranger.errors == []


async def admin_shows(browser: Browser, site: Site, client_ids: set[str], shots: Path) -> None:
    """Staff see these sessions as live, and the worker's."""
    staff = await browser.new_context(viewport={"width": 1800, "height": 800})
    page = await staff.new_page()
    await page.goto(site.http("/admin/login/?next=/admin/sockets/session/", private=True))
    await page.fill("#id_username", ADMIN)
    await page.fill("#id_password", PASSWORD)
    await page.click("[type=submit]")
    table = page.locator("#result_list")
    async with asyncio.timeout(60):
        while True:  # rows are written in batches
            text = await table.inner_text()
            if all(client_id in text for client_id in client_ids) and "worker" in text:
                break
            await page.reload()
    for client_id in client_ids:
        row = table.locator("tr").filter(has_text=client_id)
        await expect(row).to_contain_text("live")
    await take_picture(page, shots / "admin-sessions.png")


async def test_every_format_comes_out_as_it_should(site: Site, browser: Browser) -> None:
    tab = await Tab.open(await browser.new_context(), site)
    labels = {format.label: format.pillow for format in FORMATS.values()}
    assert {"PNG", "JPEG", "WebP", "TIFF", "BMP", "GIF"} <= set(labels)
    for label in labels:
        await tab.upload((f"to {label}.jpg", photo(300, 200, "JPEG")), to=label)
    for label, format in labels.items():
        await tab.becomes(f"to {label}", "done")
        _, made = await tab.download(f"to {label}")
        assert (made.format, made.size) == (format, (300, 200))

    async with tab.page.expect_download() as started:
        await tab.page.get_by_role("link", name="Download all").click()
    with ZipFile(await (await started.value).path()) as archive:
        assert len(archive.namelist()) == len(labels)
    await tab.button("Clear finished").click()
    await expect(tab.page.locator("#empty")).to_be_visible()
    await expect(tab.page.locator("#files")).to_be_focused()


async def test_size_and_quality(site: Site, browser: Browser) -> None:
    context = await browser.new_context()
    tab = await Tab.open(context, site)
    await tab.upload(("poor.png", photo()), to="JPEG", side="512", quality=10)
    await tab.upload(("rich.png", photo()), to="JPEG", side="512", quality=95)
    sizes = {}
    for name in ("poor", "rich"):
        await tab.becomes(f"{name}.png", "done")
        proposed, made = await tab.download(f"{name}.png")
        assert (proposed, made.size) == (f"{name}.jpg", (512, 384))
        sizes[name] = next(
            m["data"]["result_bytes"]
            for m in tab.messages
            if m["event"] == "job.done" and m["data"]["name"] == f"{name}.png"
        )
    assert sizes["poor"] * 3 < sizes["rich"]

    page, quality = tab.page, tab.page.get_by_label("Quality")
    await page.get_by_role("radio", name="PNG").check(force=True)
    await expect(quality).to_be_disabled()
    await expect(page.locator("#quality-text")).to_have_text("lossless")
    await page.get_by_label("Longest side", exact=True).select_option("custom")
    await expect(page.get_by_label("Longest side in pixels")).to_be_focused()
    await page.keyboard.type("x")
    await page.get_by_label("Longest side in pixels").fill("0")
    await page.set_input_files("#files", [FilePayload(name="n.png", mimeType="", buffer=photo())])
    await expect(page.locator("#jobs .job")).to_have_count(2)  # the page asks for a better number
    await page.get_by_label("Longest side in pixels").fill("100")
    await page.set_input_files("#files", [FilePayload(name="n.png", mimeType="", buffer=photo())])
    await tab.becomes("n.png", "done")
    await expect(tab.row("n.png").locator(".note")).to_contain_text("→ 100 × 75")

    again = await Tab.open(context, site)  # what was chosen is remembered
    await expect(again.page.get_by_role("radio", name="PNG")).to_be_checked()
    await expect(again.page.get_by_label("Longest side in pixels")).to_have_value("100")
    await again.page.get_by_role("radio", name="JPEG").check(force=True)
    await expect(again.page.get_by_label("Quality")).to_have_value("95")


async def test_what_is_no_image_is_refused_clearly(
    site: Site, browser: Browser, shots: Path
) -> None:
    tab = await Tab.open(await browser.new_context(viewport=WIDE), site)
    bad: dict[str, tuple[bytes | int, str]] = {
        "letter.png": (b"Dear reader, this is no image.", "text file"),
        "cut off.png": (photo()[:100_000], "incomplete"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        "bomb.png": (bomb(), "too many pixels (400,000,000)"),
        "nothing.png": (b"", "empty"),
        "huge.png": (21 * 2**20, "too large. The limit is 20 MB"),
    }
    await tab.drop(*((name, content) for name, (content, _) in bad.items()))
    for name, (_, message) in bad.items():
        await tab.becomes(name, "failed")
        await tab.says(name, message)
        await expect(tab.row(name).get_by_role("link")).to_have_count(0)
        await expect(tab.button(f"Try {name} again")).to_have_count(0)  # it would not help
    await take_picture(tab.page, shots / "converter-errors.png", full_page=True)
    for name in bad:
        await tab.button(f"Remove {name}").click()
        await expect(tab.row(name)).to_have_count(0)
    assert tab.errors == []


async def test_several_dropped_anywhere_on_the_page(site: Site, browser: Browser) -> None:
    tab = await Tab.open(await browser.new_context(), site)
    names = [f"dropped {number}.png" for number in range(8)]
    assert await tab.drop(*((name, photo(40, 40)) for name in names))
    await expect(tab.page.locator("#overlay")).to_be_hidden()
    await expect(tab.page.locator("#said")).to_contain_text("8 images added")
    for name in names:
        await tab.becomes(name, "done")
    await expect(tab.page.locator("#summary")).to_contain_text("8 ready")
    await tab.drop(("newest.png", photo(40, 40)))
    await tab.becomes("newest.png", "done")
    order = await tab.page.locator("#jobs .name").all_inner_texts()
    assert order[0] == "newest.png"


async def test_what_is_given_before_the_list_is_there_is_taken(
    site: Site, browser: Browser
) -> None:
    context = await browser.new_context()
    there = asyncio.Event()

    async def late(route: Route) -> None:
        if route.request.method == "GET" and not there.is_set():
            await route.abort()
        else:
            await route.continue_()

    await context.route("**/demo/jobs*", late)
    tab = Tab(await context.new_page())
    await tab.page.goto(site.http("/demo/"))
    await expect(tab.page.locator("#problem")).to_contain_text("can’t be loaded right now")
    await expect(tab.page.locator("#summary")).to_have_text("Loading…")
    assert await tab.drop(("early.png", photo(40, 40)))
    await tab.becomes("early.png", "queued")
    there.set()
    await tab.live()
    await tab.becomes("early.png", "done")
    await expect(tab.page.locator("#problem")).to_be_hidden()
    assert tab.errors == []


async def test_a_file_that_cannot_be_read_is_not_tried_again(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    """A folder that was dropped, or a file that was moved after it was chosen."""
    context = await browser.new_context()
    tab = await Tab.open(context, site)
    moved = tmp_path / "moved.png"
    moved.write_bytes(photo(40, 40))

    async def breaks_off(route: Route) -> None:
        moved.unlink(missing_ok=True)
        await route.abort()

    await context.route("**/demo/jobs?*", breaks_off)
    await tab.page.set_input_files("#files", moved)
    await tab.says("moved.png", "can’t be read")
    await expect(tab.button("Try moved.png again")).to_have_count(0)
    assert tab.errors == []


async def test_pasted(site: Site, browser: Browser) -> None:
    tab = await Tab.open(await browser.new_context(), site)
    await tab.paste(("image.png", photo(40, 40)))
    await tab.becomes("pasted ", "done")
    await tab.paste(("named.png", photo(40, 40)))
    await tab.becomes("named.png", "done")


async def test_cancel_while_it_is_converted_and_try_again(site: Site, browser: Browser) -> None:
    context = await browser.new_context()
    tab, other = await Tab.open(context, site), await Tab.open(context, site)
    with site.held():
        await tab.upload(LONG, to="PNG")
        await tab.says("long.jpg", "so far")
        await other.button("Cancel long.jpg").click()  # from either tab
        await tab.becomes("long.jpg", "cancelled")
        await tab.says("long.jpg", "Cancelled")
        log = site.data_dir / "converter-1.log"
        wait_for(lambda: "is stopped: cancelled" in log.read_text(), "the worker to hear of it")
        job = await tab.job("long.jpg")
        wait_for(lambda: set(site.files(job)) == {"job.json", "source"}, "the half result to go")

    await tab.button("Try long.jpg again").click()
    await expect(tab.button("Cancel long.jpg")).to_be_focused()  # the keyboard stays in the row
    await tab.becomes("long.jpg", "done")
    assert (await tab.download("long.jpg"))[1].format == "PNG"
    assert tab.errors == other.errors == []


async def test_what_is_over_goes_from_page_and_disk(site: Site, browser: Browser) -> None:
    tab = await Tab.open(await browser.new_context(), site)
    await tab.upload(("old.png", photo(40, 40)), ("new.png", photo(40, 40)))
    for name in ("old.png", "new.png"):
        await tab.becomes(name, "done")
    job = await tab.job("old.png")
    record = site.data_dir / "demo" / "jobs" / job / "job.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"expires": 1}))
    await expect(tab.row("old.png")).to_have_count(0, timeout=PATIENCE)  # nobody asked for it
    await expect(tab.row("new.png")).to_have_count(1)
    assert site.files(job) == []


async def test_the_page_survives_kill_9(own_site: Site, browser: Browser, shots: Path) -> None:
    own_site.work("converter-1")
    tab = await Tab.open(await browser.new_context(viewport=WIDE), own_site)
    await tab.upload(("before.png", photo(200, 200)))
    await tab.becomes("before.png", "done")
    with own_site.held():
        await tab.upload(("amid.jpg", LONG[1]), to="PNG")
        await tab.says("amid.jpg", "Saving as")

        own_site.kill()
        status = tab.page.locator("#status")
        await expect(status).to_have_attribute("data-state", "offline")
        await tab.upload(("after.png", photo(200, 200)))
        await tab.says("after.png", "will resume")
        # Seen, but not read out each second.
        await expect(status.locator("[aria-hidden=true]")).to_contain_text(
            "retry in", timeout=PATIENCE
        )
        await take_picture(tab.page, shots / "converter-offline.png", full_page=True)

        await asyncio.to_thread(own_site.start)
        await tab.live()
    for name in ("before.png", "amid.jpg", "after.png"):
        await tab.becomes(name, "done")
    assert len({tab.client_id}) == 1
    assert tab.errors == []


async def test_a_tab_keeps_its_client_id_and_a_duplicate_gets_another(
    site: Site, browser: Browser
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


async def test_it_works_by_keyboard_alone(site: Site, browser: Browser) -> None:
    tab = await Tab.open(await browser.new_context(), site)
    keyboard, page = tab.page.keyboard, tab.page
    # Listening begins when Chromium has heard of it; begun with the key press, that is too late.
    page.on("filechooser", lambda _: None)

    async def choose(name: str, content: bytes) -> None:
        await expect(page.locator("#files")).to_be_focused()
        async with page.expect_file_chooser() as opened:
            await keyboard.press("Enter")
        chooser = await opened.value
        assert chooser.is_multiple()
        await chooser.set_files([FilePayload(name=name, mimeType="image/png", buffer=content)])

    await page.get_by_role("radio", name="WebP").focus()
    await keyboard.press("ArrowLeft")
    await expect(page.get_by_role("radio", name="BMP")).to_be_checked()
    await keyboard.press("ArrowRight")
    await keyboard.press("Tab")
    await expect(page.get_by_label("Longest side", exact=True)).to_be_focused()
    await keyboard.press("5")
    await keyboard.press("Tab")
    await keyboard.press("ArrowRight")
    await expect(page.get_by_label("Quality")).to_have_value("81")
    await keyboard.press("Tab")
    await choose("typed.png", photo(800, 600))
    await tab.becomes("typed.png", "done")
    await expect(page.locator("#said")).to_contain_text("typed.png: WebP is ready")
    await expect(tab.row("typed.png").locator(".note")).to_contain_text("512 × 384")

    for _ in range(2):
        await keyboard.press("Shift+Tab")
    await expect(page.get_by_label("Longest side", exact=True)).to_be_focused()
    await keyboard.press("Home")
    await keyboard.press("Shift+Tab")
    for _ in range(3):
        await keyboard.press("ArrowRight")
    await expect(page.get_by_role("radio", name="PNG")).to_be_checked()
    await keyboard.press("Tab")
    await keyboard.press("Tab")  # over the quality, which PNG has not
    with site.held():
        await choose(*LONG)
        await tab.says("long.jpg", "Saving as")
        bar = page.get_by_role("progressbar", name="Progress of long.jpg")
        await expect(bar).to_have_attribute("aria-valuetext", re.compile("Saving as PNG"))
        await keyboard.press("Tab")
        await expect(tab.button("Clear finished")).to_be_focused()
        await keyboard.press("Tab")
        await expect(tab.button("Cancel long.jpg")).to_be_focused()
        await keyboard.press("Enter")
        await tab.becomes("long.jpg", "cancelled")
    await expect(tab.button("Try long.jpg again")).to_be_focused()
    await keyboard.press("Tab")
    await expect(tab.button("Remove long.jpg")).to_be_focused()
    await keyboard.press("Enter")
    await expect(tab.row("long.jpg")).to_have_count(0)
    await expect(page.get_by_role("link", name="Download typed.png as WebP")).to_be_focused()
    await keyboard.press("Tab")
    await keyboard.press("Enter")
    await expect(page.locator("#empty")).to_be_visible()
    await expect(page.locator("#files")).to_be_focused()


async def test_nothing_moves_for_those_who_do_not_want_it(site: Site, browser: Browser) -> None:
    moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
    motions: tuple[Literal["no-preference", "reduce"], ...] = ("no-preference", "reduce")
    for motion in motions:
        context = await browser.new_context(reduced_motion=motion)
        tab = await Tab.open(context, site)
        with site.held():
            await tab.upload(LONG, to="PNG")
            await tab.says("long.jpg", "Saving as")
            assert (await tab.page.evaluate(moving) > 0) == (motion == "no-preference")
            await tab.button("Cancel long.jpg").click()
            await tab.becomes("long.jpg", "cancelled")


@pytest.mark.parametrize(
    ("width", "viewport", "scheme"),
    [
        ("wide", WIDE, "light"),
        ("narrow", NARROW, "dark"),
        pytest.param("wide", WIDE, "dark", marks=pytest.mark.soak),
        pytest.param("narrow", NARROW, "light", marks=pytest.mark.soak),
    ],
)
async def test_how_it_looks(
    site: Site, browser: Browser, shots: Path, scheme: str, width: str, viewport: dict[str, int]
) -> None:
    context = await browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    tab = await Tab.open(context, site)

    async def shoot(name: str) -> None:
        path = shots / f"converter-{width}-{scheme}{name}.png"
        await take_picture(tab.page, path, full_page=True)
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await tab.page.evaluate(overflow) == 0

    await shoot("-empty")
    await tab.upload(("letter to the editor.png", b"Dear reader, this is no image."))
    await tab.upload(
        ("a very long name of a holiday picture, mountains.png", photo(900, 600)), side="512"
    )
    await tab.upload(("logo.png", transparent()), to="JPEG")
    await tab.becomes("logo", "done")
    await tab.becomes("mountains", "done")
    with site.held():
        await tab.upload(("panorama.jpg", LONG[1]), to="PNG")
        await tab.says("panorama", "so far")
        await expect(tab.row("panorama").locator("img")).to_be_visible()
        await shoot("")
        await tab.button("Cancel panorama.jpg").click()
        await tab.becomes("panorama", "cancelled")
    await shoot("-cancelled")
    assert tab.errors == []


def transparent() -> bytes:
    out = BytesIO()
    Image.new("RGBA", (300, 200), (20, 120, 110, 90)).save(out, "PNG")
    return out.getvalue()
