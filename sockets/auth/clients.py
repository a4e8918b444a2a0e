"""Authentication of browsers: the methods of `AUTH`, asked in order.

A method returns Credentials, None when the handshake does not use it, and raises Unauthorized
when it does and is wrong: a bad token is never given a second chance by a weaker method.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from sockets.auth.handshake import Handshake
from sockets.auth.jwks import PublishedKeys
from sockets.auth.proxy import ApiServer
from sockets.auth.session_watch import SessionWatch, Socket
from sockets.auth.tokens import Tokens, unusable_keys
from sockets.base.clock import Now
from sockets.conf import Conf, WrongSettings
from sockets.exceptions import BadRequest, Unauthorized
from sockets.protocol.places import Places
from sockets.types import Credentials

if TYPE_CHECKING:
    from sockets.auth.django_sessions import DjangoSessions

MAX_SEATED: Final = 1_000
"""Sockets of one node that wait for their first frame ..."""

SEATED_SHARE: Final = 250
"""... and those of one address among them."""

Method = Callable[[Handshake, str | None], Awaitable[Credentials | None]]


class ClientAuth:
    """Belongs to the node's event loop. Any method may raise TryAgainLater: who would know is away.

    Raises WrongSettings for public keys that cannot be used, and for sessions.

    `published.run` and `session_watch.run` must go on for as long as this is used. `now`: dates
    proofs that have no date of their own, by the clock that revocations are dated by; may raise
    GatewayUnavailable.
    """

    def __init__(self, conf: Conf, now: Now | None = None) -> None:
        if faults := tuple(unusable_keys(conf)):
            raise WrongSettings(*faults)
        self._conf = conf
        self._now = now
        self.published = (
            PublishedKeys(conf.jwt_jwks_url, ttl=conf.jwt_jwks_ttl) if conf.jwt_jwks_url else None
        )
        self._tokens = Tokens(conf, self.published)
        self._api_server = ApiServer(conf, now=now) if "proxy" in conf.auth else None
        self._sessions = _django_sessions(conf, now) if "session" in conf.auth else None
        self.session_watch = None if self._sessions is None else SessionWatch(self._sessions.owners)
        self._seats = Places(MAX_SEATED, SEATED_SHARE)
        self._methods: dict[str, Method] = {
            "jwt": self._jwt,
            "session": self._session,
            "proxy": self._proxy,
            "insecure": self._insecure,
        }
        # Insecure last, whatever the order: else a user_id would spare a bad token its refusal.
        self._order = sorted(conf.auth, key=lambda name: name == "insecure")

    async def check(self) -> None:
        """Raise WrongSettings where what is to be asked is there, and cannot know anybody."""
        if self._sessions is not None:
            await self._sessions.check()

    async def close(self) -> None:
        """Close the connections to whoever is asked."""
        if self.published is not None:
            await self.published.close()
        if self._api_server is not None:
            await self._api_server.close()
        if self._sessions is not None:
            self._sessions.close()

    def seat(self, handshake: Handshake) -> AbstractContextManager[None]:
        """Return a place among the sockets that have not authenticated yet. Raises
        TryAgainLater."""
        return self._seats.hold(
            handshake.neighbourhood, "too many sockets wait for their first frame"
        )

    async def authenticate(self, handshake: Handshake, token: str | None = None) -> Credentials:
        """Return the credentials of this client. Raises Unauthorized with a reason for people, or
        BadRequest.

        `token`: of its first frame; None: it is looked for in the handshake.
        """
        claimed = handshake.user_id()
        if token is None:
            token = handshake.token(allow_query=self._conf.query_token)
        for name in self._order:
            credentials = await self._methods[name](handshake, token)
            if credentials is None:
                continue
            if claimed is not None and claimed != credentials.subject:
                raise Unauthorized("user_id is not the authenticated user; leave it out")
            return credentials
        raise Unauthorized(_lacking(self._conf.auth))

    async def refresh(self, handshake: Handshake, token: str) -> Credentials:
        """Return the credentials in a new token, given on a live socket. Raises as `authenticate`
        does."""
        for name in self._order:
            if name == "insecure":
                break
            credentials = await self._methods[name](handshake, token)
            if credentials is not None:
                return credentials
        raise BadRequest("tokens are not in use here")

    def look_after(self, socket: Socket, handshake: Handshake, proof: Credentials) -> None:
        """See to it that a socket ends with the session that it was opened by, where no date says
        when that is. `proof`: what it goes by from now on."""
        if self._sessions is None or self.session_watch is None:
            return
        key = self._sessions.key_of(handshake) if proof.recheck else None
        if key is None:
            self.session_watch.forget(socket)
        else:
            self.session_watch.watch(socket, key, proof.subject)

    async def _jwt(self, handshake: Handshake, token: str | None) -> Credentials | None:
        if token is None:
            return None
        return await self._tokens.check(token, handshake.neighbourhood)

    async def _session(self, handshake: Handshake, token: str | None) -> Credentials | None:
        assert self._sessions is not None
        return None if token is not None else await self._sessions.ask(handshake)

    async def _proxy(self, handshake: Handshake, token: str | None) -> Credentials | None:
        assert self._api_server is not None
        return await self._api_server.ask(handshake, token)

    async def _insecure(self, handshake: Handshake, token: str | None) -> Credentials | None:
        """Believe the user id that the client gives; for development."""
        user = handshake.user_id()
        if user is None:
            return None
        issued_at = time.time() if self._now is None else await self._now()
        return Credentials(user, "insecure", issued_at=issued_at)


def _django_sessions(conf: Conf, now: Now | None) -> DjangoSessions:
    # Here: a project need not have Django's users.
    from sockets.auth.django_sessions import DjangoSessions

    return DjangoSessions(conf, now)


def _lacking(methods: Collection[str]) -> str:
    """What to give, for whoever came with nothing."""
    if "insecure" in methods:
        return "no credentials: give user_id or a token"
    if "jwt" in methods or "session" not in methods:
        return "no credentials: give a token"
    return "no signed-in user's session came; a page on another host needs SESSION_COOKIE_DOMAIN"
