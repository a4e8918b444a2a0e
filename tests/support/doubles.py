"""Stand-ins for what the core talks to, named by what they do; and small builders of its values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from channels.layers import channel_layers
from django.db import connection as database
from django.db.models import Model

from sockets import signals
from sockets.auth.keyring import KeyRing
from sockets.base.ids import new_id
from sockets.cluster.registry import Nodes
from sockets.conf import Conf
from sockets.delivery import PAGE
from sockets.delivery.hub import LocalSession, Room
from sockets.exceptions import GatewayUnavailable
from sockets.layers.base import Layer
from sockets.layers.fanout import Sink
from sockets.layers.groups import user_group
from sockets.layers.memory import MemoryChannelLayer
from sockets.node import composition, current
from sockets.node.backends import memory_backends
from sockets.node.node import Node
from sockets.presence.memory import MemoryPresence
from sockets.protocol.codec import message_frame
from sockets.protocol.connection import Connection
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write
from sockets.protocol.recovery import plan_opening
from sockets.streams.memory import MemoryStreams
from sockets.tasks.base import Seat
from sockets.tasks.memory import MemoryTaskRecords
from sockets.types import Kind, NodeInfo, Position, SessionInfo, Surface, Task, TaskState
from tests.support.patience import PATIENCE

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
        self.on_stall: Callable[[], None] | None = None
        self.on_pong: Callable[[], bool] | None = None
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
    """Has space for `space` frames; the next one is refused until `trickle` makes more."""

    def __init__(self, space: int = 0) -> None:
        super().__init__()
        self.space = space
        self._refused = False

    def write(self, frame: Frame) -> Write:
        if self.closed is None and self.space <= 0 and frame is not WELCOME:
            self._refused = True
            return Write.FULL
        result = super().write(frame)
        self.space -= result is Write.OK and frame is not WELCOME
        return result

    def trickle(self, space: int) -> None:
        """The reader took some: space for so many more frames."""
        self.space = space
        if self._refused and space:
            self._refused = False
            assert self.on_drain is not None
            self.on_drain()


class RecordingRecorder:
    """Writes no rows; remembers what was noted."""

    trouble = ""

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


class MemoryNode(Node):
    """A real node with its state in this process, whose tests look into it."""

    layer: MemoryChannelLayer
    streams: MemoryStreams
    presence: MemoryPresence
    tasks: MemoryTaskRecords
    recorder: RecordingRecorder


class StillNode(MemoryNode):
    """A real node that does nothing by itself: nothing is started, its state is in this process,
    its clock moves when a test moves it, and it needs no database.

    `executor`: where Django's receivers run; threads of its own if none is given. `drains`: how
    often its process was to end, as another node had asked.
    """

    def __init__(
        self, layer: Layer | None = None, executor: Executor | None = None, **settings: Any
    ) -> None:
        self.clock, self.drains = MovedClock(), 0
        conf = Conf(node_name="here", **settings)
        super().__init__(
            conf,
            state=memory_backends(conf, layer or MemoryChannelLayer(), self.clock),
            clock=self.clock,
            wall=self.clock,
            recorder=RecordingRecorder(),
            executor=executor,
            end_process=self._drain,
        )

    def _drain(self) -> None:
        self.drains += 1
        self.spawn(self.lag())

    @property
    def at_work(self) -> frozenset[asyncio.Task[None]]:
        """What was started and has not ended."""
        return frozenset(self._spawned)

    async def settle(self) -> None:
        """Until nothing that was started is left to do; what failed in it fails the test."""
        while self._spawned:
            await asyncio.gather(*self._spawned)
            await asyncio.sleep(0)  # gather of what has ended gives nobody a turn

    async def open(
        self, user: str = "42", *, position: Position | None = None, **given: Any
    ) -> LocalSession:
        """A client that was welcomed and has begun to read its stream."""
        session = local_session(user, **given)
        opened = await self.sessions.open_client(session, position)
        await self.sessions.welcome(session, opened, WELCOME)
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


async def still_node(
    layer: Layer | None = None, *, executor: Executor | None = None, **settings: Any
) -> StillNode:
    """A still node that the registry knows, and that hears what other nodes ask of it."""
    made = StillNode(layer, executor, **settings)
    await made.bus.listen()
    await made.registration.begin()
    return made


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Turns of the loop and of threads, until something is so."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "timed out"
        await asyncio.sleep(0.001)


async def until_told(ask: Callable[[], Awaitable[object]], seconds: float = PATIENCE) -> None:
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


def on_surface(surface: Surface) -> dict[str, Any]:
    """What a test client adds to its requests: the port that they came to."""
    return {"gateway.surface": surface}


def without_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes write no rows, and read none."""
    monkeypatch.setattr(composition, "Recorder", RecordingRecorder)
    monkeypatch.setattr(composition, "KeyRing", keys_without_database)


def keys_without_database(conf: Conf) -> KeyRing:
    """Those of the settings alone."""
    return KeyRing(conf, load=dict, note_used=lambda used: None)


@asynccontextmanager
async def running_node(
    monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: Any
) -> AsyncIterator[MemoryNode]:
    """This process' node, in memory mode and without a database."""
    monkeypatch.setattr(channel_layers, "backends", {})
    monkeypatch.setattr(composition, "_erase_rows", lambda user, before: 0)
    values: dict[str, Any] = {
        "data_dir": folder,
        "node_name": "here",
        "recorder_interval": 0.01,  # who is forgotten waits for two of them
        "auth": ("jwt", "insecure"),
        "jwt_secret": JWT_SECRET,
        "worker_keys": {"converter": sha256(WORKER_KEY.encode()).hexdigest()},
    }
    conf = Conf(**values | settings)
    node = MemoryNode(conf, recorder=RecordingRecorder(), keys=keys_without_database(conf))
    await node.start()
    monkeypatch.setattr(current, "_node", node)
    try:
        yield node
    finally:
        monkeypatch.setattr(current, "_node", None)
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


def drop_table(model: type[Model]) -> None:
    """Let a database be as of a project that has not installed this model."""
    with database.schema_editor() as editor:
        editor.delete_model(model)


def make_table(model: type[Model]) -> None:
    """The opposite, for the tests that follow."""
    with database.schema_editor() as editor:
        editor.create_model(model)
