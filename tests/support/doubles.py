"""Stand-ins for what the core talks to, named by what they do; and small builders of its values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from channels.layers import channel_layers

from sockets import signals
from sockets.auth.keyring import KeyRing
from sockets.base.ids import new_id
from sockets.cluster.bus import Bus
from sockets.cluster.registry import Nodes
from sockets.cluster.registry_memory import MemoryNodes
from sockets.conf import Conf
from sockets.delivery import PAGE, Delivery, Notifier
from sockets.delivery.hub import Hub, LocalSession, Room
from sockets.events.feed import Events
from sockets.events.receivers import ReceiverPool
from sockets.exceptions import GatewayUnavailable
from sockets.layers.fanout import Sink
from sockets.layers.groups import user_group
from sockets.layers.memory import MemoryChannelLayer
from sockets.node import node as node_module
from sockets.node.inbox import Requests
from sockets.node.node import Node
from sockets.node.state import session_limit
from sockets.presence.memory import MemoryPresence
from sockets.protocol.codec import message_frame
from sockets.protocol.connection import Connection
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write
from sockets.protocol.recovery import plan_opening
from sockets.sessions.control import Control
from sockets.sessions.lifecycle import Sessions
from sockets.sessions.tracker import Attendance
from sockets.streams.memory import MemoryStreams
from sockets.tasks.announcer import Announcer
from sockets.tasks.base import Seat
from sockets.tasks.dispatcher import Dispatcher
from sockets.tasks.memory import MemoryTaskRecords
from sockets.types import Kind, NodeInfo, Position, SessionInfo, Task, TaskState

NOON = 1_800_000_000.0
JWT_SECRET = "a secret of the tests, long enough for any HMAC: " + "x" * 32
WORKER_KEY = "the worker's own key"


class MovedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


WELCOME = message_frame(b'{"type":"welcome"}')
"""Tests that welcome a session by hand ask for nothing of it: no outbox notes this one."""


class RecordingOutbox:
    """Takes every frame at once, as a peer does that reads in time."""

    def __init__(self) -> None:
        self.on_drain: Callable[[], None] | None = None
        self.raw: list[Frame] = []
        self.closed: tuple[int, str] | None = None
        self.on_close: Callable[[int, str], None] | None = None
        self.closes = 0

    @property
    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(frame.payload) for frame in self.raw]

    @property
    def events(self) -> list[str]:
        return [frame["event"] for frame in self.frames if frame["type"] == "message"]

    def write(self, frame: Frame) -> Write:
        if self.closed is not None:
            return Write.CLOSED
        if frame is WELCOME:
            return Write.OK
        self.raw.append(frame)
        return Write.OK

    def close(self, code: int, reason: str) -> None:
        self.closes += 1
        if self.closed is None:
            self.closed = (code, reason)
            if self.on_close is not None:
                self.on_close(code, reason)

    def abort(self) -> None:
        self.close(1006, "aborted")

    def flow(self) -> tuple[int, int]:
        return 0, sum(len(frame) for frame in self.raw)


class TricklingOutbox(RecordingOutbox):
    """Has room for `room` frames; the next one is refused until `trickle` makes more room."""

    def __init__(self, room: int = 0) -> None:
        super().__init__()
        self.room = room
        self._told = False

    def write(self, frame: Frame) -> Write:
        if self.closed is None and self.room <= 0 and frame is not WELCOME:
            self._told = True
            return Write.FULL
        result = super().write(frame)
        self.room -= result is Write.OK and frame is not WELCOME
        return result

    def trickle(self, room: int) -> None:
        """The reader took some: room for so many more frames."""
        self.room = room
        if self._told and room:
            self._told = False
            assert self.on_drain is not None
            self.on_drain()


class RecordingRecorder:
    """Writes no rows; remembers what it was told."""

    def __init__(self, **_: Any) -> None:
        self.opened: list[str] = []
        self.closed: list[tuple[str, int, str]] = []
        self.seen: list[float] = []
        self.dead: list[str] = []
        self.names: list[str] = []
        self.started = 0
        self.stopped = 0

    def session_opened(self, info: SessionInfo) -> None:
        self.opened.append(info.id)

    def session_closed(self, session_id: str, *, at: float, code: int, reason: str) -> None:
        self.closed.append((session_id, int(code), reason))

    def node_seen(self, at: float) -> None:
        self.seen.append(at)

    def rename(self, node: str) -> None:
        self.names.append(node)

    def node_died(self, name: str, *, started: float, at: float) -> None:
        self.dead.append(name)

    def start(self, *, client_url: str, worker_url: str, version: str) -> None:
        self.started += 1

    def stop(self, timeout: float) -> bool:
        self.stopped += 1
        return True


class GatedLayer(MemoryChannelLayer):
    """Confirms a group, as Redis does, some time after it was asked: when `gate` opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.asked: list[str] = []
        self.listening: dict[str, int] = {}

    async def group_add_sink(self, group: str, sink: Sink) -> None:
        self.asked.append(group)
        await self.gate.wait()
        await super().group_add_sink(group, sink)
        self.listening[group] = self.listening.get(group, 0) + 1

    async def group_discard_sink(self, group: str, sink: Sink) -> None:
        await super().group_discard_sink(group, sink)
        self.listening[group] = self.listening.get(group, 0) - 1


