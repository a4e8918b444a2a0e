"""A node's life, and the one node of this process.

A process has at most one node. It starts with the server (`manage.py serve`), with the ASGI
lifespan (uvicorn), or with the first connection (plain daphne has no lifespan).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import cast

from django.conf import settings

from sockets import __version__
from sockets.conf import WrongSettings, get_conf
from sockets.exceptions import GatewayUnavailable, MisconfiguredRedis
from sockets.node import current
from sockets.node.composition import Parts
from sockets.node.drain import drain
from sockets.node.heartbeat import beat
from sockets.node.lock import place_among_workers
from sockets.safety import refusals

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 5.0
"""Seconds that the state store gets to answer before a node starts without it."""


class Node(Parts):
    """One gateway process. Belongs to the loop that it is made and started on."""

    async def start(self) -> None:
        """Start the node.

        Raises AlreadyRunning when another process has its place, MisconfiguredRedis, WrongSettings
        where the tables that AUTH=session reads are not there. A state store
        that is away stops nothing: the node is not ready until the store is there.
        """
        self._lock.acquire()
        try:
            await self.client_auth.check()
            await self._check()
            await self._listen()
            await self._register()
            await self.readiness.try_once()
            # Not before: it closes the open rows of this name, which may be a living node's.
            self.recorder.start(
                client_url=self.addresses.client_socket_url,
                worker_url=self.addresses.worker_socket_url,
                version=__version__,
            )
        except BaseException:
            # The next attempt must find nothing taken.
            try:
                await asyncio.to_thread(self.recorder.stop, 0)
                await self.client_auth.close()
                await super().stop(self.conf.close_timeout)
                self.keys.close()
            finally:
                self._lock.release()
            raise
        self.spawn(beat(self.conf, self.hub, self.local_operations.sampler.ticked))
        self.spawn(self.renewal.run())
        self.spawn(self.readiness.run())
        self.spawn(self._promises.run())
        self.state.listen_to_failures(self.readiness.suspect)
        self.spawn(self.dispatcher.watch())
        if self.webhooks is not None:
            self.spawn(self.webhooks.run())
        if self.client_auth.published is not None:
            self.spawn(self.client_auth.published.run())
        if self.client_auth.session_watch is not None:
            self.spawn(self.client_auth.session_watch.run())
        self.spawn(self.keys.run())
        self.spawn(self.tracker.watch())
        self.spawn(self.reaper.run())
        self._started = True
        self.renewal.hurry()  # the others should see at once that it is ready

    async def _check(self) -> None:
        """Look at the promises that the store has to keep. Raises MisconfiguredRedis."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                found = await self.state.promises()
        except (GatewayUnavailable, TimeoutError) as error:
            logger.warning("starting without Redis: %s", _why(error))
            return
        for text in found.broken.values():
            raise MisconfiguredRedis(text)
        self._promises.note(found)

    async def _listen(self) -> None:
        """Join this node's own group: now, or as soon as the channel layer can."""
        try:
            await self.bus.listen()
        except GatewayUnavailable as error:
            logger.warning("%s; the node is not ready, and tries again", error)
            self.spawn(self._listen_later())

    async def _listen_later(self) -> None:
        while True:
            await asyncio.sleep(1)
            try:
                await self.bus.listen()
            except GatewayUnavailable:
                continue
            self.renewal.hurry()
            return

    async def _register(self) -> None:
        """Be known to the other nodes: now, or at the first renewal that succeeds."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await self.registration.begin()
            self.readiness.registered()
        except (GatewayUnavailable, TimeoutError) as error:
            logger.warning("not registered yet: %s", _why(error))
            self.renewal.failed()

    async def lag(self) -> None:
        """Stop being ready, and accept for a while: balancers need to notice."""
        self._draining = True
        self.spawn(self._tell_progress())
        await asyncio.sleep(self.conf.ready_lag)

    async def drain(self) -> None:
        """Send every client away (4000), and tell each when to come back."""
        self._draining = True
        self.sessions.accepting = False
        await drain(self.hub, self.conf.drain_seconds, await self._overlap())

    async def _overlap(self) -> float:
        """How long clients keep their sockets beyond their moment, in seconds: not at all where
        there is no other node that could welcome them before."""
        try:
            others = {info.name for info in await self.nodes.all()} - {self.name}
        except GatewayUnavailable:
            return 0.0
        return self.conf.overlap if others else 0.0

    async def _tell_progress(self) -> None:
        """Show the other nodes, and whoever asked for the drain, how far it is."""
        while True:
            with suppress(GatewayUnavailable):
                await self.registration.beat()
            await asyncio.sleep(1)

    async def stop(self, timeout: float | None = None) -> None:
        """Announce and write what is left, then let go. Idempotent."""
        grace = self.conf.shutdown_grace
        self._started = False
        self.sessions.accepting = False
        # Side by side: none of them waits for another, and what hangs costs its time once.
        _, _, written = await asyncio.gather(
            self.dispatcher.close(grace),
            self._take_leave(grace),
            asyncio.to_thread(self.recorder.stop, grace),
        )
        if not written:
            logger.error("the database did not take all session rows within %g s", grace)
        await self.client_auth.close()
        await super().stop(timeout or self.conf.close_timeout)
        self.keys.close()
        self._lock.release()

    async def _take_leave(self, grace: float) -> None:
        """Hand over what is left to settle or to announce to the other nodes."""
        third = grace / 3
        await self.events.finish(third)
        if self.webhooks is not None and (left := await self.webhooks.finish(third)):
            logger.warning(
                "%d events have not reached the API server: another node sends them", left
            )
        try:
            async with asyncio.timeout(third):
                await self.tracker.tick()
                await self.registration.end()
        except (GatewayUnavailable, TimeoutError) as error:
            logger.warning("the other nodes were not told of the end: %s", str(error) or "too slow")


def _why(error: GatewayUnavailable | TimeoutError) -> str:
    """Return the reason for the log: in our words, and in Redis' own where there are any."""
    if isinstance(error, TimeoutError):
        return "Redis does not answer"
    return f"{error} ({error.detail})" if error.detail else str(error)


_starting: asyncio.Task[Node] | None = None


def current_node() -> Node | None:
    """Return the node of this process, if it runs, with all that a server needs of it."""
    return cast("Node | None", current.current_node())


async def ensure_node(**ports: int) -> Node:
    """Return the node of this process, started if need be. Callers at once share one start."""
    global _starting
    if (node := current_node()) is not None:
        return node
    if _starting is None or _starting.done():
        _starting = asyncio.ensure_future(_start(ports))
    return await asyncio.shield(_starting)


async def _start(ports: dict[str, int]) -> Node:
    """Raises WrongSettings for what must not face the world, and for what a node needs."""
    if faults := tuple(refusals(get_conf(), settings.SECRET_KEY)):
        raise WrongSettings(*faults)
    if ports:  # our own server, which is one process
        client, worker = ports.get("client_port"), ports.get("worker_port")
        node = Node(get_conf(), client_port=client, worker_port=worker)
    else:
        conf, lock = place_among_workers(get_conf())
        try:
            node = Node(conf, lock=lock)
        except BaseException:
            lock.release()
            raise
    await node.start()
    current.begin(node, node.keys.hurry)
    return node


async def stop_node() -> None:
    """Stop the node of this process, if it runs or starts. Until it has, Django code may still
    call it."""
    if _starting is not None and not _starting.done():
        _starting.cancel()  # it lets go of what it has taken
        await asyncio.wait({_starting})
    node = current_node()
    if node is None:
        return
    try:
        await node.stop()
    finally:
        current.end(node)
