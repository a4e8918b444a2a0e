"""What both sockets share: accept, authenticate, open, listen, and a clean-up that always runs."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import Any, Final

from channels.consumer import AsyncConsumer

from sockets.auth.handshake import SUBPROTOCOL, Handshake, claims_in, parse, peer_address
from sockets.base import audit, metrics, refusals
from sockets.base.client_address import peer_host
from sockets.base.ids import new_id
from sockets.base.rate import Bucket
from sockets.codes import ABNORMAL, CloseCode, ErrorCode
from sockets.consumers.outbox import PumpOutbox
from sockets.delivery.hub import LocalSession
from sockets.exceptions import (
    BadFrame,
    GatewayError,
    GatewayUnavailable,
    InvalidMessage,
    MessageTooLarge,
    Refused,
    TryAgainLater,
)
from sockets.node.node import Node, ensure_node
from sockets.protocol.codec import encode
from sockets.protocol.connection import Close, Connection, TooFast
from sockets.protocol.frames import Frame
from sockets.protocol.messages import Error, Limits, Reply
from sockets.protocol.outbox import Outbox, Write
from sockets.types import Audit, Credentials, Kind, SessionInfo

logger = logging.getLogger(__name__)

FRAMES_PER_TURN = 4
"""Frames of one socket handled before the other sockets get their turn."""

CHARGED_SIZE = 2_048
"""Characters of a frame that is JSON and no message for which it counts as one frame more: to find
its `ref` takes as long as to handle some small ones."""

READ_TWICE = 16_384
"""Characters of a frame that came too fast and is still looked through for its `ref` where it is no
message. Messages of any size are answered with theirs."""


PONG: Final = '{"type":"pong"}'
"""What a pong is noted as that the server below has recognised."""


class PeerGone(Exception):
    """The peer left before it was a session."""


class GatewayConsumer(AsyncConsumer):
    """One socket, from handshake to clean-up.

    Channels' own loop is not used: it hops to a thread for every message, and runs `disconnect()`
    only on the sunny path (why-our-own-server.md section 2). Here `finally` cleans up, whatever
    happens.
    """

    scope: Any
    kind: Kind
    node: Node
    handshake: Handshake
    credentials: Credentials
    outbox: Outbox
    session: LocalSession
    _accepted: float  # by a monotonic clock: from when on the peer waits for us alone

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self.receive = receive
        self._given_up = False
        self._space: asyncio.Future[None] | None = None
        session = None
        code, reason = ABNORMAL, ""
        pump = None
        try:
            self.node = await ensure_node()
            await receive()  # websocket.connect
            offered = SUBPROTOCOL in scope.get("subprotocols", ())
            await send(
                {"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None}
            )
            self._accepted = time.monotonic()
            self.outbox, pump = self._make_outbox(send)
            try:
                session = self.session = await self._authenticate()
                self.outbox.on_drain = session.drained
                self.outbox.on_stall = partial(self.node.hub.stalled, session)
                self.outbox.on_pong = self._on_pong
                session.on_space = self._have_space
                await self.open()
                metrics.connects[self.kind].inc()
                metrics.welcome[self.kind].observe(time.monotonic() - self._accepted)
                code, reason = await self._listen()
            except PeerGone:
                pass
            except GatewayError as error:
                await self._refuse(error, session)
                code, reason = error.close_code, str(error)
            except Exception:
                logger.exception("a %s socket failed; it is closed with 4004", self.kind)
                self._close(session, CloseCode.INTERNAL_ERROR, "internal error")
                await self._until_disconnected()
        except asyncio.CancelledError:
            if not self._given_up:
                raise
        finally:
            try:
                if session is not None:
                    await self.node.sessions.close(session, code, reason)
            finally:
                try:
                    if pump is not None:
                        await pump.finish()
                finally:
                    if session is not None:
                        self._let_go(session)

    # --- for the two kinds

    async def authenticate(self) -> Credentials:
        """Return who the peer is. Raises Refused."""
        raise NotImplementedError

    def client_id(self) -> str:
        """Return the ULID that makes two connections the same client. Raises BadRequest."""
        raise NotImplementedError

    async def open(self) -> None:
        """Make the session known, and write its `welcome`. Raises GatewayError."""
        raise NotImplementedError

    def decode(self, text: str, *, explained: bool = True) -> Any:
        """Return a frame as a struct of `protocol.messages`. Raises BadFrame."""
        raise NotImplementedError

    async def handle(self, message: Any) -> None:
        """Do what the frame asks. Raises BadFrame, InvalidMessage and GatewayUnavailable, which
        become the error reply."""
        raise NotImplementedError

    @property
    def limits(self) -> Limits:
        """The limits that the `welcome` names."""
        conf = self.node.conf
        return Limits(frame=conf.max_frame_size, message=conf.max_message_size)

    @property
    def heartbeat(self) -> float:
        """The ping interval that the `welcome` names, in seconds: 0 for a peer that did not offer
        `gateway.v1` and is not pinged."""
        return self.node.conf.heartbeat if self.handshake.speaks_v1 else 0

    async def write(self, frame: Frame) -> None:
        """Write a frame; waits while the outbox is full, so a peer that does not read its
        replies is not read either. A socket that is gone takes anything."""
        while self.session.outbox.write(frame) is Write.FULL:
            self._space = asyncio.get_running_loop().create_future()
            await self._space

    async def reply(self, ref: object, **members: Any) -> None:
        """Answer a request; without a `ref` nobody waits for an answer."""
        if isinstance(ref, str | int):
            await self.write(encode(Reply(ok=True, ref=ref, **members)))

    # --- inside

    def _make_outbox(self, send: Any) -> tuple[Outbox, PumpOutbox | None]:
        """The server's frame outbox where there is one (ours), else a pump over ASGI `send`."""
        outbox: Outbox | None = self.scope.get("extensions", {}).get("gateway.frames")
        if outbox is not None:
            return outbox, None
        task = asyncio.current_task()
        assert task is not None

        def give_up() -> None:
            self._given_up = True
            task.cancel()

        conf = self.node.conf
        pump = PumpOutbox(
            send,
            limit=conf.outbox_limit,
            close_timeout=conf.close_timeout,
            on_give_up=give_up,
        )
        return pump, pump

    async def _authenticate(self) -> LocalSession:
        self.handshake = parse(self.scope)
        credentials = self.credentials = await self.authenticate()
        conf = self.node.conf
        info = SessionInfo(
            id=new_id(),
            kind=self.kind,
            user=credentials.subject,
            client_id=self.client_id(),
            node=self.node.name,
            connected_at=self.node.store_time(),
            address=self.handshake.address,
            agent=self.handshake.agent,
            sid=credentials.sid,
            jti=credentials.jti,
            issued_at=credentials.issued_at,
            info=credentials.info,
        )
        connection = Connection(
            self.node.hub.timetable.now(),
            heartbeat=conf.heartbeat if self.handshake.speaks_v1 else None,
            pong_timeout=conf.pong_timeout,
            slow_timeout=conf.slow_timeout,
            expires_at=self.end_of(credentials),
            buckets=self._buckets(credentials.subject),
        )
        return LocalSession(info, self.outbox, connection, credentials.method)

    def end_of(self, credentials: Credentials) -> float | None:
        """Until when the socket may stay, seconds since the epoch; None: for ever."""
        end = credentials.expires_at
        return None if end is None else end + self.node.conf.token_grace

    def _buckets(self, user: str) -> list[Bucket]:
        """The session's own, and that of all of a user's clients on this node."""
        conf, now = self.node.conf, time.monotonic()
        if self.kind is Kind.WORKER:
            return _bucket(now, conf.worker_rate, conf.worker_burst)
        own = _bucket(now, conf.client_rate, conf.client_burst)
        shared = self.node.user_buckets.get(user)
        if shared is None:
            for shared in _bucket(now, conf.user_rate, conf.user_burst):
                self.node.user_buckets[user] = shared
        return own if shared is None else [*own, shared]

    async def _listen(self) -> tuple[int, str]:
        """Handle frames until the socket is gone; returns the peer's close code and reason."""
        session = self.session
        while True:
            message = await self.receive()
            if message["type"] == "websocket.disconnect":
                return message.get("code") or ABNORMAL, message.get("reason") or ""
            metrics.messages_in[self.kind].inc()
            session.received += 1
            if session.received % FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)
            if self.node.renewal.overdue:
                # Frozen longer than a lease: others may have taken over what is asked for here.
                await self.node.renewal.caught_up()
            if session.close_code is not None:
                continue  # closing: what still comes is not processed (RFC 6455 section 1.4)
            if session.tap is not None:
                session.tap.received(message.get("text"))
            await self._on_frame(message.get("text"))

    def _on_pong(self) -> bool:
        """Count a pong that the server below has recognised. False: it came too fast, and is
        handled as any frame is then."""
        connection = self.session.connection
        if self.session.close_code is None:
            if not connection.takes(time.monotonic()):
                return False
            connection.good_frame()
            connection.pong(self.node.hub.timetable.now())
            if (tap := self.session.tap) is not None:
                tap.received(PONG)
        metrics.messages_in[self.kind].inc()
        return True

    async def _on_frame(self, text: str | None) -> None:
        """Handle one frame; whatever is wrong with it becomes a reply with its `ref`."""
        connection = self.session.connection
        message: Any = None
        match connection.frame(time.monotonic()):
            case Close(code, reason):
                self.session.close(code, reason)
                return
            case TooFast(seconds):
                metrics.rate_limited[self.kind].inc()
                await self._reply_too_fast(text, seconds)
                return
        try:
            if text is None:
                raise BadFrame(ErrorCode.BINARY, "gateway.v1 is JSON in text frames")
            message = self.decode(text)
            connection.good_frame()
            await self.handle(message)
        except BadFrame as error:
            await self._reply_error(error.code, error, message, error.ref)
            if message is None:
                await self._count_bad(text or "", is_json=error.is_json)
        except MessageTooLarge as error:
            await self._reply_error(ErrorCode.TOO_LARGE, error, message)
        except InvalidMessage as error:
            await self._reply_error(ErrorCode.BAD_MESSAGE, error, message)
        except GatewayUnavailable as error:
            await self._reply_error(ErrorCode.UNAVAILABLE, error, message)

    async def _count_bad(self, text: str, *, is_json: bool) -> None:
        """Close a peer that sends no JSON; one that does pays for the time of a large frame."""
        connection = self.session.connection
        if is_json:
            connection.charge(len(text) // CHARGED_SIZE)
            await asyncio.sleep(0)
        elif isinstance(verdict := connection.bad_frame(), Close):
            self.session.close(verdict.code, verdict.reason)

    async def _reply_error(
        self, code: ErrorCode, error: Exception, message: Any, ref: str | int | None = None
    ) -> None:
        if ref is None and isinstance(own := getattr(message, "ref", None), str | int):
            ref = own
        await self.write(encode(Reply(ok=False, ref=ref, error=Error(code, str(error)))))

    async def _reply_too_fast(self, text: str | None, seconds: float) -> None:
        """Refuse a frame that came too fast; it is read for its `ref` only."""
        text = text or ""
        try:
            ref = getattr(self.decode(text, explained=len(text) <= READ_TWICE), "ref", None)
        except BadFrame as unread:
            ref = unread.ref
        text = f"too many messages: wait {max(seconds, 0.1):.1f} s, then send this again"
        error = Error(ErrorCode.RATE_LIMITED, text)
        known = ref if isinstance(ref, str | int) else None
        await self.write(encode(Reply(ok=False, ref=known, error=error)))

    async def _refuse(self, error: GatewayError, session: LocalSession | None) -> None:
        """Close with the error's code; the peer's half of the handshake is awaited."""
        if not isinstance(error, Refused):
            error = TryAgainLater(str(error))
        metrics.count_refusal(error.close_code)
        user = error.user if session is None else session.info.user
        audit.record(
            Audit.REFUSED,
            surface=self.kind.value,
            code=int(error.close_code),
            reason=str(error),
            user=user,
            address=peer_address(self.scope),
        )
        refusals.note(
            self.kind,
            int(error.close_code),
            str(error),
            address=peer_host(self.scope),
            user=user,
            **claims_in(self.scope),
        )
        self._close(session, error.close_code, str(error))
        await self._until_disconnected()

    def _close(self, session: LocalSession | None, code: int, reason: str) -> None:
        if session is None:
            self.outbox.close(code, reason)
        else:
            session.close(code, reason)

    async def _until_disconnected(self) -> None:
        """The server ends a closing handshake that the peer does not answer."""
        while (await self.receive())["type"] != "websocket.disconnect":
            pass

    def _let_go(self, session: LocalSession) -> None:
        """Undo what refers back to this consumer and its session; else all that the socket had
        stays until the garbage collector walks through all others."""
        self.outbox.on_drain = self.outbox.on_stall = self.outbox.on_pong = None
        session.outbox, session.tap = self.outbox, None  # a tap is its session's outbox, too
        session.on_space = session.on_readable = None

    def _have_space(self) -> None:
        space, self._space = self._space, None
        if space is not None and not space.done():
            space.set_result(None)


def _bucket(now: float, rate: float, burst: int) -> list[Bucket]:
    """A list of one bucket; empty where there is no limit."""
    return [Bucket(now, rate=rate, burst=burst)] if rate else []
