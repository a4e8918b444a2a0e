"""The hardened daphne: both surfaces in one process, and an end that is orderly.

`GatewayServer.run()` blocks until SIGTERM, SIGHUP or SIGINT has been carried out; `exit_code` says
how it went. A second signal hurries, and in development SIGINT (Ctrl-C) waits for nobody. What
stock daphne does instead is in docs/why-our-own-server.md section 3.
"""

from __future__ import annotations

# isort: off
from sockets.server.inbound import InboundQueue
from sockets.server.reactor import loop, reactor
# isort: on

import asyncio
import errno
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any
from weakref import ref

from daphne.endpoints import build_endpoint_description_strings
from daphne.server import Server
from twisted.internet import defer
from twisted.internet.error import CannotListenError
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.http import _GenericHTTPChannelProtocol

from sockets.base.timetable import Timetable
from sockets.codes import CloseCode
from sockets.conf import Conf
from sockets.server.backlog import Waits
from sockets.server.bodies import BodyMemory
from sockets.server.early import listened
from sockets.server.files import Files
from sockets.server.http import BodyLimit, GatewayRequest
from sockets.server.idle import IdleConnections
from sockets.server.waiting import SILENCE, GatewayChannel, WaitingConnections
from sockets.server.websocket import GatewayWebSocket, bind
from sockets.types import Refusal, Surface

logger = logging.getLogger(__name__)

HURRIED_GRACE = 0.5
"""Seconds that are left to applications after a second signal."""

AT_ONCE_GRACE = 0.2
"""The same where nobody is waited for."""

BACKLOG = 8_192
"""Connections that wait in the kernel, as far as its own limit goes (`net.core.somaxconn`); stock:
50. Whoever finds no place tries again after 1, 3, 7 and 15 s, however soon there is one."""

CHECKED_EVERY = 2.0
"""Seconds within which a connection's time-out is noticed."""

ACCEPTS = 4
"""Connections accepted in one turn of the loop: the rest of a crowd comes after those who wait."""

ACCEPT_PAUSE = 0.02
"""Seconds until a crowd is looked at again."""

CANCEL_GRACE = 2.0
"""Seconds that cancelled applications have for their `finally`."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP port to listen on. `port` 0: any free one. `setting`: what moves it, for the remedy."""

    surface: Surface
    host: str
    port: int
    setting: str


