"""The wheel, and virtual environments that have it and nothing of this checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.support.gateway import ROOT

FOR_PIP: Final = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""What pip is left of this process' variables, beside its own (PIP_…) and those of proxies."""

_OPTIONS: Final = (
    *("--no-compile", "--prefer-binary"),
    *("--no-input", "--disable-pip-version-check"),
)
_UV: Final = Path(sys.executable).with_name("uv")
_PINNED: Final = re.compile(r"^([\w.-]+==[^\s;\\]+)(?: ; ([^\\]+?))? *\\?$", re.MULTILINE)


def build(folder: Path, *kinds: str) -> list[Path]:
    """Build the checkout: an sdist and a wheel from that, or the `kinds` straight from it."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, *kinds, str(ROOT)], check=True, capture_output=True, timeout=120)
    return sorted(folder.iterdir())


def pins(lock: str = "requirements-dev.txt") -> list[str]:
    """The versions of the lock, as constraints: what is published tomorrow changes no result."""
    found = _PINNED.findall((ROOT / lock).read_text())
    return [f"{pin} ; {when}" if when else pin for pin, when in found]


@dataclass(frozen=True)
class Environment:
    """A virtual environment without pip, which this process' pip installs into."""

    folder: Path
    lock: str = "requirements-dev.txt"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        (found,) = self.folder.glob("lib/python3*/site-packages")
        return found

    def run(
        self, *arguments: str | Path, cwd: Path, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run its Python. It gets none of this process' variables but PATH."""
        done = subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "DATA_DIR": str(cwd / "var"), **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0 or not check, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done

    def install(self, *requirements: str, by_pip: bool = False) -> None:
        """Install from the index that pip is set up for; with uv where that is PyPI."""
        constraints = self.folder / "pins.txt"
        constraints.write_text("\n".join(pins(self.lock)))
        if by_pip or not _uv_knows_the_index():
            tool = [sys.executable, "-m", "pip", "--python", str(self.python), "install", *_OPTIONS]
        else:
            tool = [str(_UV), "pip", "install", "--python", str(self.python)]
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in FOR_PIP or name.startswith("PIP_") or name.lower().endswith("_proxy")
        }
        done = subprocess.run(
            [*tool, "--quiet", "--constraint", str(constraints), *requirements],
            env=kept,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr[-3_000:]


@cache
def _uv_knows_the_index() -> bool:
    command = [sys.executable, "-m", "pip", "config", "list"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    return _UV.exists() and re.search(r"\.(index-url|no-index)=", told) is None


def make(folder: Path, *requirements: str, by_pip: bool = False) -> Environment:
    """Make an environment with these installed."""
    venv.create(folder, with_pip=False)
    made = Environment(folder)
    made.install(*requirements, by_pip=by_pip)
    return made


NEWEST: Final = Environment(ROOT / ".venv-newest", "requirements-newest.txt")
"""That of the newest Django and Python, which scripts/test makes. It has no `sockets`."""


def above(below: Environment, folder: Path, *requirements: str) -> Environment:
    """Make an environment that has these beside all that `below` has."""
    command = [str(below.python), "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True, timeout=60)
    made = Environment(folder, below.lock)
    (made.packages / "below.pth").write_text(f"{below.packages}\n")
    made.install(*requirements)
    return made


SETTINGS: Final = """

import sockets.environment

INSTALLED_APPS += ["sockets"]
GATEWAY = sockets.environment.read() | {"django_accounts": True}
ASGI_APPLICATION = "shop.asgi.application"
DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}
"""

URLS: Final = """

from django.http import JsonResponse

from sockets.api import is_online, notify_user, presence_of


def paid(request):
    receipt = notify_user(42, "order.paid", {"order": 7})
    return JsonResponse(
        {"offset": receipt.offset, "online": is_online(42), "state": presence_of(42).state}
    )


urlpatterns += [path("paid/", paid)]
"""


ASGI: Final = """

from sockets.asgi import with_gateway

application = with_gateway(application)
"""


def start_project(environment: Environment, folder: Path) -> Path:
    """Make a Django project as its own command does, with the gateway in it; return its folder."""
    folder.mkdir()
    environment.run("-m", "django", "startproject", "shop", folder, cwd=folder)
    with (folder / "shop" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    with (folder / "shop" / "urls.py").open("a") as urls:
        urls.write(URLS)
    with (folder / "shop" / "asgi.py").open("a") as asgi:
        asgi.write(ASGI)
    return folder
