"""A real Chromium, a real gateway with the example, a real conversion worker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.acceptance.gateway import ROOT, WORKER_KEY, Gateway, running, wait_for

ADMIN, PASSWORD = "staff", "only-for-tests-9421"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)
            # One Chromium serves them all, and it belongs to one event loop.
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@contextmanager
def example(data_dir: Path) -> Iterator[Gateway]:
    """A gateway with the example, a staff user and one conversion worker."""
    settings = {"DEMO": "true", "RECONNECT_SPREAD": "0.5", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    with running(data_dir, **settings) as gateway:
        gateway.manage("createsuperuser", "--noinput", "--username", ADMIN, "--email", "a@b.test")
        log = data_dir / "worker.log"
        with log.open("wb") as out:
            worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "examples.image_converter.worker"),
                    *("--url", f"ws://127.0.0.1:{gateway.worker_port}"),
                    *("--data", str(data_dir), "--name", "converter-1"),
                ],
                cwd=ROOT,
                env={**gateway.environment, "WORKER_KEY": WORKER_KEY},
                stdout=out,
                stderr=out,
            )
        try:
            wait_for(lambda: "connected" in log.read_text(), "the worker to connect")
            yield gateway
            worker.terminate()
            assert worker.wait(15) == 0, log.read_text()
        finally:
            worker.kill()
            worker.wait()
        assert "Traceback" not in log.read_text(), log.read_text()
    assert "Traceback" not in gateway.log(), gateway.log()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for the module's tests; every browser context is a visitor of its own."""
    with example(tmp_path_factory.mktemp("site")) as gateway:
        yield gateway


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Gateway]:
    """One that a test may kill."""
    with example(tmp_path / "site") as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """Chromium without a visitor; every context that a test makes is one, and goes with it."""
    yield chromium
    for context in list(chromium.contexts):
        await context.close()


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where screenshots go; kept with the run."""
    folder = ROOT / "artifacts" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
