"""A Django project as `startproject` makes it, with the gateway of this checkout in it."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.support.gateway import ROOT, Gateway, wait_for
from tests.support.patience import PATIENCE

SETTINGS: Final = """

import sys

print("settings of", __name__, file=sys.stderr)
INSTALLED_APPS = [*{first!r}, *INSTALLED_APPS, "channels", "sockets"]
GATEWAY = {{
    "auth": ("insecure",),
    "data_dir": BASE_DIR.parent / "data",
    "ready_lag": 0.0,
    "drain_seconds": 0.3,
}}
CHANNEL_LAYERS = {{"default": {{"BACKEND": "sockets.layers.memory.MemoryChannelLayer"}}}}
ASGI_APPLICATION = "shop.asgi.application"
DATABASES["default"]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE"}}
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
"""

ASGI: Final = """

import json
import os
import sys
import threading

from sockets.asgi import with_gateway

application = with_gateway(application)
FACTS = {
    "pid": os.getpid(),
    "argv": sys.argv[1:],
    "path": sys.path[0],
    "settings": os.environ["DJANGO_SETTINGS_MODULE"],
    "variable": os.environ.get("OF_THE_SHOP"),
    "warnings": sys.warnoptions,
    "utf8": sys.flags.utf8_mode,
    "isolated": sys.flags.no_user_site,
    "reactor": type(sys.modules.get("twisted.internet.reactor")).__name__,
    "in_main_thread": threading.current_thread() is threading.main_thread(),
}
print("facts " + json.dumps(FACTS), flush=True)
"""

_tables: dict[str, bytes] = {}
"""Of sites that have been migrated, by their settings."""


@cache
def _project() -> Path:
    """What `startproject` makes, once a run: it takes half a second."""
    folder = Path(tempfile.mkdtemp(prefix="shop-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = [sys.executable, "-m", "django", "startproject", "shop", str(folder)]
    subprocess.run(command, check=True, timeout=60)
    return folder


class Site(Gateway):
    """A shop's project in a folder of its own. `first`: what comes first in INSTALLED_APPS."""

    def __init__(self, folder: Path, *first: str, **environment: str) -> None:
        self._first = list(first)
        super().__init__(folder / "data", PYTHONPATH=str(ROOT), **environment)
        self.folder = folder / "site"
        shutil.copytree(_project(), self.folder)
        self.append("settings.py", SETTINGS.format(first=self._first))
        self.append("asgi.py", ASGI)
        (self.folder / "templates").mkdir()

    def migrate(self) -> None:
        """Give it the tables: a copy of those that the first site with these settings made. What
        comes first in INSTALLED_APPS has none."""
        file = self.folder / "db.sqlite3"
        told = (self.folder / "shop" / "settings.py").read_text()
        settings = told.replace(f"[*{self._first!r}, ", "[", 1)
        made = _tables.get(settings)
        if made is not None:
            file.write_bytes(made)
            return
        self.manage("migrate", "--verbosity", "0")
        _tables[settings] = file.read_bytes()

    def append(self, name: str, text: str) -> None:
        """Add to a module of the project."""
        with (self.folder / "shop" / name).open("a") as file:
            file.write(text)

    def facts(self) -> list[dict[str, Any]]:
        """What each process that loaded the application said of itself."""
        lines = self.log().splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("facts ")]

    def wait_until_ready(self, times: int = 1, seconds: float = PATIENCE) -> None:
        """Return when the gateway has started so many times; fails early where it has ended."""
        wait_for(lambda: self.log().count("is ready") >= times or self.ended(), "a start", seconds)
        assert self.log().count("is ready") >= times, self.log()
