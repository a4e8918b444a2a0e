"""A pytest plugin: the environment of the whole run, set before Django reads its settings.

Neither the developer's `.env` nor their shell nor `var/` may change a result; each run has a data
folder of its own. Tests that start processes of their own inherit this and override what they test.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings

from sockets.base import under_test

_ROOT = Path(__file__).resolve().parents[2]


def variables() -> set[str]:
    """Every variable that a start reads: `.env.example` lists them all, and a test holds it to the
    settings' own list."""
    example = (_ROOT / ".env.example").read_text()
    return set(re.findall(r"^#([A-Z_]+)=", example, re.MULTILINE))


for _name in variables():
    os.environ.pop(_name, None)

_folder = tempfile.mkdtemp(prefix="gateway-tests-")
_owner = os.getpid()


@atexit.register
def _clean() -> None:
    if os.getpid() == _owner:  # not in a forked child
        shutil.rmtree(_folder, ignore_errors=True)


signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup what is started here would ignore it

os.environ |= {
    "ENVIRONMENT": "test",
    "ENV_FILE": os.devnull,
    "DATA_DIR": _folder,
    "NODE_NAME": "test-node",
    "DEMO": "true",
    "AUTH": "jwt,insecure",
    "JWT_SECRET": "only-for-tests-" + "0123456789abcdef" * 3,
}


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Make cheap what each test would pay for anew, and none is about; no test is about time."""
    # Tests of the gateway ask the gateway; the outbox has tests of its own.
    under_test.ignore()
    # By design each takes a third of a second.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    _find_static_files_once()
    # How long an example takes depends on what else this machine does.
    hypothesis.settings.register_profile("gateway", deadline=None)
    hypothesis.settings.load_profile("gateway")


def pytest_collection_finish() -> None:
    """Let the garbage collector leave out what lives as long as the run: thousands of tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _find_static_files_once() -> None:
    """Every test client has a middleware of its own, which looks through all static files."""
    from servestatic.middleware import ServeStaticMiddleware  # it needs the settings

    find = ServeStaticMiddleware.add_files_from_finders
    found: dict[str, Any] = {}

    def find_once(self: ServeStaticMiddleware) -> None:
        if not found:
            find(self)
            found.update(self.files)
        self.files.update(found)

    setattr(ServeStaticMiddleware, find.__name__, find_once)
