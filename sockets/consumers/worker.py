"""The worker socket: protocol.md section 4. One socket serves many users."""

from __future__ import annotations

from dataclasses import replace

from msgspec import UNSET, Raw

from sockets.auth import scopes
from sockets.auth.keyring import authenticate_worker
from sockets.base.arguments import require_user_id
from sockets.base.ids import is_pool
from sockets.codes import ErrorCode
from sockets.consumers.base import GatewayConsumer
from sockets.delivery.hub import Room
from sockets.exceptions import BadFrame, BadRequest, Forbidden, GatewayError
from sockets.layers.fanout import Message
from sockets.layers.groups import worker_group
from sockets.protocol.codec import decode_worker, encode
from sockets.protocol.messages import (
    Accept,
    Attach,
    Detach,
    Done,
    Failed,
    FromClient,
    Notify,
    Pong,
    Presence,
    Progress,
    Reject,
    Release,
    TaskMessage,
    WorkerMessage,
    WorkerWelcome,
)
from sockets.protocol.outbox import Write
from sockets.sessions.lifecycle import worker_name
from sockets.types import MAX_SHOWN, Credentials, Kind, TaskState, newest

_MAX_NAME = 128
_MAX_POOLS = 16
_MAX_CAPACITY = 1_000
_CAPACITY = f"capacity is a number from 1 to {_MAX_CAPACITY}"


class WorkerConsumer(GatewayConsumer):
    """A conversion worker, or any other trusted process."""

    kind = Kind.WORKER

    async def authenticate(self) -> Credentials:
        return await authenticate_worker(self.handshake, self.node.keys)

    def client_id(self) -> str:
        return self.handshake.client_id("worker_id", "workerId")

    async def open(self) -> None:
        session, params = self.session, self.handshake.params
        name = params.get("name", "")
        if len(name) > _MAX_NAME:
            raise BadRequest(f"name has more than {_MAX_NAME} characters")
        if name:
            # A worker has no browser; what tells one from another is its name.
            session.info = replace(session.info, agent=name)
        pools = _pools(params.get("pools", ""))
        for pool in pools:
            if not scopes.may_use(pool, self.credentials.scopes):
                raise Forbidden(f"this key has no scope tasks:{pool}")
        capacity = _capacity(params.get("capacity", "1"))
        self._name = worker_name(session.info)
        held = await self.node.sessions.open_worker(session, pools, capacity)
        # A key of the same name may hold other scopes: its tasks are not this one's to see.
        mine = [task.id for task in held if scopes.may_use(task.pool, self.credentials.scopes)]
        session.hidden_tasks = frozenset(task.id for task in held).difference(mine)
        welcome = WorkerWelcome(
            session=session.info.id,
            worker=session.info.client_id,
            pools=list(pools),
            node=self.node.name,
            heartbeat=self.heartbeat,
            limits=self.limits,
            tasks=mine,
        )
        session.welcome(encode(welcome))  # a task may have been offered before it was out

    def decode(self, text: str, *, explained: bool = True) -> WorkerMessage:
        return decode_worker(text, explained=explained)

    async def handle(self, message: WorkerMessage) -> None:
        match message:
            case Pong():
                self.session.connection.pong(self.node.hub.timetable.now())
            case Notify():
                self._need(scopes.NOTIFY)
                await self._on_notify(message)
            case Attach():
                self._need(scopes.PRESENCE)
                await self._on_attach(message)
            case Detach():
                user = require_user_id(message.user)
                self.session.attached.discard(user)
                await self.node.hub.leave(self.session, worker_group(user))
                await self.reply(message.ref)
            case Presence():
                self._need(scopes.PRESENCE)
                await self._on_presence(message)
            case _:
                await self._on_task(message)

    def _need(self, scope: str) -> None:
        if scope not in self.credentials.scopes:
            raise BadFrame(ErrorCode.FORBIDDEN, f"this key has no scope {scope}")

    async def _on_task(self, message: TaskMessage) -> None:
        worker, dispatcher = self._name, self.node.dispatcher
        if message.task in self.session.hidden_tasks:
            raise _task_lost(message.task)
        match message:
            case Accept(task, offer):
                held = await dispatcher.accept(worker, task, offer)
            case Reject(task, offer):
                held = await dispatcher.reject(worker, task, offer)
            case Progress(task, data):
                held = await dispatcher.progress(worker, task, None if data is UNSET else data)
            case Done(task, data):
                held = await dispatcher.end(worker, task, TaskState.DONE, result=data)
            case Failed(task, error):
                held = await dispatcher.end(worker, task, TaskState.FAILED, error=error)
            case Release(task, error):
                held = await dispatcher.end(worker, task, TaskState.RELEASED, error=error)
        if not held:
            raise _task_lost(message.task)
        await self.reply(message.ref)

    async def _on_notify(self, notify: Notify) -> None:
        receipt = await self.node.notifier.send(notify.notification())
        await self.reply(
            notify.ref,
            id=receipt.id,
            epoch=receipt.epoch,
            offset=receipt.offset,
            duplicate=receipt.duplicate,
        )

    async def _on_attach(self, attach: Attach) -> None:
        session, limit = self.session, self.node.conf.max_attached
        user = require_user_id(attach.user)
        if user not in session.attached:
            if len(session.attached) >= limit:
                raise BadFrame(
                    ErrorCode.BAD_MESSAGE,
                    f"attached to {limit} users already: detach from some",
                )
            group = worker_group(user)
            room, most = self.node.hub.room(group), self.node.conf.workers_per_user
            if room is not None and len(room.members) >= most:
                raise BadFrame(ErrorCode.BAD_MESSAGE, f"{most} workers are attached to this user")
            try:
                await self.node.hub.join(session, group, "", on_client_send)
            except GatewayError:
                await self.node.hub.leave(session, group)
                raise
            session.attached.add(user)
        await self.reply(attach.ref)

    async def _on_presence(self, presence: Presence) -> None:
        infos = await self.node.presence.sessions_of(require_user_id(presence.user))
        await self.reply(
            presence.ref,
            online=bool(infos),
            sessions=[
                {"session": info.id, "client": info.client_id, "since": info.connected_at}
                for info in newest(infos)
            ],
            more=len(infos) > MAX_SHOWN,
        )


