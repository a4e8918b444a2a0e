"""Step 5 of the tutorial as it stands there: a page on a port of its own, a worker, a message."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.static import folder_served
from tests.support.gateway import ROOT, running, wait_for

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()


def block(language: str, holding: str) -> str:
    """The one code block of the tutorial in this language that holds this."""
    blocks = re.findall(rf"```{language}\n(.*?)```", TUTORIAL, re.DOTALL)
    (found,) = [text for text in blocks if holding in text]
    return str(found)


async def test_the_browser_shows_the_message(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    environment = {"ENVIRONMENT": "development", "AUTH": "insecure"}
    with (
        running(tmp_path, **environment, WORKER_KEYS="tutorial:my-worker-secret") as gateway,
        folder_served(folder) as url,
    ):
        ports = {":4000": f":{gateway.client_port}", ":4001": f":{gateway.worker_port}"}

        def here(text: str) -> str:
            return re.sub(":400[01]", lambda found: ports[found[0]], text)

        (folder / "index.html").write_text(here(block("html", "gateway.js")))
        (tmp_path / "hello.py").write_text(here(block("python", "my-worker-secret")))
        async with await browser.new_context() as context:
            page = await context.new_page()
            command = [sys.executable, str(tmp_path / "hello.py")]
            await page.goto(url)
            await expect(page).to_have_title("online", timeout=20_000)
            assert subprocess.run(command, timeout=30).returncode == 0  # noqa: ASYNC221  (a moment)
            shown = block("text", "a worker").strip()
            await expect(page.locator("#messages li")).to_have_text([shown], timeout=20_000)


@pytest.mark.parametrize("environment", ["development", "test"])
async def test_a_page_from_a_file_is_not_let_in(
    environment: str, browser: Browser, tmp_path: Path
) -> None:
    """Not even by `*`, and the log says where to open it from."""
    with running(tmp_path, ENVIRONMENT=environment, CLIENT_ORIGIN="*") as gateway:
        file = tmp_path / "index.html"
        file.write_text(block("html", "gateway.js").replace(":4000", f":{gateway.client_port}"))
        async with await browser.new_context() as context:
            page = await context.new_page()
            await page.goto(file.as_uri())
            wait_for(lambda: "a page without an origin" in gateway.log(), "the log to say it")
            assert await page.title() != "online"
