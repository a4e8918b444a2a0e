"""The composition root: which parts, put together how, for how long.

A process has at most one node. It starts with the server (`manage.py serve`), with the ASGI
lifespan (uvicorn), or with the first connection (plain daphne has no lifespan).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from weakref import WeakValueDictionary

from sockets import __version__
from sockets.auth.admission import Admission
from sockets.auth.clients import ClientAuth
from sockets.auth.keyring import KeyRing
from sockets.base import metrics
from sockets.base.rate import Bucket
from sockets.codes import CloseCode
from sockets.conf import Conf, get_conf
from sockets.delivery import Delivery
from sockets.events.feed import Events
from sockets.events.webhooks import Webhooks
from sockets.exceptions import GatewayUnavailable, MisconfiguredRedis
from sockets.layers.fanout import Message
from sockets.layers.groups import user_group
from sockets.node.core import Addresses, Core
from sockets.node.drain import drain
from sockets.node.heartbeat import beat
from sockets.node.inbox import Requests
from sockets.node.lock import NodeLock, place_among_workers
from sockets.node.readiness import PromiseWatch, Readiness
from sockets.node.reaper import Reaper
from sockets.node.registration import Registration
from sockets.node.renewal import Renewal
from sockets.presence.base import PartlyRenewed
from sockets.presence.doubt import Doubt
from sockets.recorder import Recorder
from sockets.sessions.lifecycle import Sessions
from sockets.sessions.tracker import Attendance
from sockets.types import Kind, NodeInfo, SessionInfo

logger = logging.getLogger(__name__)

WEBHOOK_INTERVAL = 0.2
"""Seconds that events are collected before the API server is told."""

CHECK_TIMEOUT = 5.0
"""Seconds that the state store gets to answer before a node starts without it."""


class Node(Core):
    """Everything that one gateway process holds. Belongs to the loop that `start` runs on."""

    def __init__(
        self,
        conf: Conf,
        *,
        client_port: int | None = None,
        worker_port: int | None = None,
        lock: NodeLock | None = None,
    ) -> None:
        super().__init__(conf)
        self.addresses = Addresses.of(conf, client_port, worker_port)
        self.client_auth = ClientAuth(conf, self.presence.now)
        self.admission = Admission(conf)
        # Each lives as long as a session of its user.
        self.user_buckets: WeakValueDictionary[str, Bucket] = WeakValueDictionary()
        self.keys = KeyRing(conf, self._close_those_of_ended_keys)
        self.recorder = Recorder(
            node=conf.node_name,
            queue_size=conf.recorder_queue,
            interval=conf.recorder_interval,
            live=self.hub.ids,
            clock=self.store_time,
        )
        self.delivery = Delivery(
            conf=conf, streams=self.streams, spawn=self.spawn, clock=self.store_time
        )
        self.webhooks = _webhooks(conf)
        self.events = Events(
            receivers=self.receivers.presence,
            webhooks=self.webhooks,
            hooked=conf.webhooks,
            clock=self.store_time,
        )
        self.attendance = Attendance(
            presence=self.presence,
            nodes=self.nodes,
            events=self.events,
            lease=conf.lease_ttl,
            store_time=self.store_time if conf.redis_url else None,
        )
        self.sessions = Sessions(
            conf=conf,
            hub=self.hub,
            streams=self.streams,
            attendance=self.attendance,
            events=self.events,
            delivery=self.delivery,
            recorder=self.recorder,
            control=self.control,
            dispatcher=self.dispatcher,
            clock=self.store_time,
        )
        self.registration = Registration(
            conf=conf,
            nodes=self.nodes,
            bus=self.bus,
            hub=self.hub,
            attendance=self.attendance,
            addresses=self.addresses,
            state=lambda: self.unready_because or "ready",
            reborn=self.sessions.reopen_rows,
            heard=self.store_time.heard,
            renamed=self.rename,
        )
        self.doubt = Doubt(conf.lease_ttl, self._present)
        self.presence.believe(self.doubt)
        self.renewal = Renewal(conf, self._renew)
        self.readiness = Readiness(
            try_store=self.state.shards,
            connected=lambda: self.layer.connected,
            interval=conf.lease_renew,
        )
        self._promises = PromiseWatch(self.state.promises, metrics.show_promise)
        self.reaper = Reaper(
            nodes=self.nodes,
            attendance=self.attendance,
            lease=conf.lease_ttl,
            buried=self._close_rows_of,
            clock=self.store_time,
        )
        self.requests = Requests(
            bus=self.bus,
            hub=self.hub,
            sessions=self.sessions,
            registration=self.registration,
            close_timeout=conf.close_timeout,
            draining=lambda: self._draining,
            spawn=self.spawn,
        )
        self.bus.handlers["node"] = self.requests.receive
        self.bus.handlers["delivery"] = self._on_delivery_question
        self.layer.add_gap_listener(self.renewal.hurry)
        self._started = self._draining = False
        self._lock = lock or NodeLock(conf)
        metrics.name_node(conf.node_name)

    @property
    def ready(self) -> bool:
        """It may be sent new clients."""
        return self.unready_because is None

    @property
    def unready_because(self) -> str | None:
        """Why it should be sent none now."""
        if self._draining:
            return "draining"
        if not self._started:
            return "it is starting or stopping"
        return self.readiness.because

    async def start(self) -> None:
        """Raises AlreadyRunning when another process has this place, MisconfiguredRedis.

        A state store that is away stops nothing: the node is not ready until it has come.
        """
        self._lock.acquire()
        try:
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
        self.spawn(beat(self.conf, self.hub))
        self.spawn(self.renewal.run())
        self.spawn(self.readiness.run())
        self.spawn(self._promises.run())
        self.state.listen_to_failures(self.readiness.suspect)
        self.spawn(self.dispatcher.watch())
        if self.webhooks is not None:
            self.spawn(self.webhooks.run())
        if self.client_auth.published is not None:
            self.spawn(self.client_auth.published.run())
        self.spawn(self.keys.run())
        self.spawn(self.attendance.watch())
        self.spawn(self.reaper.run())
        self._started = True
        self.renewal.hurry()  # the others should see at once that it is ready

    async def _check(self) -> None:
        """Raises MisconfiguredRedis."""
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
        """Join this node's own group: now, or when the bus has come."""
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
        """Not ready any more, and still accepting: balancers need to notice."""
        self._draining = True
        self.spawn(self._tell_progress())
        await asyncio.sleep(self.conf.ready_lag)

    async def drain(self) -> None:
        """Send every client away: 4000, with a plan for the return."""
        self._draining = True
        self.sessions.accepting = False
        await drain(self.hub, self.conf.drain_seconds)

    async def _tell_progress(self) -> None:
        """The other nodes see that it drains, and whoever asked for it how far it is."""
        while True:
            with suppress(GatewayUnavailable):
                await self.registration.beat()
            await asyncio.sleep(1)

    async def stop(self, timeout: float | None = None) -> None:
        """Say and write what is left, then let go. Idempotent."""
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
        """What is left to settle or to tell is another node's from now on."""
        third = grace / 3
        await self.events.finish(third)
        if self.webhooks is not None and (left := await self.webhooks.finish(third)):
            logger.warning(
                "%d events have not reached the API server: another node tells them", left
            )
        try:
            async with asyncio.timeout(third):
                await self.attendance.tick()
                await self.registration.end()
        except (GatewayUnavailable, TimeoutError) as error:
            logger.warning("the other nodes were not told of the end: %s", str(error) or "too slow")

    async def _renew(self) -> None:
        with self.doubt.watching():
            try:
                await self.registration.beat()
            finally:  # by then it is known under which name
                self.recorder.node_seen(self.store_time())
            try:
                await self.sessions.renew()
            except PartlyRenewed:
                self.readiness.registered()  # those of the shards that take writes
                raise
            self.readiness.registered()

    async def rename(self, name: str) -> None:
        await super().rename(name)
        self.sessions.rename(name)
        self.recorder.rename(name)
        metrics.name_node(name)

    def _present(self, user: str) -> tuple[SessionInfo, ...]:
        room = self.hub.room(user_group(user))
        return tuple(one.info for one in (room.members if room else ()) if one.present)

    def _close_those_of_ended_keys(self) -> None:
        for session in self.hub:
            id = session.info.jti if session.info.kind is Kind.WORKER else ""
            if id and not self.keys.is_live(id):
                session.close(CloseCode.REVOKED, "this key has ended")

    def _close_rows_of(self, dead: NodeInfo, at: float) -> None:
        self.recorder.node_died(dead.name, started=dead.started_at, at=at)

    def _on_delivery_question(self, message: Message) -> None:
        """What became of one message for the sessions of its user here."""
        epoch, offset = message["epoch"], message["offset"]
        room = self.hub.room(user_group(message["user"]))
        rows = []
        for session in room.members if room else ():
            info = session.info
            acked_at = info.acked_at if info.has_acked(epoch, offset) else None
            outcome, sent_at = self.delivery.outcome(session, epoch, offset)
            rows.append((info.id, info.client_id, outcome, sent_at, acked_at))
        self.spawn(self.bus.answer(message, sessions=rows))


