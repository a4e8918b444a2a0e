"""Workers that come, share, vanish and go: what visitors see of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

from playwright.async_api import Browser, ViewportSize, expect

from tests.browser.conftest import Site
from tests.browser.picture import take_picture
from tests.browser.pictures import LONG, photo
from tests.browser.tab import Tab
from tests.support.doubles import until
from tests.support.gateway import wait_for

WIDE: ViewportSize = {"width": 1200, "height": 900}
# Nine seconds pass at once for the page.
LATER = (
    "() => { const now = performance.now.bind(performance); performance.now = () => now() + 9000; }"
)


async def by(tab: Tab, name: str) -> str:
    """Which worker converted it."""
    note: str = await tab.row(name).locator(".note").inner_text()
    return note.rpartition("by ")[2]


async def test_two_workers_share_the_load(own_site: Site, browser: Browser, shots: Path) -> None:
    tab = await Tab.open(await browser.new_context(viewport=WIDE), own_site)
    await expect(tab.page.locator("#no-workers")).to_be_visible()
    names = [f"photo {number}.png" for number in range(4)]
    await tab.upload(*((name, photo()) for name in names))
    for name in names:
        await tab.says(name, "Waiting for the converter to come online")
    await take_picture(tab.page, shots / "converter-no-worker.png", full_page=True)

    with own_site.held():  # until both are there
        for name in ("left", "right"):
            own_site.work(name, "--pool", "image.convert=1")
    for name in names:
        await tab.becomes(name, "done")
    await expect(tab.page.locator("#no-workers")).to_be_hidden()
    await expect(tab.page.locator("#workers")).to_have_text(
        "2 converters online, 2 images at a time."
    )
    assert {await by(tab, name) for name in names} == {"left", "right"}
    assert tab.errors == []


async def test_the_only_worker_is_killed(own_site: Site, browser: Browser, shots: Path) -> None:
    """kill -9: the task is lost, the page says so, another worker begins anew."""
    own_site.work("first")
    tab = await Tab.open(await browser.new_context(viewport=WIDE), own_site)
    with own_site.held():
        await tab.upload(LONG, to="PNG")
        await tab.says("long.jpg", "so far")
        first_task = tab.durable()[-1]["data"]["task"]
        own_site.kill_worker("first")
    await expect(tab.page.locator("#no-workers")).to_be_visible()
    await tab.says("long.jpg", "Interrupted. It will start again soon")
    await take_picture(tab.page, shots / "converter-lost.png", full_page=True)

    def lost() -> list[object]:
        return [message["data"] for message in tab.messages if message["event"] == "task.lost"]

    await until(lost)  # after the job, which Django code has told of
    assert lost() == [{"task": first_task}]

    await asyncio.to_thread(own_site.work, "second")
    await tab.becomes("long.jpg", "done")
    assert await by(tab, "long.jpg") == "second"
    job = await tab.job("long.jpg")
    assert not [name for name in own_site.files(job) if first_task in name], "no half result"
    assert (await tab.download("long.jpg"))[1].size == (800, 600)
    assert tab.errors == []


async def test_a_new_tab_says_too_that_a_worker_is_silent(own_site: Site, browser: Browser) -> None:
    worker = own_site.work("frozen")
    context = await browser.new_context()
    tab = await Tab.open(context, own_site)
    with own_site.held():
        await tab.upload(LONG, to="PNG")
        await tab.says("long.jpg", "so far")
        worker.send_signal(signal.SIGSTOP)
        try:
            late = await Tab.open(context, own_site)
            await late.becomes("long.jpg", "working")
            await late.page.evaluate(LATER)
            await late.says("long.jpg", "no update for")
        finally:
            worker.send_signal(signal.SIGCONT)
    await late.becomes("long.jpg", "done")
    assert tab.errors == late.errors == []


async def test_a_worker_that_is_told_to_go_hands_its_work_over(
    own_site: Site, browser: Browser
) -> None:
    own_site.work("first", "--grace", "0")
    tab = await Tab.open(await browser.new_context(viewport=WIDE), own_site)
    with own_site.held():
        await tab.upload(LONG, to="PNG")
        await tab.says("long.jpg", "so far")
        assert await asyncio.to_thread(own_site.lay_off, "first") == 0
    await tab.says("long.jpg", "Paused. Another converter will take over")
    await asyncio.to_thread(own_site.work, "second")
    await tab.becomes("long.jpg", "done")
    assert await by(tab, "long.jpg") == "second"
    events = [message["event"] for message in tab.messages]
    assert "task.released" in events
    assert "task.lost" not in events


async def test_a_worker_that_was_cut_off_goes_on(own_site: Site, browser: Browser) -> None:
    """The gateway ends in order and returns: the worker comes back by itself, the job is done."""
    worker = own_site.work("first")
    tab = await Tab.open(await browser.new_context(viewport=WIDE), own_site)
    log = own_site.data_dir / "first.log"
    with own_site.held():
        await tab.upload(LONG, to="PNG")
        await tab.says("long.jpg", "so far")
        own_site.stop()
        await asyncio.to_thread(own_site.start)
        wait_for(lambda: log.read_text().count("connected to node") == 2, "it to come back", 60)
    await tab.becomes("long.jpg", "done")
    assert worker.poll() is None
    assert log.read_text().count("connected to node") == 2

    with own_site.held():
        await tab.upload(("stuck.jpg", LONG[1]), to="PNG")
        await tab.says("stuck.jpg", "Saving as")
        os.kill(worker.pid, signal.SIGSTOP)
        await tab.page.evaluate(LATER)
        # Of which one more passes each second.
        await expect(tab.row("stuck.jpg").locator(".detail")).to_contain_text(
            re.compile(r"no update for (9|1\d|2\d) s")
        )
        os.kill(worker.pid, signal.SIGCONT)
    await tab.becomes("stuck.jpg", "done")
