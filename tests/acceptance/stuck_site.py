"""The gateway with a project's receiver that hangs, as one whose database does not answer."""

from __future__ import annotations

import time
from typing import Any

from gateway.asgi import application

from sockets import signals  # isort: skip

__all__ = ["application"]


def hang(**_: Any) -> None:
    time.sleep(300)


signals.session_closed.connect(hang)
