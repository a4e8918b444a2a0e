"""The operations room in Chromium, over fixed values: what its script does with them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from tests.browser.axe import serious
from tests.browser.picture import take_picture
from tests.browser.watch import Watch
from tests.support.fixed_room import PASSWORD, Room, running_room
from tests.unit.admin.operations.values import session_id

WIDE: Any = {"width": 1200, "height": 900}
ADMIN = "/admin/sockets"
LIVE = f"{ADMIN}/livesession/"
ONE = f"{LIVE}{session_id(1)}/change/"
PAGES = {
    "overview": f"{ADMIN}/overview/",
    "live": LIVE,
    "session": ONE,
    "user": f"{ADMIN}/gatewayuser/?user=user-1",
    "why": f"{ADMIN}/gatewayuser/why/?user=user-1&what=offset&message=41",
    "trace": f"{ADMIN}/gatewayuser/trace/?user=user-1",
    "notify": f"{ADMIN}/gatewayuser/notify/?user=user-1",
    "workers": f"{ADMIN}/worker/",
    "refusals": f"{ADMIN}/refusal/",
    "disconnect": f"{LIVE}disconnect/?session={session_id(1)}&session={session_id(2)}",
    "history": f"{ADMIN}/session/?state=all",
    "index": "/admin/",
}
ROWS = "#part-sessions tbody tr"
WIDER = """() => [
  document.documentElement, ...document.querySelectorAll(".gateway-scroll, .results")
].filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.className || e.tagName)"""
# What the status said, which changes while nobody looks.
REMEMBER = """() => {
  const status = document.querySelector("#gateway-status");
  window.said = [];
  new MutationObserver(() => window.said.push(status.textContent)).observe(
    status, { subtree: true, childList: true, characterData: true });
}"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with running_room() as room:
        yield room


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, room: Room) -> AsyncIterator[BrowserContext]:
    room.set(sessions=[1, 2, 3], fail="")
    context = await browser.new_context(viewport={"width": 1200, "height": 900})
    yield context


async def opened(context: BrowserContext, room: Room, path: str, user: str = "staff") -> Page:
    page = await context.new_page()
    await page.goto(f"{room.base}/admin/login/?next={path.replace('&', '%26')}")
    await page.fill("#id_username", user)
    await page.fill("#id_password", PASSWORD)
    await page.click("[type=submit]")
    await page.wait_for_url(f"**{path}")
    return page


async def users(page: Page) -> list[str]:
    found = await page.locator(f"{ROWS} .field-user a").all_inner_texts()
    return [text.removeprefix("user-") for text in found]


async def live(page: Page) -> None:
    await expect(page.locator("#gateway-status")).to_have_text("Live")


@pytest.mark.parametrize(
    ("locale", "scheme", "widths"),
    [
        ("en-US", "light", (1200, 390)),
        ("ko-KR", "dark", (390, 1200)),
        pytest.param("en-US", "dark", (390, 1200), marks=pytest.mark.soak),
        pytest.param("ko-KR", "light", (1200, 390), marks=pytest.mark.soak),
    ],
)
async def test_every_page_fits_and_keeps_to_its_policy(
    browser: Browser, room: Room, shots: Path, locale: str, scheme: str, widths: tuple[int, int]
) -> None:
    """Nothing is beside the page, at the width it is loaded at and at another one after that, no
    request leaves the machine, no warning is in the console, and axe-core has nothing serious to
    say."""
    room.set(sessions=[1, 2, 3], fail="")
    context = await browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        locale=locale,
    )
    page = await opened(context, room, LIVE)
    watch = await Watch.over(context)
    page = await context.new_page()
    away: list[str] = []
    page.on("request", lambda one: away.append(one.url) if room.base not in one.url else None)
    for name, path in PAGES.items():
        for width in widths:
            await page.set_viewport_size({"width": width, "height": 900})
            if width == widths[0]:
                await page.goto(room.base + path)
                if await page.locator("#gateway-status").count():
                    text = ("Live", "실시간")[locale == "ko-KR"]
                    await expect(page.locator("#gateway-status")).to_have_text(text)
            shot = f"room-{name}-{width}-{scheme}-{locale[:2]}.png"
            await take_picture(page, shots / shot, full_page=True)
            assert await page.evaluate(WIDER) == [], (name, width)
            assert (watch.complaints, away) == ([], []), name
            if width == 1200:
                assert await serious(page) == [], name
                watch.complaints.clear()  # the policy kept axe-core from some styles of its own