class GatewayServer(Server):
    """daphne with several surfaces.

    `on_listening({surface: real port})` runs in the loop once all ports are open, and may fail
    (then the process ends with 1). At the end `on_stopping` is awaited while the ports still
    accept, then `on_draining`, which should close the sockets of the gateway, then the rest is cut.
    `on_stopped` runs when no connection is left.
    """

    def __init__(
        self,
        application: Any,
        listeners: Sequence[Listener],
        *,
        conf: Conf,
        body_limit: BodyLimit,
        on_listening: Callable[[dict[Surface, int]], Awaitable[None]],
        on_stopping: Callable[[], Awaitable[None]],
        on_draining: Callable[[], Awaitable[None]],
        on_stopped: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(
            application,
            endpoints=[
                f"{endpoint}:backlog={BACKLOG}"
                for one in listeners
                for endpoint in build_endpoint_description_strings(host=one.host, port=one.port)
            ],
            signal_handlers=False,  # Twisted would swallow the second SIGTERM
            ready_callable=self._prepare,
            server_name="",
            websocket_timeout=-1,  # stock: a healthy socket is cut after a day
            # Peers that speak gateway.v1 answer our own pings and never see these.
            ping_interval=conf.heartbeat * 1.5,
            ping_timeout=conf.pong_timeout,
            websocket_max_message_size=conf.max_frame_size,
            websocket_max_frame_size=conf.max_frame_size,
            # Longer than ours, which says how many they were.
            application_close_timeout=conf.shutdown_grace + CANCEL_GRACE,
        )
        self.wanted = listeners
        self.conf = conf
        self.body_limit = body_limit
        # Of each port its own: a crowd at the one keeps nobody from the other.
        self.waiting = {surface: WaitingConnections(conf.max_pending) for surface in Surface}
        self.waits = {surface: Waits() for surface in Surface}
        self.idle = {surface: IdleConnections(conf.max_idle) for surface in Surface}
        self.bodies = {surface: BodyMemory(conf.body_memory) for surface in Surface}
        self.files = Files()
        self.timetable = Timetable[ref[Any]](CHECKED_EVERY)
        self.exit_code = 0
        self._on_listening = on_listening
        self._on_stopping = on_stopping
        self._on_draining = on_draining
        self._on_stopped = on_stopped
        self._ports: list[Any] = []
        self._paused: set[Surface] = set()  # whose ports accept nobody now
        self._hurry = asyncio.Event()
        self._stopping = False
        self.at_once = False  # the end waits for nobody
        self._announcing: asyncio.Future[None] | None = None

    # --- start

    def _prepare(self) -> None:
        """daphne has made its factories and not started the reactor: put ours in place."""

        bind(self.ws_factory, self.conf)

        class BoundChannel(GatewayChannel):
            server = self
            totalHeadersSize = MAX_LENGTH = self.conf.header_size

        # daphne names its classes in methods; the factory is this server's own object.
        self.http_factory.protocol = lambda: _GenericHTTPChannelProtocol(  # type: ignore[method-assign]
            BoundChannel()
        )
        self.http_factory.timeOut = SILENCE  # between two requests: KEEP_ALIVE
        build = self.http_factory.buildProtocol

        def build_protocol(address: Any) -> Any:
            protocol = build(address)
            protocol.requestFactory = GatewayRequest
            return protocol

        self.http_factory.buildProtocol = build_protocol  # type: ignore[method-assign]
        # Without an observer what is raised in a Twisted callback vanishes.
        globalLogPublisher.addObserver(_log_failure)  # type: ignore[arg-type]
        reactor.callLater(0, self._started)

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self._ports.append(port)  # stock forgets it, and cannot stop listening
        read = port.doRead

        def accept_some() -> Any:
            port.numberAccepts = ACCEPTS
            return read()

        port.doRead = accept_some  # Twisted takes more and more each time

    def listen_error(self, failure: Failure) -> None:
        """End the process with 1 where a port cannot be had; stock daphne ends it with 0."""
        listener = self.wanted[len(self._ports)] if len(self._ports) < len(self.wanted) else None
        error = failure.value
        cause = error.socketError if isinstance(error, CannotListenError) else error
        if listener is None:
            text = str(cause)
        elif getattr(cause, "errno", None) == errno.EADDRINUSE:
            text = (
                f"port {listener.port} is in use: stop the other process, "
                f"or choose another port with {listener.setting}"
            )
        else:
            text = f"cannot listen on {listener.host}:{listener.port} ({cause}): change the address"
        if not self.exit_code:  # the first is enough: most often another gateway has both
            sys.stderr.write(f"gateway: {text}\n")
        self.exit_code = 1
        self.stop()

    def _started(self) -> None:
        for number in listened():
            loop.add_signal_handler(number, self._on_signal, number)
        ports = {
            one.surface: port.getHost().port
            for one, port in zip(self.wanted, self._ports, strict=True)
        }
        self._announcing = asyncio.ensure_future(self._announce(ports))

    async def _announce(self, ports: dict[Surface, int]) -> None:
        try:
            await self._on_listening(ports)
        except Exception as error:
            # Whatever it was, a gateway that could not start must say so and end.
            logger.debug("start failed", exc_info=True)
            sys.stderr.write(f"gateway: {error}\n")
            self.exit_code = 1
            self.at_once = True
            self.stop()

    def surface_of(self, transport: Any) -> Surface:
        """Return the surface whose port accepted this connection; the setting never equals port
        0."""
        port = getattr(transport, "server", None)
        for listener, known in zip(self.wanted, self._ports, strict=False):
            if known is port:
                return listener.surface
        return Surface.PUBLIC  # unknown never means private

    def pause_accepting(self, surface: Surface) -> None:
        """Let who comes to this surface wait in the kernel's queue until those who have come are
        read."""
        if surface not in self._paused:
            self._paused.add(surface)
            for port in self._ports_of(surface):
                port.stopReading()
            reactor.callLater(ACCEPT_PAUSE, self._resume_accepting, surface)

    def _resume_accepting(self, surface: Surface) -> None:
        if self.waiting[surface].full:
            reactor.callLater(ACCEPT_PAUSE, self._resume_accepting, surface)
            return
        self._paused.discard(surface)
        for port in self._ports_of(surface):
            if port.connected:
                port.startReading()

    def _ports_of(self, surface: Surface) -> list[Any]:
        listeners = zip(self.wanted, self._ports, strict=False)
        return [port for listener, port in listeners if listener.surface is surface]

    # --- connections

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application for one connection; returns the queue that feeds it."""
        queue: asyncio.Queue[dict[str, Any]] | InboundQueue
        if isinstance(protocol, GatewayWebSocket):
            queue = InboundQueue(protocol.inbound, self.conf.inbound_high, self.conf.inbound_low)
            scope["extensions"] = {
                "gateway.frames": protocol.outbox,
                "websocket.http.response": {},
            }
            scope["subprotocols"] = list(protocol.request.protocols)
            transport = protocol.transport
        else:
            queue = asyncio.Queue()
            transport = protocol.channel.transport
        scope["asgi"] = {"version": "3.0"}
        scope["gateway.surface"] = self.surface_of(transport)
        application = self.application(
            scope=scope, receive=queue.get, send=partial(self.handle_reply, protocol)
        )
        task = asyncio.ensure_future(application)
        self.connections[protocol]["application_instance"] = task
        task.add_done_callback(partial(self._ended, protocol))
        return queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        if message["type"] == "websocket.send":
            await protocol.drain()
        elif message["type"] == "http.response.body":
            await protocol.drain(self.conf.slow_timeout)

    def protocol_connected(self, protocol: Any) -> None:
        super().protocol_connected(protocol)
        self.watch(protocol)

    def protocol_disconnected(self, protocol: Any) -> None:
        """As in daphne, which finds out later that the application has ended."""
        if protocol not in self.connections:
            return  # its application had ended, and all is known that there was to know
        details = self.connections[protocol]
        is_first = "disconnected" not in details
        super().protocol_disconnected(protocol)
        if is_first:
            details["disconnected"] = time.monotonic()  # daphne notes the wall clock's
        if "application_instance" in details:
            self.watch(protocol)
        else:
            # Not now: some still ask for what is known of it.
            loop.call_soon(self._forget, protocol)

    def _forget(self, protocol: Any) -> None:
        details = self.connections.get(protocol)
        if details is not None and "application_instance" not in details:
            del self.connections[protocol]
            if isinstance(protocol, GatewayWebSocket) and not protocol.transport.connected:
                protocol.let_go()

    def _ended(self, protocol: Any, task: asyncio.Task[None]) -> None:
        """Take note of the end of an application; daphne looks for it once a second."""
        details = self.connections[protocol]
        del details["application_instance"]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("Exception inside application: %s", error, exc_info=error)
        if "disconnected" in details:
            self._forget(protocol)
        elif error is not None:
            protocol.handle_exception(error)

    def watch(self, protocol: Any) -> None:
        """Look at a connection when something may be due for it: this has just changed."""
        protocol.slot = self.timetable.list(ref(protocol), self._due(protocol), protocol.slot)

    def _due(self, protocol: Any) -> float:
        now = self.timetable.now()
        details = self.connections.get(protocol)
        if details is None:
            return inf
        if "disconnected" in details:  # its application is waited for
            return now + float(self.application_close_timeout)
        if not isinstance(protocol, GatewayWebSocket):
            return now  # a request is looked at each time
        return float(protocol.due(now))

    def _look_at(self, protocol: Any) -> None:
        details = self.connections.get(protocol)
        if details is None:
            return
        if "disconnected" not in details:
            protocol.check_timeouts()
        elif time.monotonic() - details["disconnected"] > self.application_close_timeout:
            task = details.get("application_instance")
            if task is not None and not task.done():
                logger.warning("%r took too long to end and was cancelled", task)
                task.cancel()

    def timeout_checker(self) -> None:
        """Look at those connections for which something may be due; stock daphne looks at all, and
        one's error ends it for all."""
        for slot, known in self.timetable.due():
            protocol = known()
            if protocol is None or protocol.slot != slot:
                continue
            try:
                self._look_at(protocol)
            except Exception:
                logger.exception("checking the time-outs of %r failed", protocol)
            self.watch(protocol)
        for waiting in self.waiting.values():
            for channel in waiting.overdue():
                channel.cut(Refusal.SLOW)
        reactor.drop_dead()
        reactor.callLater(CHECKED_EVERY, self.timeout_checker)

    def application_checker(self) -> None:
        """Of stock daphne, which walks through all applications once a second: `_ended`."""

    # --- end

    def _on_signal(self, number: int) -> None:
        if self.at_once:
            return  # a second one changes nothing: `--reload` passes on what a terminal sent to all
        if self._stopping:
            logger.warning("second %s: hurrying", signal.Signals(number).name)
            self._hurry.set()
        else:
            self._stopping = True
            self.at_once = number == signal.SIGINT and self.conf.environment == "development"
            logger.info("%s: shutting down", signal.Signals(number).name)
            self.stop()

    def kill_all_applications(self) -> Any:
        """Called by Twisted before the reactor stops; the reactor waits for the Deferred."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._shut_down()))

    async def _shut_down(self) -> None:
        conf = self.conf
        await self._end_announcing()
        if self.at_once:
            self._hurry.set()
        else:
            await self._within(self._on_stopping(), conf.ready_lag + conf.shutdown_grace)
        for port in self._ports:
            port.stopListening()
        try:
            if not self.at_once:
                seconds = conf.drain_seconds + conf.overlap + conf.shutdown_grace
                await self._within(self._on_draining(), seconds)
            self._close_sockets()
            self.application = _gone  # the real one would start what is being stopped anew
            tasks = self._tasks()
            await self._within(_all(tasks), conf.shutdown_grace)
            left = [task for task in tasks if not task.done()]
            for task in left:
                task.cancel()
            if left:
                logger.warning("%d connections did not end in time and were cancelled", len(left))
                await asyncio.wait(left, timeout=AT_ONCE_GRACE if self.at_once else CANCEL_GRACE)
        finally:
            if self.at_once:  # hurried
                await self._within(self._on_stopped(), conf.shutdown_grace, HURRIED_GRACE)
            else:
                await self._on_stopped()
            self._abort_connections()

    async def _end_announcing(self) -> None:
        """End the announcement of the ports while it runs: `on_stopped` finds what has begun by
        then."""
        task = self._announcing
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def _within(self, work: Awaitable[None], grace: float, hurried: float = 0) -> None:
        """Let `work` go on for `grace` seconds, or for a moment more once somebody hurries."""
        moment = hurried or (AT_ONCE_GRACE if self.at_once else HURRIED_GRACE)
        task = asyncio.ensure_future(work)
        hurry = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({task, hurry}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and self._hurry.is_set():
            await asyncio.wait({task}, timeout=moment)
        hurry.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled() and (error := task.exception()):
            logger.error("shutting down: %s", error, exc_info=error)

    def _tasks(self) -> list[asyncio.Task[None]]:
        """Return the applications that still run (a connection whose application ended has no
        entry)."""
        found = (details.get("application_instance") for details in self.connections.values())
        return [task for task in found if task is not None and not task.done()]

    def _close_sockets(self) -> None:
        """Send a close frame to every socket that has none yet: in handshake, or of stock
        consumers."""
        for protocol in list(self.connections):
            if not isinstance(protocol, GatewayWebSocket):
                continue
            if protocol.state == protocol.STATE_CONNECTING:
                if hasattr(protocol, "handshake_deferred"):
                    protocol.serverReject()
            else:
                protocol.close_with(CloseCode.SHUTTING_DOWN, "the server is shutting down")

    def _abort_connections(self) -> None:
        for protocol in list(self.connections):
            if isinstance(protocol, GatewayWebSocket):
                protocol.abort()


async def _gone(scope: Any, receive: Any, send: Any) -> None:
    """Answer connections that were open and ask something once all sockets are closed."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})  # before accept: HTTP 403
        return
    headers = [(b"connection", b"close"), (b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"The server is shutting down.\n"})


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)


def _log_failure(event: Any) -> None:
    """Send what was raised in a Twisted callback to `logging`; a log observer of Twisted."""
    failure = event.get("log_failure")
    if failure is not None:
        logger.error(
            "unhandled error in a Twisted callback: %s",
            failure.getErrorMessage(),
            exc_info=(failure.type, failure.value, failure.getTracebackObject()),
        )
