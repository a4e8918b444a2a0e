"""Twisted's reactor on uvloop. Must be imported before anything that imports a reactor.

`daphne.server` installs its own asyncio reactor on import, with the default loop, unless one is
there already; "daphne" in INSTALLED_APPS would import it during `django.setup()`. Hence this
module, imported first by `sockets.server.daphne`, and a test that asks for the loop's class.
"""

from __future__ import annotations

import sys
from typing import Any

import uvloop
from twisted.internet import asyncioreactor

if "twisted.internet.reactor" in sys.modules:
    raise ImportError(
        "a Twisted reactor is installed already, so uvloop cannot be used: take 'daphne' out of "
        "INSTALLED_APPS, and import sockets.server before other code that uses Twisted"
    )

loop = uvloop.new_event_loop()
asyncioreactor.install(loop)

from twisted.internet import reactor as _reactor  # noqa: E402  # must follow the installation

reactor: Any = _reactor  # zope's interfaces say nothing that a type checker understands