def _why(error: GatewayUnavailable | TimeoutError) -> str:
    """For the log: in our words, and in Redis' own where it has said something."""
    if isinstance(error, TimeoutError):
        return "Redis does not answer"
    return f"{error} ({error.detail})" if error.detail else str(error)


def _webhooks(conf: Conf) -> Webhooks | None:
    if not conf.webhooks:
        return None
    return Webhooks(
        url=conf.webhook_url,
        secret=conf.webhook_secret,
        queue_size=conf.webhook_queue,
        interval=WEBHOOK_INTERVAL,
        timeout=conf.webhook_timeout,
    )


_node: Node | None = None
_starting: asyncio.Task[Node] | None = None


def current_node() -> Node | None:
    """The node of this process, if it runs."""
    return _node


def keys_changed() -> None:
    """The node of this process, if it runs, should look now; the others do within KEYS_REFRESH."""
    node = _node
    if node is not None:
        with suppress(RuntimeError):  # it has just ended
            node.loop.call_soon_threadsafe(node.keys.hurry)


async def ensure_node(**ports: int) -> Node:
    """The node of this process; starts it if need be. Callers at the same time share one start."""
    global _starting
    if _node is not None:
        return _node
    if _starting is None or _starting.done():
        _starting = asyncio.ensure_future(_start(ports))
    return await asyncio.shield(_starting)


async def _start(ports: dict[str, int]) -> Node:
    global _node
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
    _node = node
    return node


async def stop_node() -> None:
    """Stop the node of this process, if it runs or starts. Until it has, Django code may still
    call it."""
    global _node
    if _starting is not None and not _starting.done():
        _starting.cancel()  # it lets go of what it has taken
        await asyncio.wait({_starting})
    node = _node
    if node is None:
        return
    try:
        await node.stop()
    finally:
        if _node is node:
            _node = None