class FailingLayer(MemoryChannelLayer):
    """Raises GatewayUnavailable in the calls whose names are in `failing`, as a Redis that is away.

    A name may be `call` or `call:group`.
    """

    def __init__(self, *failing: str) -> None:
        super().__init__()
        self.failing = set(failing)

    def _fail(self, call: str, group: str) -> None:
        if {call, f"{call}:{group}"} & self.failing:
            raise GatewayUnavailable(f"{call} {group}: the layer is away")

    async def group_add_sink(self, group: str, sink: Sink) -> None:
        self._fail("group_add_sink", group)
        await super().group_add_sink(group, sink)

    async def group_discard_sink(self, group: str, sink: Sink) -> None:
        self._fail("group_discard_sink", group)
        await super().group_discard_sink(group, sink)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self._fail("group_send", group)
        await super().group_send(group, message)


class ImmediateExecutor(Executor):
    """Does the work before `submit` returns, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class House:
    """The core without servers: layer, streams, presence, hub, delivery, tasks, sessions, on one
    loop. `executor`: where receivers of a task's end run; threads of its own if none is given."""

    def __init__(
        self,
        layer: MemoryChannelLayer | None = None,
        *,
        executor: Executor | None = None,
        **settings: Any,
    ) -> None:
        self.clock = MovedClock()
        self.conf = Conf(node_name="here", **settings)
        self.layer = layer or MemoryChannelLayer()
        self.streams = MemoryStreams(
            size=self.conf.history_size,
            ttl=self.conf.history_ttl,
            record_ttl=self.conf.record_ttl,
            idempotency_ttl=self.conf.idempotency_ttl,
            max_users=self.conf.memory_max_users,
            clock=self.clock,
        )
        self.presence = MemoryPresence(
            lease=self.conf.lease_ttl,
            grace=self.conf.presence_grace,
            limit=session_limit(self.conf),
            clock=self.clock,
        )
        self.nodes = MemoryNodes(clock=self.clock)
        self.hub = Hub(self.layer)
        self.bus = Bus(self.layer, "here")
        self.control = Control(
            presence=self.presence,
            nodes=self.nodes,
            bus=self.bus,
            close_timeout=self.conf.close_timeout,
        )
        self.recorder = RecordingRecorder()
        self.tasks: set[asyncio.Task[None]] = set()
        self.notifier = Notifier(
            conf=self.conf,
            layer=self.layer,
            streams=self.streams,
            presence=self.presence,
            clock=self.clock,
        )
        self.delivery = Delivery(
            conf=self.conf, streams=self.streams, spawn=self.spawn, clock=self.clock
        )
        self.records = MemoryTaskRecords(
            offer_ttl=2 * self.conf.task_accept_timeout,
            grace=self.conf.task_grace,
            keep=self.conf.task_keep,
            history=self.conf.task_history,
            clock=self.clock,
            wall=self.clock,
        )
        self.announcer = Announcer(
            records=self.records,
            notifier=self.notifier,
            receivers=ReceiverPool("tasks", 4, executor, at_once=3),
            tell_node=self.bus.tell,
        )
        self.dispatcher = Dispatcher(
            conf=self.conf,
            records=self.records,
            hub=self.hub,
            announcer=self.announcer,
            tell_node=self.bus.tell,
            spawn=self.spawn,
            clock=self.clock,
        )
        self.events = Events(receivers=ReceiverPool("presence", 4, executor), clock=self.clock)
        self.attendance = Attendance(
            presence=self.presence,
            nodes=self.nodes,
            events=self.events,
            lease=self.conf.lease_ttl,
            clock=self.clock,
        )
        self.attendance.life = "here:1"
        self.attendance.beaten(0)
        self.sessions = Sessions(
            conf=self.conf,
            hub=self.hub,
            streams=self.streams,
            attendance=self.attendance,
            events=self.events,
            delivery=self.delivery,
            recorder=self.recorder,  # type: ignore[arg-type]
            control=self.control,
            dispatcher=self.dispatcher,
            clock=self.clock,
        )

    async def hear(self) -> None:
        """Let what is asked of this node arrive, as a started node does."""
        self.bus.handlers["task"] = self.dispatcher.on_node_message
        self.bus.handlers["node"] = Requests(
            bus=self.bus,
            hub=self.hub,
            sessions=self.sessions,
            registration=None,  # type: ignore[arg-type]  # nobody asks who we are
            close_timeout=self.conf.close_timeout,
            draining=lambda: False,
            spawn=self.spawn,
            stop=lambda: None,
        ).receive
        await self.bus.listen()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def settle(self) -> None:
        """Until nothing that was started is left to do; what failed in it fails the test."""
        while self.tasks:
            await asyncio.gather(*self.tasks)

    async def open(
        self, user: str = "42", *, position: Position | None = None, **given: Any
    ) -> LocalSession:
        """A client that was welcomed and has begun to read its stream."""
        session = local_session(user, **given)
        opened = await self.sessions.open_client(session, position)
        self.delivery.begin(opened.room, session, WELCOME, opened.opening, opened.page)
        return session

    async def open_worker(
        self,
        *pools: str,
        capacity: int = 1,
        key: str = "w",
        outbox: RecordingOutbox | None = None,
        **given: Any,
    ) -> LocalSession:
        """A worker that was welcomed."""
        session = local_session(key, outbox=outbox, kind=Kind.WORKER, **given)
        await self.sessions.open_worker(session, pools or ("p",), capacity)
        session.welcome(WELCOME)
        return session

    def room_of(self, user: str = "42") -> Room:
        (room,) = [room for room in self.hub.rooms() if room.group == user_group(user)]
        return room

    async def listen(self, room: Room, session: LocalSession, position: Position | None) -> None:
        """Let a session that is in the room begin to read, as its consumer does."""
        page = await self.streams.follow(room.user, position, PAGE)
        opening = plan_opening(position, page, self.conf.recovery_limit)
        self.delivery.begin(room, session, WELCOME, opening, page)


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Turns of the loop and of threads, until something is so."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "timed out"
        await asyncio.sleep(0.001)


