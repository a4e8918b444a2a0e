"""Twisted's reactor on uvloop. Must be imported before anything that imports a reactor.

`daphne.server` installs its own asyncio reactor on import, with the default loop, unless one is
there already; "daphne" in INSTALLED_APPS imports it during `django.setup()`. Hence this module,
imported first by `sockets.server.daphne`, or where that is too late by a fresh interpreter
(`sockets/server/fresh.py`); and a test that asks for the loop's class.
"""

from __future__ import annotations

import asyncio
import logging
import select
import sys
from contextlib import suppress
from typing import Any

import uvloop
from twisted.internet import asyncioreactor, error
from twisted.internet.main import installReactor

if "twisted.internet.reactor" in sys.modules:
    raise ImportError(
        "a Twisted reactor is installed already, so uvloop cannot be used: run `manage.py serve`, "
        "or import sockets.server.reactor before all other code that uses Twisted"
    )

logger = logging.getLogger(__name__)

_DEAD = select.POLLERR | select.POLLHUP | select.POLLNVAL


def _called(selectable: Any, function: Any, *arguments: Any) -> None:
    """Call a function; what it raises is logged.

    Twisted enters a context of its log for each event of a socket, and asks the socket for a name.
    """
    try:
        function(*arguments)
    except Exception:
        logger.exception("an event of %s failed", selectable)


setattr(asyncioreactor, "callWithLogger", _called)  # noqa: B010  (it is not typed as its own)


class ResetSafeReactor(asyncioreactor.AsyncioSelectorReactor):
    """Tells a connection that it was reset; on uvloop Twisted would never hear of it.

    When a polled socket has an error (a peer's RST), libuv stops polling it and uvloop closes the
    poll handle: no callback runs any more, `add_writer` raises RuntimeError, and the socket stays
    open for ever. uvloop reports to the loop's exception handler, without saying which socket.
    """

    def __init__(self, eventloop: asyncio.AbstractEventLoop) -> None:
        self._searching = False
        # Tells of errors alone, and of those at once: nobody asks every socket.
        self._errors = select.epoll() if hasattr(select, "epoll") else None
        super().__init__(eventloop)
        eventloop.set_exception_handler(self._on_loop_error)

    def addReader(self, reader: Any) -> None:
        if self._errors is not None:
            with suppress(FileExistsError, OSError, ValueError):
                self._errors.register(reader.fileno(), 0)  # until the kernel closes it
        try:
            super().addReader(reader)
        except RuntimeError:
            self._asyncioEventloop.call_soon(self._drop, reader)

    def addWriter(self, writer: Any) -> None:
        try:
            super().addWriter(writer)
        except RuntimeError:
            self._asyncioEventloop.call_soon(self._drop, writer)

    def removeReader(self, reader: Any) -> None:
        with suppress(RuntimeError):
            super().removeReader(reader)

    def removeWriter(self, writer: Any) -> None:
        with suppress(RuntimeError):
            super().removeWriter(writer)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if type(context.get("handle")).__name__ != "UVPoll":
            loop.default_exception_handler(context)
        elif not self._searching:  # one search for all that were reset at the same time
            self._searching = True
            loop.call_soon(self.drop_dead)

    def drop_dead(self) -> None:
        """Find the sockets that the kernel calls dead: one system call for all of them.

        To be called now and then too: a reset right after the last data is not even reported.
        """
        self._searching = False
        if self._errors is not None and not (perhaps := dict(self._errors.poll(0))):
            return
        poll, by_fd = select.poll(), {}
        for selectable in {*self.getReaders(), *self.getWriters()}:
            # What epoll says may still be of the one that had this number before.
            if (fd := selectable.fileno()) >= 0 and (self._errors is None or fd in perhaps):
                by_fd[fd] = selectable
                poll.register(fd, 0)  # errors are always reported
        for fd, events in poll.poll(0):
            if events & _DEAD:
                self._drop(by_fd[fd])

    def _drop(self, selectable: Any) -> None:
        if (fd := selectable.fileno()) < 0:
            return  # it knows already
        # The closed handle must go, or the next socket with this number would get it.
        for forget in (self._asyncioEventloop.remove_reader, self._asyncioEventloop.remove_writer):
            with suppress(RuntimeError):
                forget(fd)
        self._disconnectSelectable(selectable, error.ConnectionLost(), False)


loop = uvloop.new_event_loop()
reactor: Any = ResetSafeReactor(loop)
installReactor(reactor)
