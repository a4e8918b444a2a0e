"""The client socket: protocol.md section 2."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from msgspec import UNSET

from sockets.base.database import tidy_connections
from sockets.codes import CloseCode, ErrorCode
from sockets.consumers.base import GatewayConsumer, PeerGone
from sockets.exceptions import BadFrame, BadRequest, GatewayUnavailable, TryAgainLater, Unauthorized
from sockets.layers.groups import worker_group
from sockets.protocol.codec import decode_client, encode, from_json
from sockets.protocol.messages import (
    Ack,
    ClientMessage,
    Connect,
    ListSessions,
    Pong,
    Refresh,
    Send,
    Welcome,
)
from sockets.signals import client_message
from sockets.types import MAX_SHOWN, Credentials, Kind, Position, newest

logger = logging.getLogger(__name__)


class ClientConsumer(GatewayConsumer):
    """A browser tab or a device."""

    kind = Kind.CLIENT

    async def authenticate(self) -> Credentials:
        auth = self.node.client_auth
        if self.handshake.params.get("auth") != "frame":
            return await auth.authenticate(self.handshake)
        with auth.seat(self.handshake):
            token = await self._first_frame()
        return await auth.authenticate(self.handshake, token)

    async def _first_frame(self) -> str:
        """Return the token of `connect`. Raises Unauthorized, BadRequest, PeerGone."""
        seconds = self.node.conf.connect_timeout
        try:
            async with asyncio.timeout(seconds):
                message = await self.receive()
        except TimeoutError:
            raise Unauthorized(f"no token came within {seconds:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise PeerGone
        try:
            frame = decode_client(message.get("text") or "")
        except BadFrame as error:
            raise BadRequest(f"the first frame is not `connect`: {error}") from None
        if not isinstance(frame, Connect):
            raise BadRequest("the first frame is not `connect`")
        self._accepted = time.monotonic()  # until now we have waited for the peer
        return frame.token

    def client_id(self) -> str:
        return self.handshake.client_id("client_id", "clientId")

    async def open(self) -> None:
        session, node = self.session, self.node
        named = self.handshake.names_client("client_id", "clientId")
        opened = await node.sessions.open_client(session, self.handshake.position(), named=named)
        node.client_auth.look_after(session, self.handshake, self.credentials)
        start = opened.opening.start
        welcome = Welcome(
            session=session.info.id,
            user=session.info.user,
            client=session.info.client_id,
            node=node.name,
            epoch=start.epoch,
            offset=start.offset,
            recovered=opened.opening.recovered,
            heartbeat=self.heartbeat,
            limits=self.limits,
            expires_in=UNSET if (left := self.expires_in(time.time())) is None else left,
        )
        await node.sessions.welcome(session, opened, encode(welcome))

    def decode(self, text: str, *, explained: bool = True) -> ClientMessage:
        return decode_client(text, explained=explained)

    async def handle(self, message: ClientMessage) -> None:
        match message:
            case Pong():
                self.session.connection.pong(self.node.hub.timetable.now())
            case Ack():
                self._on_ack(message)
                await self.reply(message.ref)
            case Send():
                await self._on_send(message)
                await self.reply(message.ref)
            case Refresh():
                await self._on_refresh(message)
                await self.reply(message.ref, expires_in=self.expires_in(time.time()))
            case Connect():
                raise BadFrame(ErrorCode.BAD_MESSAGE, "connected already: send `refresh`")
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
                        for info in newest(infos)
                    ],
                    more=len(infos) > MAX_SHOWN,
                )

    def expires_in(self, now: float) -> float | None:
        """Return the seconds from `now` until the proof ends, at least 0; None: it has no end.

        What a socket may live beyond that is left out: the grace, and the leeway in the end of a
        JWT.
        """
        proof = self.credentials
        if proof.expires_at is None:
            return None
        end = proof.expires_at - (self.node.conf.jwt_leeway if proof.method == "jwt" else 0)
        return max(0.0, round(end - now, 3))

    def _on_ack(self, ack: Ack) -> None:
        """Note what was acknowledged: never backwards, ahead of what was sent, of another epoch."""
        session, cursor = self.session, self.session.cursor
        if cursor is None or ack.epoch != cursor.epoch or ack.offset > cursor.offset:
            return
        if not session.info.has_acked(ack.epoch, ack.offset):
            position = Position(ack.epoch, ack.offset)
            session.info = replace(session.info, acked=position, acked_at=self.node.store_time())

    async def _on_send(self, send: Send) -> None:
        info = self.session.info
        decoded: Any = None
        if wanted := client_message.has_listeners(ClientConsumer):
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
        if wanted:
            meta = self.credentials.meta
            work = partial(_send_signal, info.user, info.client_id, send.event, decoded, meta)
            await self._call_receivers(work)

    async def _call_receivers(self, work: Callable[[], None]) -> None:
        """Run receivers in a thread, and wait until they are done: a client that sends faster than
        Django code takes is read more slowly. That others keep it waiting is not held against its
        pong."""
        connection, now = self.session.connection, self.node.hub.timetable.now

        def begin() -> None:
            connection.release(now())

        connection.hold(now())
        try:
            done = await self.node.receivers.messages.submit(self.session.info.user, work, begin)
        finally:
            begin()
        if not done:
            raise GatewayUnavailable("the application takes no more messages now: send it later")

    async def _on_refresh(self, refresh: Refresh) -> None:
        try:
            credentials = await self.node.client_auth.refresh(self.handshake, refresh.token)
        except Unauthorized as error:
            raise BadFrame(ErrorCode.UNAUTHORIZED, str(error)) from None
        except TryAgainLater as error:
            raise BadFrame(ErrorCode.UNAVAILABLE, str(error)) from None
        except BadRequest as error:
            raise BadFrame(ErrorCode.BAD_MESSAGE, str(error)) from None
        session = self.session
        if credentials.subject != session.info.user:
            session.close(CloseCode.UNAUTHORIZED, "the new token is another user's")
            return
        self.credentials = credentials
        session.method = credentials.method
        session.connection.expires_at = self.end_of(credentials)
        self.node.hub.watch(session)
        self.node.client_auth.look_after(session, self.handshake, credentials)
        session.info = replace(
            session.info,
            sid=credentials.sid,
            jti=credentials.jti,
            issued_at=credentials.issued_at,
            info=credentials.info,
        )
        # At once, and not with the next renewal: the new token may have been revoked.
        await self.node.sessions.renew_now(session)


def _send_signal(user: str, client: str, event: str, data: Any, meta: Any) -> None:
    """Run the receivers of `client_message` in this thread; database connections are not kept."""
    tidy_connections()
    try:
        for receiver, outcome in client_message.send_robust(
            ClientConsumer, user=user, client=client, event=event, data=data, meta=meta
        ):
            if isinstance(outcome, Exception):
                logger.error("client_message: %r failed", receiver, exc_info=outcome)
    finally:
        tidy_connections()
