"""The composition root: which backends, put together how, for how long.

A process has at most one node. It starts with the server (`manage.py serve`), with the ASGI
lifespan (uvicorn), or with the first connection (plain daphne has no lifespan).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from channels.layers import get_channel_layer

from sockets import __version__
from sockets.codes import CloseCode
from sockets.conf import Conf, get_conf
from sockets.delivery import Delivery, Notifier
from sockets.exceptions import GatewayError
from sockets.hub import Hub
from sockets.layers.fanout import Message
from sockets.layers.groups import node_group
from sockets.node.drain import spread
from sockets.node.heartbeat import beat
from sockets.node.lock import MemoryLock
from sockets.presence.memory import MemoryPresence
from sockets.protocol.codec import encode
from sockets.protocol.messages import Closing
from sockets.recorder import Recorder
from sockets.sessions import Sessions
from sockets.streams.memory import MemoryStreams
from sockets.tasks.announcer import Announcer
from sockets.tasks.dispatcher import Dispatcher
from sockets.tasks.memory import MemoryTaskRecords

logger = logging.getLogger(__name__)

SIGNAL_THREADS = 4
"""Threads for Django signal receivers: never the one that all database work shares."""


class Node:
    """Everything that one gateway process holds. Belongs to the loop that `start` runs on.

    `ready`: it may be sent new clients.
    """

    def __init__(
        self, conf: Conf, *, client_port: int | None = None, worker_port: int | None = None
    ) -> None:
        self.conf = conf
        self.name = conf.node_name
        self.ready = False
        self.loop = asyncio.get_running_loop()
        self.client_socket_url = conf.client_socket_url or _url(client_port or conf.client_port)
        self.worker_socket_url = conf.worker_socket_url or _url(worker_port or conf.worker_port)
        self.executor = ThreadPoolExecutor(SIGNAL_THREADS, thread_name_prefix="gateway-signal")
        layer: Any = get_channel_layer()  # its type knows nothing of sinks
        self.layer = layer
        self.streams = MemoryStreams(
            size=conf.history_size,
            ttl=conf.history_ttl,
            record_ttl=conf.record_ttl,
            idempotency_ttl=conf.idempotency_ttl,
            max_users=conf.memory_max_users,
        )
        self.presence = MemoryPresence(lease=conf.lease_ttl)
        self.tasks = MemoryTaskRecords(
            offer_ttl=2 * conf.task_accept_timeout,
            grace=conf.task_grace,
            keep=conf.task_keep,
            history=conf.task_history,
        )
        self.hub = Hub(layer)
        self.recorder = Recorder(
            node=conf.node_name, queue_size=conf.recorder_queue, interval=conf.recorder_interval
        )
        self.notifier = Notifier(
            conf=conf, layer=layer, streams=self.streams, presence=self.presence
        )
        self.delivery = Delivery(conf=conf, streams=self.streams, spawn=self.spawn)
        self.announcer = Announcer(
            records=self.tasks,
            notifier=self.notifier,
            executor=self.executor,
            signal=self._signal,
        )
        self.dispatcher = Dispatcher(
            conf=conf,
            records=self.tasks,
            hub=self.hub,
            announcer=self.announcer,
            signal=self._signal,
            spawn=self.spawn,
        )
        self.sessions = Sessions(
            conf=conf,
            hub=self.hub,
            layer=layer,
            streams=self.streams,
            presence=self.presence,
            delivery=self.delivery,
            recorder=self.recorder,
            dispatcher=self.dispatcher,
        )
        self._lock = MemoryLock(conf.data_dir)
        self._spawned: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises AlreadyRunning when memory mode has another process on the same data."""
        self._lock.acquire()
        try:
            self.recorder.start(
                client_url=self.client_socket_url,
                worker_url=self.worker_socket_url,
                version=__version__,
            )
            await self.layer.group_add_sink(node_group(self.name), self._on_node_message)
        except BaseException:
            # The next attempt must find nothing taken.
            self.executor.shutdown(wait=False)
            await asyncio.to_thread(self.recorder.stop, 0)
            self._lock.release()
            raise
        self.spawn(beat(self.conf, self.hub, self._renew))
        self.spawn(self.dispatcher.watch())
        self.ready = True

    async def drain(self) -> None:
        """Ask every client to come back later, and close: 1012, with a plan for the return."""
        self.ready = False
        self.sessions.accepting = False
        sessions = list(self.hub)
        waits = spread(len(sessions), self.conf.reconnect_spread)
        for session, wait in zip(sessions, waits, strict=True):
            if session.welcomed:  # `welcome` is the first frame, always
                session.outbox.write(encode(Closing(CloseCode.SHUTTING_DOWN, wait)))
            session.close(CloseCode.SHUTTING_DOWN, "this node is shutting down")

    async def stop(self) -> None:
        """Say and write what is left, then let go. Idempotent."""
        self.ready = False
        self.sessions.accepting = False
        await self.dispatcher.close(self.conf.shutdown_grace)
        tasks = tuple(self._spawned)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self.conf.close_timeout)
        await self.layer.group_discard_sink(node_group(self.name), self._on_node_message)
        grace = self.conf.shutdown_grace
        if not await asyncio.to_thread(self.recorder.stop, grace):
            logger.error("the database did not take all session rows within %g s", grace)
        self.executor.shutdown(wait=False, cancel_futures=True)
        self._lock.release()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task of the node: kept, logged when it fails, cancelled at stop."""
        task = self.loop.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._spawned.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a task of the node failed: %s", error, exc_info=error)

    def _on_node_message(self, message: Message) -> None:
        if str(message.get("type")).startswith("task."):
            self.dispatcher.on_node_message(message)
        else:
            self.sessions.on_node_message(message)

    async def _signal(self, node: str, /, **message: Any) -> None:
        try:
            await self.layer.group_send(node_group(node), message)
        except GatewayError:
            logger.warning("%s did not reach node %s", message["type"], node, exc_info=True)

    async def _renew(self) -> None:
        self.recorder.node_seen(time.time())
        await self.sessions.renew()


def _url(port: int) -> str:
    return f"ws://localhost:{port}"


_node: Node | None = None
_starting: asyncio.Task[Node] | None = None


def current_node() -> Node | None:
    """The node of this process, if it runs."""
    return _node


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
    node = Node(get_conf(), **ports)
    await node.start()
    _node = node
    return node


async def stop_node() -> None:
    """Stop the node of this process, if it runs. Until it has, Django code may still call it."""
    global _node
    node = _node
    if node is None:
        return
    try:
        await node.stop()
    finally:
        if _node is node:
            _node = None
