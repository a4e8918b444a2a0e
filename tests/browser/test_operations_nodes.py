"""The operations room in Chromium on two real nodes with a real Valkey."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.conftest import PASSWORD, Site, log_in
from tests.browser.test_admin import all_end
from tests.support.gateway import Gateway, wait_for
from tests.support.valkey import Server
from tests.unit.admin.operations.values import session_id

ADMIN = "/admin/sockets"
LIVE = f"{ADMIN}/livesession/"
PAGES = (
    "livesession/",
    f"livesession/{session_id(1)}/change/",
    "gatewayuser/?user=kim",
    "gatewayuser/why/?user=kim&what=offset&message=1",
    "gatewayuser/trace/?user=kim",
    "gatewayuser/disconnect/?user=kim",
    "worker/",
    "refusal/",
)
CODE = 4507
PATIENCE = 60_000
"""Milliseconds that a page may take on a machine that does much else."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Site, Gateway, Server]]:
    """One with the admin, and another; both with the same Valkey and the same database."""
    store = Server()
    shared = {
        "REDIS_URL": store.url,
        "DATABASE_URL": f"sqlite:///{tmp_path}/shared.sqlite3",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        "LEASE_TTL": "6",
        "LEASE_RENEW": "2",
    }
    one = Site(tmp_path / "one", **shared, NODE_NAME="one")
    two = Gateway(tmp_path / "two", **shared, NODE_NAME="two")
    try:
        one.set_up()
        two.start()
        yield one, two, store
    finally:
        two.kill()
        one.kill()
        store.stop()


def row(page: Page, user: str) -> Locator:
    return page.locator("#part-sessions tbody tr").filter(has_text=user)


def open_rows(folder: Path) -> list[str]:
    """The users of the rows that no end was written to."""
    with sqlite3.connect(folder / "shared.sqlite3", timeout=20) as database:
        query = "select user from sockets_session where disconnected_at is null order by user"
        return [user for (user,) in database.execute(query)]


async def test_what_happens_at_the_other_node(
    browser: Browser, nodes: tuple[Site, Gateway, Server], tmp_path: Path
) -> None:
    one, two, store = nodes
    page = await (await browser.new_context(viewport={"width": 1200, "height": 900})).new_page()
    await log_in(page, one, LIVE)
    await expect(page.locator("#gateway-status")).to_have_text("Live", timeout=PATIENCE)
    async with (
        websockets.connect(two.client_url(user_id="kim")) as socket,
        websockets.connect(two.client_url(user_id="lee")) as other,
    ):
        for user in ("kim", "lee"):
            await expect(row(page, user)).to_contain_text("two", timeout=PATIENCE)
        wait_for(lambda: open_rows(tmp_path) == ["kim", "lee"], "the rows to be written", 60)
        await row(page, "kim").locator("input").check()
        await page.locator("#gateway-chosen .gateway-actions button").click()
        await expect(page.locator(".gateway-affected")).to_have_text("This concerns 1 session.")
        await page.fill("#id_code", str(CODE))
        await page.fill("#id_reason", "enough")
        await page.click(".gateway-form [type=submit]")
        told = page.locator(".messagelist")
        await expect(told).to_contain_text("1 session was disconnected.", timeout=PATIENCE)
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (CODE, "enough")
        assert other.close_code is None, "this one, and no other"
        await expect(row(page, "lee")).to_have_count(1)
        await expect(row(page, "kim")).to_have_count(0)
        history = await page.context.new_page()
        await history.goto(one.http(f"{ADMIN}/session/?q=kim", private=True))
        await all_end(history, "#result_list .gateway-badge", 1)

        await page.goto(one.http(f"{ADMIN}/overview/", private=True))
        gone = page.locator("#part-nodes tbody tr").filter(has=page.get_by_text("two", exact=True))
        await expect(gone.locator(".field-state")).to_have_text("ready", timeout=PATIENCE)
        two.kill()
        await expect(gone.locator(".field-state")).to_have_text("lost", timeout=PATIENCE)
        here = page.locator("#part-nodes tbody tr").filter(has=page.get_by_text("one", exact=True))
        await expect(here.locator(".field-state")).to_have_text("ready")
    await without_redis(page, one, store)
    assert one.stop() == 0, one.log()


async def without_redis(page: Page, one: Site, store: Server) -> None:
    """The overview is open. Its node still tells of itself, and each page says what to do."""
    store.kill()
    note = page.locator("#part-totals [data-note]")
    await expect(note).to_contain_text("Redis is unreachable since 20", timeout=PATIENCE)
    await expect(note).to_contain_text("figures of node one alone")
    answer = await page.reload()
    assert answer is not None and answer.status == 200
    await expect(note).to_contain_text("All nodes together had")
    here = page.locator("#part-nodes tbody tr").filter(has=page.get_by_text("one", exact=True))
    await expect(here.locator(".field-state")).not_to_have_text("not asked")
    for path in PAGES:
        answer = await page.goto(one.http(f"{ADMIN}/{path}", private=True))
        assert answer is not None and answer.status == 200, path
        told = page.locator(".errornote")
        await expect(told).to_contain_text("See that Redis runs", timeout=PATIENCE)
    await page.goto(one.http(f"{ADMIN}/livesession/", private=True))
    store.start()
    await expect(page.locator("#gateway-status")).to_have_text("Live", timeout=PATIENCE)
    await expect(page.locator("#gateway-problem")).to_have_count(0)
