"""The client socket: PROTOCOL section 2."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import close_old_connections

from sockets.auth import clients
from sockets.auth.tokens import check_token
from sockets.codes import CloseCode, ErrorCode
from sockets.consumers.base import GatewayConsumer
from sockets.exceptions import BadFrame, Unauthorized
from sockets.layers.groups import worker_group
from sockets.protocol.codec import decode_client, encode, from_json
from sockets.protocol.messages import (
    Ack,
    ClientMessage,
    ListSessions,
    Pong,
    Refresh,
    Send,
    Welcome,
)
from sockets.signals import client_message
from sockets.types import Credentials, Kind, Position

logger = logging.getLogger(__name__)


class ClientConsumer(GatewayConsumer):
    """A browser tab or a device."""

    kind = Kind.CLIENT

    async def authenticate(self) -> Credentials:
        return clients.authenticate(self.handshake, self.node.conf)

    def client_id(self) -> str:
        return self.handshake.client_id("client_id", "clientId")

    async def open(self) -> None:
        session, node = self.session, self.node
        opened = await node.sessions.open_client(session, self.handshake.position())
        start = opened.opening.start
        self.outbox.write(
            encode(
                Welcome(
                    session=session.info.id,
                    user=session.info.user,
                    client=session.info.client_id,
                    node=node.name,
                    epoch=start.epoch,
                    offset=start.offset,
                    recovered=opened.opening.recovered,
                    heartbeat=self.heartbeat,
                    limits=self.limits,
                )
            )
        )
        node.delivery.begin(opened.room, session, opened.opening, opened.page)

    def decode(self, text: str) -> ClientMessage:
        return decode_client(text)

    async def handle(self, message: ClientMessage) -> None:
        match message:
            case Pong():
                self.session.connection.pong()
            case Ack():
                self._on_ack(message)
                await self.reply(message.ref)
            case Send():
                await self._on_send(message)
                await self.reply(message.ref)
            case Refresh():
                self._on_refresh(message)
                await self.reply(message.ref)
            case ListSessions():
                infos = await self.node.presence.sessions_of(self.session.info.user)
                await self.reply(
                    message.ref,
                    sessions=[
                        {
                            "session": info.id,
                            "client": info.client_id,
                            "since": info.connected_at,
                            "agent": info.agent,
                        }
                        for info in infos
                    ],
                )

    def _on_ack(self, ack: Ack) -> None:
        """Never backwards, never ahead of what was sent, never of another epoch."""
        session, cursor = self.session, self.session.cursor
        if cursor is None or ack.epoch != cursor.epoch or ack.offset > cursor.offset:
            return
        if not session.info.has_acked(ack.epoch, ack.offset):
            position = Position(ack.epoch, ack.offset)
            session.info = replace(session.info, acked=position, acked_at=time.time())

    async def _on_send(self, send: Send) -> None:
        info = self.session.info
        decoded: Any = None
        if heard := client_message.has_listeners(ClientConsumer):
            decoded = from_json(send.data)
        await self.node.layer.group_send(
            worker_group(info.user),
            {
                "type": "user.send",
                "user": info.user,
                "client": info.client_id,
                "event": send.event,
                "data": bytes(send.data),
            },
        )
        if heard:
            work = partial(_tell_django, info.user, info.client_id, send.event, decoded)
            # Awaited: a client that sends faster than Django code takes is read more slowly.
            await asyncio.get_running_loop().run_in_executor(self.node.executor, work)

    def _on_refresh(self, refresh: Refresh) -> None:
        conf = self.node.conf
        if "jwt" not in conf.auth:
            raise BadFrame(ErrorCode.BAD_MESSAGE, "tokens are not in use here")
        try:
            credentials = check_token(refresh.token, conf)
        except Unauthorized as error:
            raise BadFrame(ErrorCode.UNAUTHORIZED, str(error)) from None
        if credentials.subject != self.session.info.user:
            self.session.close(CloseCode.UNAUTHORIZED, "the new token is another user's")
        else:
            self.session.connection.expires_at = credentials.expires_at


def _tell_django(user: str, client: str, event: str, data: Any) -> None:
    """Run the receivers of `client_message` in this thread; database connections are not kept."""
    close_old_connections()
    try:
        for receiver, outcome in client_message.send_robust(
            ClientConsumer, user=user, client=client, event=event, data=data
        ):
            if isinstance(outcome, Exception):
                logger.error("client_message: %r failed", receiver, exc_info=outcome)
    finally:
        close_old_connections()
