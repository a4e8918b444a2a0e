"""Pictures of pages, to be looked at: no test depends on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.async_api import Error, Page

TRIES = 5


async def take_picture(page: Page, path: Path, **options: Any) -> None:
    """Keep a picture. A Chromium that gets no core says "unable", and may be asked again."""
    for left in reversed(range(TRIES)):
        try:
            await page.screenshot(path=path, **options)
        except Error as error:
            if not left or "Unable to capture screenshot" not in error.message:
                raise
        else:
            return
