"""The life of an ASGI server's process: the node's, and round it the project's application's."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from sockets.node.node import ensure_node, stop_node

_STARTUP: Final = "lifespan.startup"
_SHUTDOWN: Final = "lifespan.shutdown"


class Inner:
    """The lifespan of the application that the gateway is round. One that has none ends, or fails,
    before it has said anything."""

    def __init__(self, app: Any, scope: Any) -> None:
        self._given: asyncio.Queue[Any] = asyncio.Queue()
        self._said: asyncio.Queue[Any] = asyncio.Queue()
        self._running = asyncio.ensure_future(self._run(app, scope))

    async def _run(self, app: Any, scope: Any) -> None:
        # Within a task, so that what is no coroutine function fails here too.
        await app(scope, self._given.get, self._said.put)

    async def pass_on(self, message: Any) -> Any:
        """Give it a message, and return its answer; None: it has none to give."""
        if self._running.done():
            return None
        self._given.put_nowait(message)
        answer = asyncio.ensure_future(self._said.get())
        await asyncio.wait({answer, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    async def end(self) -> None:
        """Let go of it, whatever it does."""
        self._running.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await self._running


async def serve_lifespan(
    app: Any, scope: Any, receive: Any, send: Any, *, node: bool = True
) -> None:
    """Start and stop the node. `app`: what has a lifespan of its own inside of it; None: nothing.

    What it needs of the node is there from its start to its end. `node`: whether there is one.
    """
    inner = None if app is None else Inner(app, scope)
    try:
        while True:
            message = await receive()
            if message["type"] == _STARTUP:
                failed = await _start(inner, message, node)
                await send(failed or {"type": f"{_STARTUP}.complete"})
                if failed:
                    return
            elif message["type"] == _SHUTDOWN:
                answer = None if inner is None else await inner.pass_on(message)
                await stop_node()
                await send(_failed(answer, _SHUTDOWN) or {"type": f"{_SHUTDOWN}.complete"})
                return
    finally:
        if inner is not None:
            await inner.end()


async def _start(inner: Inner | None, message: Any, node: bool) -> Any:
    """Return the message that says why not; None: both have started."""
    try:
        if node:
            await ensure_node()
    except Exception as error:
        # The server prints this line and ends; a traceback would bury it.
        return {"type": f"{_STARTUP}.failed", "message": str(error)}
    answer = None if inner is None else await inner.pass_on(message)
    if failed := _failed(answer, _STARTUP):
        await stop_node()
    return failed


def _failed(answer: Any, of: str) -> Any:
    """Return the answer if it says that the inner application has failed, else None."""
    return answer if answer is not None and answer["type"] == f"{of}.failed" else None
