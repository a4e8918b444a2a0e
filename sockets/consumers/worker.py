"""The worker socket: PROTOCOL section 4, without tasks. One socket serves many users."""

from __future__ import annotations

from dataclasses import replace

from msgspec import Raw

from sockets import metrics
from sockets.auth import keys
from sockets.codes import ErrorCode
from sockets.consumers.base import GatewayConsumer
from sockets.exceptions import BadFrame, BadRequest, GatewayError
from sockets.hub import Room
from sockets.ids import is_user_id
from sockets.layers.fanout import Message
from sockets.layers.groups import worker_group
from sockets.protocol.codec import decode_worker, encode
from sockets.protocol.messages import (
    Attach,
    Detach,
    FromClient,
    Notify,
    Pong,
    Presence,
    WorkerMessage,
    WorkerWelcome,
)
from sockets.protocol.outbox import Write
from sockets.types import Credentials, Kind

_MAX_NAME = 128


class WorkerConsumer(GatewayConsumer):
    """A conversion worker, or any other trusted process."""

    kind = Kind.WORKER

    def authenticate(self) -> Credentials:
        return keys.authenticate_worker(self.handshake, self.node.conf)

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
        await self.node.sessions.open_worker(session)
        self.outbox.write(
            encode(
                WorkerWelcome(
                    session=session.info.id,
                    worker=session.info.client_id,
                    pools=[pool for pool in params.get("pools", "").split(",") if pool],
                    node=self.node.name,
                    heartbeat=self.heartbeat,
                    limits=self.limits,
                    tasks=[],
                )
            )
        )
        session.early = None

    def decode(self, text: str) -> WorkerMessage:
        return decode_worker(text)

    async def handle(self, message: WorkerMessage) -> None:
        match message:
            case Pong():
                self.session.connection.pong()
            case Notify():
                await self._on_notify(message)
            case Attach():
                await self._on_attach(message)
            case Detach():
                self.session.attached.discard(message.user)
                await self.node.hub.leave(self.session, worker_group(message.user))
                await self.reply(message.ref)
            case Presence():
                await self._on_presence(message)

    async def _on_notify(self, notify: Notify) -> None:
        receipt = await self.node.delivery.notify(
            notify.user,
            notify.event,
            notify.data,
            durable=notify.durable,
            ttl=notify.ttl,
            collapse_key=notify.collapse_key,
            idempotency_key=notify.idempotency_key,
        )
        await self.reply(
            notify.ref,
            id=receipt.id,
            epoch=receipt.epoch,
            offset=receipt.offset,
            duplicate=receipt.duplicate,
        )

    async def _on_attach(self, attach: Attach) -> None:
        session, limit = self.session, self.node.conf.max_attached
        if not is_user_id(attach.user):
            raise BadFrame(ErrorCode.BAD_MESSAGE, "not a user id")
        if attach.user not in session.attached:
            if len(session.attached) >= limit:
                raise BadFrame(
                    ErrorCode.BAD_MESSAGE,
                    f"attached to {limit} users already: detach from some",
                )
            group = worker_group(attach.user)
            try:
                await self.node.hub.join(session, group, "", on_client_send)
            except GatewayError:
                await self.node.hub.leave(session, group)
                raise
            session.attached.add(attach.user)
        await self.reply(attach.ref)

    async def _on_presence(self, presence: Presence) -> None:
        infos = await self.node.presence.sessions_of(presence.user)
        await self.reply(
            presence.ref,
            online=bool(infos),
            sessions=[
                {"session": info.id, "client": info.client_id, "since": info.connected_at}
                for info in infos
            ],
        )


def on_client_send(room: Room, message: Message) -> None:
    """A sink: a client's `send`, to the workers of this node that are attached to its user."""
    if message.get("type") != "user.send":
        raise ValueError(f"type {message.get('type')!r} is not for attached workers")
    frame = encode(
        FromClient(message["user"], message["client"], message["event"], Raw(message["data"]))
    )
    for session in room.members:
        if session.outbox.write(frame) is Write.FULL:
            session.missed += 1
            metrics.dropped_ephemeral.inc()