def _task_lost(task_id: str) -> BadFrame:
    return BadFrame(ErrorCode.TASK_LOST, f"task {task_id} is not this worker's")


def _pools(text: str) -> tuple[str, ...]:
    """`a,b`: each once, in order. Raises BadRequest."""
    pools = tuple(dict.fromkeys(pool for pool in text.split(",") if pool))
    if len(pools) > _MAX_POOLS:
        raise BadRequest(f"more than {_MAX_POOLS} pools")
    for pool in pools:
        if not is_pool(pool):
            raise BadRequest(f"pool {pool[:64]!r}: 1 to 64 of A-Z a-z 0-9 . _ -")
    return pools


def _capacity(text: str) -> int:
    """How many tasks the worker holds at most. Raises BadRequest."""
    digits = text.lstrip("0")
    # Its length first: too many digits are an error of `int` itself.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 4):
        raise BadRequest(_CAPACITY)
    if (capacity := int(digits)) > _MAX_CAPACITY:
        raise BadRequest(_CAPACITY)
    return capacity


def on_client_send(room: Room, message: Message) -> None:
    """A sink: a client's `send`, to the workers of this node that are attached to its user."""
    if message.get("type") != "user.send":
        raise ValueError(f"type {message.get('type')!r} is not for attached workers")
    frame = encode(
        FromClient(message["user"], message["client"], message["event"], Raw(message["data"]))
    )
    for session in room.members:
        if session.write(frame) is Write.FULL:
            session.dropped()
