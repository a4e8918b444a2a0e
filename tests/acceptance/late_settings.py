"""The settings of a gateway that takes other waits in the kernel's queue for long ones: LATE_LONG
and LATE_SPAN, in seconds."""

import os

from gateway.settings import *  # noqa: F403
from sockets.server import backlog

for _name in ("LONG", "SPAN"):
    setattr(backlog, _name, float(os.environ[f"LATE_{_name}"]))