async def test_rows_come_change_and_go(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, LIVE)
    await live(page)
    assert await users(page) == ["1", "2", "3"]
    room.set(sessions=[4, 3, 1])
    await expect(page.locator(f"{ROWS} .field-user a").first).to_have_text("user-4")
    assert await users(page) == ["4", "3", "1"]
    room.set(sessions=[])
    await expect(page.locator("#part-sessions [data-empty]")).to_be_visible()
    await expect(page.locator("#part-sessions table")).not_to_be_visible()
    room.set(sessions=[7])
    await expect(page.locator(ROWS)).to_have_count(1)
    await expect(page.locator("#part-sessions [data-empty]")).not_to_be_visible()


async def test_nothing_moves_under_a_pointer(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, LIVE)
    await live(page)
    await page.locator(f"{ROWS} .field-health").nth(1).hover()
    room.set(sessions=[9, 3, 1])
    waiting = page.locator("#part-sessions [data-waiting]")
    await expect(waiting).to_contain_text("4 changes wait")  # one came, one went, two moved
    assert await users(page) == ["1", "2", "3"]
    await expect(page.locator(f"{ROWS}.gateway-gone")).to_have_count(1)
    await page.mouse.move(1, 1)
    await expect(page.locator(f"{ROWS} .field-user a").first).to_have_text("user-9")
    assert await users(page) == ["9", "3", "1"]
    await expect(waiting).not_to_be_visible()


async def test_nor_under_a_choice_or_the_keyboard(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, LIVE)
    await live(page)
    button = page.locator("#gateway-chosen .gateway-actions button")
    await expect(button).to_be_disabled()
    box = page.locator(f"{ROWS} input").first
    await box.focus()
    await page.keyboard.press("Space")
    await expect(page.locator("#gateway-count")).to_have_text("1 chosen")
    await expect(button).to_be_enabled()
    room.set(sessions=[5, 1, 2, 3])
    waiting = page.locator("#part-sessions [data-waiting]")
    await expect(waiting).to_contain_text("1 change waits")
    await page.mouse.move(1, 1)
    await page.locator("#id_q").focus()  # what is chosen holds the rows, wherever the focus is
    await expect(waiting).to_be_visible()
    assert await users(page) == ["1", "2", "3"]
    await page.get_by_role("button", name="Show them").click()
    assert await users(page) == ["5", "1", "2", "3"]
    await expect(page.locator(f"{ROWS} input").nth(1)).to_be_checked()
    await page.locator(f"{ROWS} input").nth(1).uncheck()


async def test_who_is_gone_can_be_chosen_no_more(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, LIVE)
    await live(page)
    await page.locator(f"{ROWS} input").first.check()
    room.set(sessions=[2, 3])
    await expect(page.locator("#gateway-count")).to_have_text("")
    await page.mouse.move(1, 1)
    await page.locator("#id_q").focus()
    await expect(page.locator(ROWS)).to_have_count(2)


async def test_chosen_sessions_are_disconnected(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, LIVE)
    await live(page)
    for place in (0, 2):
        await page.locator(f"{ROWS} input").nth(place).check()
    await page.locator("#gateway-chosen .gateway-actions button").click()
    await expect(page.locator(".gateway-affected")).to_have_text("This concerns 2 sessions.")
    assert await page.locator("#id_code").input_value() == "4504"
    await page.click("[type=submit].gateway-danger")
    await expect(page.locator(".messagelist")).to_contain_text("2 sessions were disconnected.")
    await live(page)


