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
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.script import script as script  # a fixture
from tests.support.gateway import ROOT, WORKER_KEY, Gateway, wait_for

expect.set_options(timeout=20_000)  # milliseconds; by itself 5 s

ADMIN, PASSWORD = "staff", "only-for-tests-9421"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def without_windows(chromium: str | None) -> str | None:
    """Return the Chromium that takes less CPU for each page, where it lies beside the other.

    Debian and Playwright put it there. It keeps no page that was left.
    """
    if chromium is None:
        return None
    for folder in Path(chromium).parents:
        name, _, revision = folder.name.partition("-")
        if name == "chromium" and revision:
            shells = folder.parent.glob(f"chromium_headless_shell-{revision}/*/*headless*shell")
            return next((str(shell) for shell in shells if os.access(shell, os.X_OK)), chromium)
    return shutil.which(f"{chromium}-headless-shell") or chromium


WINDOWLESS = without_windows(CHROMIUM)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # What Playwright switches off and a page would notice, for the last of two such lists counts;
    # and what costs a second of CPU for each page, and no page sees: an address bar that is itself
    # a page, and a process that waits for the next one.
    "--disable-features=AimEnabled,DestroyProfileOnBrowserClose,HttpsFirstBalancedModeAutoEnable,"
    "HttpsUpgrades,LensOverlay,MediaRouter,NetworkTimeServiceQuerying,OptimizationHints,"
    "PaintHolding,PreconnectToSearch,ThirdPartyStoragePartitioning,"
    "AvoidCorsURLLoaderRestartOnRedirect,AvoidUnnecessaryBeforeUnloadCheckSync,"
    "SpareRendererForSitePerProcess,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,WebUIOmniboxPopup",
]

_with_staff: list[bytes] = []
"""The database of the first site, before it started: with the tables and the staff user."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)
            # One Chromium serves them all, and it belongs to one event loop.
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


class Site(Gateway):
    """A gateway with the example and a staff user; `workers` by name, each a process."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        super().__init__(data_dir, **environment)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._held = data_dir / "held"

    def set_up(self) -> None:
        file = self.data_dir / "gateway.sqlite3"
        if _with_staff and "DATABASE_URL" not in self.environment:
            file.write_bytes(_with_staff[0])
        else:
            self.migrate()
            self.manage("createsuperuser", "--noinput", "--username", ADMIN, "--email", "a@b.test")
            if file.exists():
                _with_staff.append(file.read_bytes())  # its process is gone, so is the WAL
        self.start()

    def work(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a conversion worker; returns when it is connected."""
        log = self.data_dir / f"{name}.log"
        with log.open("wb") as out:
            worker = self.workers[name] = subprocess.Popen(
                [
                    # Where cores are shared, pages keep up with the work.
                    *("nice", "-n", "5", sys.executable, "-m", "gateway_client", "worker"),
                    *("tests.browser.held_worker:worker", "--name", name, *options),
                ],
                cwd=ROOT,
                env={
                    **self.environment,
                    "PYTHONPATH": f"{ROOT}/clients/python",
                    "HELD": str(self._held),
                    "WORKER_KEY": WORKER_KEY,
                    "WORKER_SOCKET_URL": f"ws://127.0.0.1:{self.worker_port}",
                },
                stdout=out,
                stderr=out,
            )
        # It is the last to get a core, and most of what it needs are its imports.
        wait_for(lambda: "connected" in log.read_text(), f"{name} to connect", 60)
        return worker

    def lay_off(self, name: str) -> int:
        """SIGTERM, and the exit code."""
        worker = self.workers.pop(name)
        worker.terminate()
        return worker.wait(60)

    def kill_worker(self, name: str) -> None:
        """kill -9."""
        worker = self.workers.pop(name)
        worker.kill()
        worker.wait()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let every image that is converted meanwhile wait, half written."""
        self._held.touch()
        try:
            yield
        finally:
            self._held.unlink()

    def files(self, job: str) -> list[str]:
        """What of this job is on the disk."""
        return [path.name for path in (self.data_dir / "demo").glob(f"*/{job}*/*")]


@contextmanager
def example(data_dir: Path, *workers: str, **settings: str) -> Iterator[Site]:
    """A gateway with the example, a staff user and these workers."""
    settings = {
        "DEMO": "true",
        "READY_LAG": "0",
        "DRAIN_SECONDS": "0.5",
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        **settings,
    }
    site = Site(data_dir, **settings)
    try:
        site.set_up()
        for name in workers:
            site.work(name)
        yield site
        for name in list(site.workers):
            assert site.lay_off(name) == 0, (data_dir / f"{name}.log").read_text()
        assert site.stop() == 0, site.log()
    finally:
        for name in list(site.workers):
            site.kill_worker(name)
        site.kill()
    for log in data_dir.glob("*.log"):
        text = log.read_text(errors="replace")
        assert "Traceback" not in text, text
        assert "was destroyed" not in text, text


async def log_in(page: Page, site: Site, path: str) -> None:
    """As staff, at the admin; returns at this page of it."""
    await page.goto(site.http(f"/admin/login/?next={path}", private=True))
    await page.fill("#id_username", ADMIN)
    await page.fill("#id_password", PASSWORD)
    await page.click("[type=submit]")
    await page.wait_for_url(f"**{path}")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all that leave it as it is; every browser context is a visitor of its own."""
    with example(tmp_path_factory.mktemp("site"), "converter-1") as gateway:
        yield gateway


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """One that a test may kill, without a worker, and short of patience with those that vanish."""
    with example(tmp_path / "site", TASK_GRACE="1") as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=WINDOWLESS, args=FLAGS)
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
