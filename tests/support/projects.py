"""Django projects beside this one, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SETTINGS = """
from pathlib import Path
HERE = Path(__file__).parent
SECRET_KEY = "k" * 50
DEBUG = True
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = {apps!r}
DATABASES = {{
    "default": {{
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": HERE / "db.sqlite3",
        "OPTIONS": {{"transaction_mode": "IMMEDIATE"}},
    }}
}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
GATEWAY = {{
    "auth": ("jwt",),
    "jwt_secret": "s" * 32,
    "data_dir": HERE / "var",
    "ready_lag": 0.0,
    "drain_seconds": 0.1,
}}
ROOT_URLCONF = "project"
ASGI_APPLICATION = "project.application"
"""

PROJECT = """
from django.core.asgi import get_asgi_application

from sockets.asgi import with_gateway

urlpatterns = []


def __getattr__(name):
    if name == "application":
        return with_gateway(get_asgi_application())
    raise AttributeError(name)
"""


def make_project(folder: Path, apps: str, more: str = "") -> Path:
    """Write a project with these apps of `django.contrib`, Channels and the gateway.

    `more`: lines that end its settings.
    """
    names = [*(f"django.contrib.{name}" for name in apps.split()), "channels", "sockets"]
    (folder / "settings.py").write_text(SETTINGS.format(apps=names) + more)
    (folder / "project.py").write_text(PROJECT)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """What its processes get: its settings, and nothing of this process' but PATH."""
    path = os.pathsep.join([str(folder), str(Path(__file__).resolve().parents[2])])
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": path,
        "DJANGO_SETTINGS_MODULE": "settings",
        "PYTHONWARNINGS": "ignore",
    }


def run(folder: Path, *arguments: str) -> str:
    """Run Python in the project; return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    return done.stdout.strip()


def in_a_project(apps: str, code: str) -> str:
    """Return what `code` prints in a fresh project that is set up."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = make_project(Path(folder), apps)
        return run(made, "-c", f"import django\ndjango.setup()\n{code}")
