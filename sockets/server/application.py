"""The application that `serve` runs: found, and shown to serve the gateway's sockets.

`get_asgi_application()` alone is what `startproject` writes, and it raises for every WebSocket:
a gateway that started with it would be ready, and answer each of them with 500.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from sockets.conf import Conf, get_conf
from sockets.types import Surface

logger = logging.getLogger(__name__)

PROBE_TIMEOUT: Final = 5.0
"""Seconds that an application gets to ask for its first event; one that is slower is believed."""

_REMEDY = (
    "wrap what it names: gateway = with_gateway(application), from sockets.asgi, and name that "
    "(this repository's own is 'gateway.asgi.application')"
)
_SHOWN = 300  # characters of another one's error


def load_application(path: Any) -> Any:
    """Return the application that ASGI_APPLICATION names, as `module.name` or `module:name`.

    Raises ImproperlyConfigured, in one line with the remedy.
    """
    if not path:
        raise _wrong("it is not set")
    if not isinstance(path, str):
        raise _wrong(f"it is {type(path).__name__} and no text")
    try:
        found = import_string(path.replace(":", "."))
    except ImproperlyConfigured:
        raise  # the project's own words, with a remedy of their own
    except Exception as error:
        # Whatever a foreign module raises while it is imported.
        logger.debug("importing %s failed", path, exc_info=True)
        raise _wrong(f"{path!r} cannot be imported ({_said(error)})") from error
    if inspect.isclass(found):
        raise _wrong(f"{path!r} is a class and no application")
    if not callable(found):
        raise _wrong(f"{path!r} is {type(found).__name__} and no application")
    return found


async def require_sockets(application: Any, path: str) -> None:
    """Raise ImproperlyConfigured unless the application serves one of the gateway's sockets.

    It is given the beginning of a handshake, and is cancelled as soon as it asks for the first
    event. To be called while the node runs: the gateway's own application would start one.
    """
    said = ""
    for target, surface in _places(get_conf()):
        why = await _unserved(application, target, surface)
        if why is None:
            return
        said = said or why
    raise _wrong(f"{path!r} does not serve the gateway's sockets ({said})")


def _places(conf: Conf) -> Iterator[tuple[str, Surface]]:
    """Yield where the gateway's sockets are. The workers' first: they count for no limit of
    addresses."""
    for paths, surface in (
        (conf.worker_paths, Surface.PRIVATE),
        (conf.client_paths, Surface.PUBLIC),
    ):
        yield from ((path, surface) for path in sorted(paths, key=len, reverse=True))


async def _unserved(application: Any, target: str, surface: Surface) -> str | None:
    """Return why a socket of this path would fail; None: it would not."""
    served = asyncio.Event()

    async def receive() -> Any:
        served.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message.get("type") == "websocket.accept":
            served.set()

    async def run() -> None:
        # Within a task, so that what is no coroutine function fails here too.
        await application(_handshake(target, surface), receive, send)

    running = asyncio.ensure_future(run())
    asked = asyncio.ensure_future(served.wait())
    try:
        await asyncio.wait(
            {running, asked}, timeout=PROBE_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
        )
        if served.is_set() or not running.done():
            return None
        error = asyncio.CancelledError() if running.cancelled() else running.exception()
        return "it refuses them" if error is None else _said(error)
    finally:
        for task in (running, asked):
            task.cancel()
        with suppress(Exception):
            await asyncio.wait({running, asked}, timeout=1)
        if running.done() and not running.cancelled():
            running.exception()  # seen: it is no error that nobody has retrieved


def _handshake(path: str, surface: Surface) -> dict[str, Any]:
    return {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": None,
        "server": None,
        "subprotocols": [],
        "extensions": {},
        "gateway.surface": surface,
    }


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())[:_SHOWN]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _wrong(fault: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"ASGI_APPLICATION: {fault}; {_REMEDY}")