async def test_what_has_not_changed_is_asked_for_and_not_sent(
    context: BrowserContext, room: Room
) -> None:
    page = await opened(context, room, f"{ADMIN}/worker/")
    await live(page)
    async with page.expect_response("**/worker/data/") as answer:
        pass
    assert (await answer.value).status == 304


async def test_a_hidden_page_asks_for_nothing(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, f"{ADMIN}/worker/")
    await live(page)
    await page.evaluate(HIDE, True)
    await expect(page.locator("#gateway-status")).to_contain_text("Paused")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    await page.wait_for_timeout(2_500)
    assert asked == []
    await page.evaluate(HIDE, False)
    await live(page)
    assert asked


async def test_it_says_when_nothing_is_updated_and_waits_longer(
    context: BrowserContext, room: Room
) -> None:
    page = await opened(context, room, LIVE)
    await live(page)
    await page.evaluate(REMEMBER)
    room.set(fail="Redis <b>is away</b>")
    status = page.locator("#gateway-status")
    await expect(status).to_contain_text("Trying again in 4 s.")
    said = await page.evaluate("window.said")
    assert [text for text in said if "Redis <b>is away</b> Trying again in 2 s." in text], said
    assert await users(page) == ["1", "2", "3"], "what was true last stays"
    room.set(fail="")
    await live(page)


async def test_a_page_that_came_up_without_the_gateway_mends_itself(
    context: BrowserContext, room: Room
) -> None:
    page = await opened(context, room, LIVE)
    await live(page)
    room.set(fail="it is away")
    await page.reload()
    await expect(page.locator("#gateway-problem")).to_contain_text("it is away")
    room.set(fail="")
    await expect(page.locator(ROWS)).to_have_count(3)
    await expect(page.locator("#gateway-problem")).to_have_count(0)


async def test_a_login_that_ended_is_told_with_the_remedy(
    context: BrowserContext, room: Room
) -> None:
    page = await opened(context, room, LIVE)
    await live(page)
    room.set(log_out=None)
    status = page.locator("#gateway-status")
    await expect(status).to_contain_text("Your login has ended")
    await status.get_by_role("link", name="Log in again").click()
    await page.wait_for_url("**/admin/login/**")
    await page.fill("#id_username", "staff")
    await page.fill("#id_password", PASSWORD)
    await page.click("[type=submit]")
    await page.wait_for_url(f"**{LIVE}")
    await live(page)


async def test_the_charts_follow_their_place_and_the_theme(
    context: BrowserContext, room: Room
) -> None:
    page = await opened(context, room, f"{ADMIN}/overview/")
    await live(page)
    charts = page.locator(".gateway-chart canvas")
    await expect(charts).to_have_count(4)
    wide = await charts.first.evaluate("(one) => one.clientWidth")
    before = await charts.first.evaluate("(one) => one.toDataURL()")
    await page.click(".theme-toggle")
    await page.wait_for_function(
        "before => document.querySelector('.gateway-chart canvas').toDataURL() !== before",
        arg=before,
    )
    await page.set_viewport_size({"width": 500, "height": 900})
    await page.wait_for_function(
        f"() => document.querySelector('.gateway-chart canvas').clientWidth < {wide}"
    )
    assert await page.evaluate(WIDER) == []


async def test_the_charts_are_in_the_zone_of_the_tables(browser: Browser, room: Room) -> None:
    """Whatever zone the reader is in, and it has its name."""
    context = await browser.new_context(timezone_id="Asia/Kathmandu", viewport=WIDE)
    page = await opened(context, room, PAGES["overview"])
    await page.locator(".gateway-chart .u-over").first.hover()
    legend = page.locator(".gateway-chart").first.locator(".u-series").first
    await expect(legend.locator(".u-label")).to_have_text("Time (UTC)")
    await expect(legend.locator(".u-value")).to_have_text(re.compile(r"^\d\d:\d\d:\d[09]$"))
    hour = int((await legend.locator(".u-value").inner_text())[:2])
    assert hour in (11, 12), "the last hour of the values"