async def until_told(ask: Callable[[], Awaitable[object]], seconds: float = 5) -> None:
    """Ask again and again, until the answer is yes."""
    async with asyncio.timeout(seconds):
        while True:
            if await ask():
                return
            await asyncio.sleep(0.01)


TASK_SIGNALS = {
    TaskState.DONE: signals.task_done,
    TaskState.FAILED: signals.task_failed,
    TaskState.RELEASED: signals.task_released,
    TaskState.LOST: signals.task_lost,
    TaskState.CANCELLED: signals.task_cancelled,
}


@contextmanager
def task_signals(hear: Callable[..., None] | None = None) -> Iterator[None]:
    """Only `hear`, and whom the test connects, hear the end of tasks; no installed app does."""
    before = {signal: signal.receivers for signal in TASK_SIGNALS.values()}
    for signal in before:
        signal.receivers = []
        signal.sender_receivers_cache.clear()
        if hear is not None:
            signal.connect(hear, weak=False)
    try:
        yield
    finally:
        for signal, receivers in before.items():
            signal.receivers = receivers
            signal.sender_receivers_cache.clear()


def info(user: str = "42", **given: Any) -> SessionInfo:
    values: dict[str, Any] = {
        "id": new_id(),
        "kind": Kind.CLIENT,
        "user": user,
        "client_id": new_id(),
        "node": "here",
        "connected_at": NOON,
    }
    return SessionInfo(**values | given)


