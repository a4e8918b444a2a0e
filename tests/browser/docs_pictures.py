"""The pictures of the admin in docs/images, made from the running pages: scripts/pictures

Of which pages, and over which data: `tests.support.invented_shop`.
"""

from __future__ import annotations

import asyncio
from io import BytesIO
from math import dist
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.async_api import Page, async_playwright, expect

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.support.fixed_room import PASSWORD, Room, running_room
from tests.support.gateway import ROOT
from tests.support.invented_shop import PAGES

FOLDER: Final = ROOT / "docs" / "images"
VIEW: Any = {"width": 1200, "height": 700}
COLOURS: Final = 256


async def take(page: Page, room: Room, folder: Path) -> None:
    """Write a picture of each page into the folder."""
    room.set(invent=None)
    await page.goto(f"{room.base}/admin/login/")
    await page.fill("#id_username", "staff")
    await page.fill("#id_password", PASSWORD)
    await page.click("[type=submit]")
    await page.wait_for_url("**/admin/")
    for name, path in PAGES.items():
        await page.goto(f"{room.base}/admin/sockets/{path}")
        if await page.locator("#gateway-status").count():
            await expect(page.locator("#gateway-status")).to_have_text("Live")
        taken = await page.screenshot(full_page=True, animations="disabled")
        (folder / f"admin-{name}.png").write_bytes(small(taken))


def small(png: bytes) -> bytes:
    """Return the picture with its commonest colours alone, the others as the nearest of them."""
    out = BytesIO()
    with Image.open(BytesIO(png)) as opened:
        whole = opened.convert("RGB")
    counted: Any = whole.getcolors(whole.width * whole.height)
    common = [colour for _, colour in sorted(counted)[-COLOURS:]]
    places = {
        colour: min(range(len(common)), key=lambda place: dist(common[place], colour))
        for _, colour in counted
    }
    raw = whole.tobytes()
    pixels = zip(raw[::3], raw[1::3], raw[2::3], strict=True)
    few = Image.frombytes("P", whole.size, bytes(places[pixel] for pixel in pixels))
    few.putpalette([part for colour in common for part in colour])
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


async def main() -> None:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with running_room() as room:
            await take(await chromium.new_page(viewport=VIEW), room, FOLDER)
        await chromium.close()


if __name__ == "__main__":
    asyncio.run(main())
