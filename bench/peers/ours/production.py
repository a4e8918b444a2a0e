"""The project's settings in production, with a folder of its own for static files: those of the
admin are not collected into the checkout that is measured."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.settings import *  # noqa: F403

STATIC_ROOT = Path(os.environ["DATA_DIR"]) / "static"