def seat(worker: str = "k/w", **given: Any) -> Seat:
    values: dict[str, Any] = {
        "session": new_id(),
        "node": "here",
        "pools": ("p",),
        "capacity": 1,
    }
    return Seat(worker, **values | given)


def task(**given: Any) -> Task:
    values: dict[str, Any] = {
        "id": new_id(),
        "pool": "p",
        "event": "e",
        "node": "here",
        "timeout": 300.0,
        "created": NOON,
    }
    return Task(**values | given)


def connection(now: float = 0.0, *, heartbeat: float | None = 25.0, **given: Any) -> Connection:
    values: dict[str, Any] = {"pong_timeout": 10.0, "slow_timeout": 10.0}
    return Connection(now, heartbeat=heartbeat, **values | given)


def local_session(
    user: str = "42", *, outbox: RecordingOutbox | None = None, **given: Any
) -> LocalSession:
    outbox = RecordingOutbox() if outbox is None else outbox
    session = LocalSession(info(user, **given), outbox, connection())
    outbox.on_drain = session.drained
    return session


def outbox_of(session: LocalSession) -> RecordingOutbox:
    assert isinstance(session.outbox, RecordingOutbox)
    return session.outbox


def scope_of(
    query: str | bytes = b"",
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    subprotocols: tuple[str, ...] = ("gateway.v1",),
    **given: Any,
) -> dict[str, Any]:
    """A WebSocket scope as a server makes it."""
    return {
        "type": "websocket",
        "path": "/",
        "query_string": query.encode() if isinstance(query, str) else query,
        "headers": headers or [],
        "subprotocols": list(subprotocols),
        "client": ["192.0.2.7", 50_000],
        **given,
    }


def without_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes write no rows, and read none."""
    monkeypatch.setattr(node_module, "Recorder", RecordingRecorder)
    keys = partial(KeyRing, load=dict, note_used=lambda used: None)
    monkeypatch.setattr(node_module, "KeyRing", keys)


@asynccontextmanager
async def running_node(
    monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: Any
) -> AsyncIterator[Node]:
    """This process' node, in memory mode and without a database."""
    without_database(monkeypatch)
    monkeypatch.setattr(channel_layers, "backends", {})
    values: dict[str, Any] = {
        "data_dir": folder,
        "node_name": "here",
        "auth": ("jwt", "insecure"),
        "jwt_secret": JWT_SECRET,
        "worker_keys": {"converter": sha256(WORKER_KEY.encode()).hexdigest()},
    }
    node = Node(Conf(**values | settings))
    await node.start()
    monkeypatch.setattr(node_module, "_node", node)
    try:
        yield node
    finally:
        monkeypatch.setattr(node_module, "_node", None)
        await node.stop()


def node_info(name: str, **given: Any) -> NodeInfo:
    values: dict[str, Any] = {
        "pid": 7,
        "host": "h",
        "version": "1",
        "started_at": NOON,
        "state": "ready",
    }
    return NodeInfo(id=f"{name}:1", name=name, **values | given)


async def begin_life(nodes: Nodes, info: NodeInfo) -> None:
    assert (await nodes.beat(info, begin=True, silent=0.0)).alive


async def no_warmup() -> float:
    return 0.0