async def test_a_page_that_waited_long_rests_longer(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, LIVE)
    await live(page)
    asked: list[float] = []
    enough = asyncio.Event()

    async def slowly(route: Route) -> None:
        asked.append(time.monotonic())
        if len(asked) == 3:
            enough.set()
        await asyncio.sleep(1.5)
        await route.continue_()

    await page.route("**/data/**", slowly)
    await enough.wait()
    await page.unroute_all(behavior="ignoreErrors")
    assert all(later - before > 4 for before, later in pairwise(asked[1:]))


async def test_a_form_is_sent_once(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, PAGES["disconnect"])
    stopped = await page.evaluate("""() => {
      const form = document.querySelector(".gateway-form");
      const stopped = [];
      form.addEventListener("submit", (event) => {
        stopped.push(event.defaultPrevented);
        event.preventDefault();
      });
      form.requestSubmit();
      form.requestSubmit();
      return stopped;
    }""")
    assert stopped == [False, True]


async def test_a_trace_grows(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, PAGES["trace"])
    rows = page.locator("#part-frames tbody tr")
    await expect(rows.nth(8)).to_be_visible()  # three at load, and three of each answer
    times = await page.locator("#part-frames .field-at").all_inner_texts()
    assert times == sorted(times, reverse=True) and len(times) % 3 == 0


async def test_json_is_looked_at_while_it_is_written(context: BrowserContext, room: Room) -> None:
    page = await opened(context, room, PAGES["notify"])
    said = page.locator("#gateway-json-said")
    await page.fill("#id_content", '{"order": ')
    await expect(said).to_contain_text("This is no JSON")
    await page.fill("#id_content", '{"order": 7}')
    await expect(said).to_have_text("This is JSON.")
    await page.fill("#id_event", "order.paid")
    await page.keyboard.press("Enter")
    await expect(page.locator(".gateway-preview")).to_contain_text('"order": 7')
    await page.get_by_role("button", name="Change it").click()
    assert await page.locator("#id_content").input_value() == '{"order": 7}'
    await page.get_by_role("button", name="Preview").click()
    await page.get_by_role("button", name="Send now").click()
    await expect(page.locator(".messagelist")).to_contain_text("Sent to 2 sessions")


async def test_without_javascript_the_state_at_load(browser: Browser, room: Room) -> None:
    room.set(sessions=[1, 2, 3], fail="")
    context = await browser.new_context(java_script_enabled=False)
    page = await opened(context, room, LIVE)
    assert await users(page) == ["1", "2", "3"]
    for name in ("overview", "session", "user", "workers", "refusals"):
        await page.goto(room.base + PAGES[name])
        assert await page.locator(".gateway-part").count() > 0, name
    await page.goto(room.base + PAGES["disconnect"])
    await page.click("[type=submit].gateway-danger")
    await expect(page.locator(".messagelist")).to_contain_text("2 sessions were disconnected.")


async def test_all_of_it_by_keyboard(context: BrowserContext, room: Room) -> None:
    """The order of the focus is that of the page, and the focus is seen."""
    page = await opened(context, room, LIVE)
    await live(page)
    await page.locator(".gateway-tabs a").first.focus()
    order = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        order.append(await page.evaluate("document.activeElement.getBoundingClientRect().top"))
        if await page.evaluate("document.activeElement.closest('#part-sessions tbody') !== null"):
            break
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.evaluate(outline) != "none"
    assert await page.evaluate("document.activeElement.type") == "checkbox"
    assert len(order) < 40 and order[-1] == max(order)
    assert all(later >= earlier - 40 for earlier, later in pairwise(order))
