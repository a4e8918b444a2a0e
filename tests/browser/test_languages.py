"""The example and the admin in a Korean browser; what the page does while it is offline."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, FilePayload, Page, ViewportSize, expect

from tests.browser.conftest import Site, log_in
from tests.browser.picture import take_picture
from tests.browser.pictures import LONG, photo
from tests.browser.tab import PATIENCE, Tab
from tests.browser.test_workers import LATER

WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
RUNNING = """() => document.getAnimations().filter(
  (one) => one.playState === "running" && one.animationName === "move").length"""
# Each text of each language, with the number of its blanks.
TEXTS = """async () => {
  const { languages } = await import("/demo/assets/texts.js");
  const shape = (texts) => Object.entries(texts).map(([name, text]) =>
    [name, typeof text === "object" ? shape(text) : typeof text === "function" ? text.length : -1]);
  return Object.fromEntries(Object.entries(languages).map(([name, texts]) => [name, shape(texts)]));
}"""
FORMATTED = """async () => {
  const { bytes, number, percent } = await import("/demo/assets/texts.js");
  return [bytes(1), bytes(999), bytes(5300), bytes(15e6), bytes(2.5e9), number(2048), percent(43)];
}"""


@pytest.mark.parametrize(
    ("width", "viewport", "scheme"),
    [
        ("wide", WIDE, "light"),
        ("narrow", NARROW, "dark"),
        pytest.param("wide", WIDE, "dark", marks=pytest.mark.soak),
        pytest.param("narrow", NARROW, "light", marks=pytest.mark.soak),
    ],
)
async def test_the_korean_page(
    site: Site, browser: Browser, shots: Path, scheme: str, width: str, viewport: ViewportSize
) -> None:
    context = await browser.new_context(
        viewport=viewport,
        color_scheme=scheme,  # type: ignore[arg-type]
        locale="ko-KR",
    )
    tab = await Tab.open(context, site)

    async def shoot(name: str) -> None:
        path = shots / f"converter-korean-{width}-{scheme}{name}.png"
        await take_picture(tab.page, path, full_page=True)
        assert await tab.page.evaluate(OVERFLOW) == 0

    await expect(tab.page).to_have_title("이미지 변환기")
    await expect(tab.page.locator("#status")).to_contain_text("실시간 연결됨")
    await expect(tab.page.locator("#workers")).to_contain_text("변환기 1대가 온라인")
    await shoot("-empty")
    # The page, the API server and a worker: each in the visitor's language.
    await tab.page.set_input_files("#files", [given("letter.png"), given("empty.png")])
    await tab.says("letter.png", "이미지가 아니라 텍스트 파일입니다.")
    await tab.says("empty.png", "빈 파일입니다.")
    await tab.page.set_input_files("#files", given("holiday.png", photo(900, 600)))
    await tab.becomes("holiday.png", "done")
    await expect(tab.row("holiday.png").locator(".note")).to_have_text(
        "900 × 600 · 변환기: converter-1"
    )
    await expect(tab.row("holiday.png").locator(".detail")).to_have_text(
        re.compile(r"→ WebP .*(감소|증가)$")
    )
    await expect(tab.page.locator("#summary")).to_contain_text("완료 1개")
    await expect(tab.button("letter.png 삭제")).to_be_visible()
    await shoot("")
    assert tab.errors == []


def given(name: str, content: bytes | None = None) -> FilePayload:
    """A file as a file dialog gives it."""
    if content is None:
        content = b"Dear reader" if name == "letter.png" else b""
    return FilePayload(name=name, mimeType="image/png", buffer=content)


async def test_a_language_that_there_is_not_is_english(site: Site, browser: Browser) -> None:
    tab = await Tab.open(await browser.new_context(locale="de-DE"), site)
    await expect(tab.page.locator("html")).to_have_attribute("lang", "en")
    await expect(tab.page.locator("#status")).to_have_text("Live")


async def test_every_text_of_the_scripts_is_there_in_every_language(
    site: Site, browser: Browser
) -> None:
    tab = await Tab.open(await browser.new_context(), site)
    found = await tab.page.evaluate(TEXTS)
    assert set(found) == {"en", "ko"}
    assert len(found["en"]) > 40 and found["en"] == found["ko"]


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en-US", ["1 byte", "999 bytes", "5.3 kB", "15 MB", "2.5 GB", "2,048", "43%"]),
        ("ko-KR", ["1바이트", "999바이트", "5.3kB", "15MB", "2.5GB", "2,048", "43%"]),
    ],
)
async def test_numbers_are_written_as_the_language_does(
    site: Site, browser: Browser, locale: str, expected: list[str]
) -> None:
    tab = await Tab.open(await browser.new_context(locale=locale), site)
    assert await tab.page.evaluate(FORMATTED) == expected


async def test_nothing_moves_while_it_is_offline(
    own_site: Site, browser: Browser, shots: Path
) -> None:
    """The bar stands still, the row says why nothing is heard of it, and both end with it."""
    own_site.work("converter-1")
    tab = await Tab.open(await browser.new_context(viewport=WIDE), own_site)
    narrow = await browser.new_context(viewport=NARROW, color_scheme="dark", locale="ko-KR")
    await narrow.add_cookies(await tab.page.context.cookies())  # type: ignore[arg-type]
    other = await Tab.open(narrow, own_site)
    with own_site.held():
        await tab.upload(LONG, to="PNG")
        await tab.says("long.jpg", "so far")
        assert await tab.page.evaluate(RUNNING) == 1
        own_site.kill()
        await tab.says("long.jpg", "waiting for connection")
        await other.says("long.jpg", "연결을 기다리는 중")
        assert await tab.page.evaluate(RUNNING) == 0
        line = tab.row("long.jpg").locator(".detail")
        await expect(line).not_to_contain_text("no update")
        for page, name in ((tab.page, "wide-light"), (other.page, "narrow-dark-korean")):
            await expect(page.locator("#status")).to_have_attribute("data-state", "offline")
            await take_picture(page, shots / f"converter-offline-{name}.png", full_page=True)
            assert await page.evaluate(OVERFLOW) == 0
        # The clock goes on, an attempt comes and goes: it stays as it is.
        async with tab.page.expect_request("**/demo/token"):
            await tab.page.evaluate("document.querySelector('#retry').click()")  # it comes and goes
        await expect(tab.page.locator("#status")).to_have_attribute("data-state", "offline")
        await expect(line).to_contain_text("waiting for connection")
        assert await tab.page.evaluate(RUNNING) == 0

        await tab.page.evaluate(LATER)
        await asyncio.to_thread(own_site.start)
        await tab.live()
        await expect(line).not_to_contain_text("waiting for connection", timeout=PATIENCE)
    await tab.becomes("long.jpg", "done")
    assert not [line for line in await tab.said() if "no update" in line], "it was not silent"
    assert tab.errors == other.errors == []


async def test_the_korean_admin(site: Site, browser: Browser, shots: Path) -> None:
    visitor = await Tab.open(await browser.new_context(), site)
    page = await (await browser.new_context(locale="ko-KR")).new_page()
    await log_in(page, site, "/admin/sockets/session/")
    row = page.locator("#result_list tbody tr").filter(has_text=visitor.client_id)
    async with asyncio.timeout(60):
        while not await row.count():  # rows are written in batches
            await page.reload()
    await expect(row.locator(".gateway-badge")).to_have_text("활성")
    for word in ("세션", "선택한 활성 세션의 연결 해제", "로그아웃"):
        await expect(page.locator("body")).to_contain_text(word)
    await fits(page, shots, "")
    await row.locator("input").check()
    await page.select_option("select[name=action]", "disconnect")
    await page.click("button[name=index]")
    await expect(page.locator(".gateway-affected")).to_have_text("세션 1개가 대상입니다.")
    await fits(page, shots, "-confirm")
    await page.click(".gateway-form [type=submit]")
    await expect(page.locator(".messagelist")).to_contain_text("세션 1개의 연결을 해제했습니다.")
    await expect(visitor.page.locator("#status")).to_contain_text("disconnected by an operator")
    for path in ("node", "accesskey"):
        await page.goto(site.http(f"/admin/sockets/{path}/", private=True))
        await fits(page, shots, f"-{path}", wide=True)
    await page.goto(site.http("/admin/sockets/accesskey/add/", private=True))
    await fits(page, shots, "-add")


async def fits(page: Page, shots: Path, name: str, *, wide: bool = False) -> None:
    """Nothing of the page is beside it; a `wide` table has its own scroll bar."""
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 900})
        await take_picture(page, shots / f"admin-korean{name}-{width}.png", full_page=True)
        assert await page.evaluate(OVERFLOW) == 0 or wide, width
