"""Authentication by proxy: the API server is asked who this is.

    GET API_SERVER_URL + AUTH_PROXY_PATH with the headers of AUTH_PROXY_HEADERS
    200 {"user": "42", "info"?, "meta"?, "sid"?, "expires_in"?: seconds}    it is 42
    401, 403, and what says that the headers are bad                       it is nobody
    anything else, or nothing in time                                      1013, try again later

The same headers are not asked about again for a few seconds (many tabs open at once), those who
come while a question is on its way wait for its answer, and an API server that fails is left alone
for a while.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

import httpx
import msgspec

from sockets.auth.handshake import Handshake
from sockets.auth.origins import own_origin
from sockets.auth.tokens import check_info
from sockets.clock import Now
from sockets.conf import Conf
from sockets.exceptions import TryAgainLater, Unauthorized
from sockets.fetch import Answer, FetchFailed, fetch, make_client
from sockets.ids import is_proof_id, is_user_id
from sockets.types import Credentials

logger = logging.getLogger(__name__)

MAX_ASKED: Final = 100
"""Questions on their way at once ..."""

MAX_WAITING: Final = 1_000
"""... and sockets that wait for them."""

MAX_KEPT: Final = 10_000
FAILURES: Final = 5
"""In a row, and the API server is left alone."""

MIN_PAUSE, MAX_PAUSE = 1.0, 30.0
"""Seconds that it is left alone; doubled each time."""

_NOBODY: Final = frozenset({400, 401, 403, 413, 414, 431})
"""Also what a hostile header brings about: it must not look like an API server that fails."""

_AWAY: Final = "the API server does not say who you are; try again"


class _Told(msgspec.Struct):
    """The body of a 200."""

    user: str
    info: Any = None
    meta: Any = None
    sid: str = ""
    expires_in: Annotated[float, msgspec.Meta(gt=0, le=10 * 365 * 86_400)] | None = None


class Breaker:
    """Leaves a failing server alone, and lets one question through to see whether it is back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until = -float("inf")

    def may_ask(self) -> bool:
        """Whether to ask now. Whoever may, must say how it went."""
        if self._failures < FAILURES:
            return True
        if self._clock() < self._until:
            return False
        self._until = self._clock() + MAX_PAUSE  # one at a time
        return True

    def worked(self) -> bool:
        """The server answered; True: it had been left alone."""
        was, self._failures = self._failures >= FAILURES, 0
        return was

    def failed(self) -> bool:
        """It did not; True: it is left alone from now on."""
        self._failures += 1
        pause = MIN_PAUSE * 2 ** min(max(self._failures - FAILURES, 0), 30)
        self._until = self._clock() + min(pause, MAX_PAUSE)
        return self._failures == FAILURES


class ApiServer:
    """Belongs to one event loop. `now`: dates what it says, to be compared with revocations; None:
    this machine's clock does."""

    def __init__(
        self,
        conf: Conf,
        *,
        now: Now | None = None,
        client: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._url = conf.proxy_url
        self._names = conf.auth_proxy_headers
        self._timeout = conf.auth_proxy_timeout
        self._ttl = conf.auth_proxy_cache
        self._client = client or make_client({"Accept": "application/json"}, connections=MAX_ASKED)
        self._clock = clock
        self._breaker = Breaker(clock)
        self._salt = secrets.token_bytes(16)
        self._kept: OrderedDict[bytes, tuple[float, Credentials]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Credentials]] = {}
        self._waiting = 0

    async def close(self) -> None:
        """Let go of the connections."""
        for task in self._asked.values():
            task.cancel()
        await self._client.aclose()

    async def ask(self, handshake: Handshake, token: str | None) -> Credentials | None:
        """Who this is; None: it has none of the headers. Raises Unauthorized, TryAgainLater."""
        headers = self._shown(handshake, token)
        if not headers:
            return None
        key = self._key(headers)
        at, kept = self._kept.get(key, (0.0, None))
        if kept is not None and self._clock() - at < self._ttl:
            return kept
        if self._waiting >= MAX_WAITING:
            raise TryAgainLater(_AWAY)
        if (task := self._asked.get(key)) is None:
            if len(self._asked) >= MAX_WAITING or not self._breaker.may_ask():
                raise TryAgainLater(_AWAY)
            address = (handshake.scope.get("client") or ("",))[0]
            task = asyncio.ensure_future(self._ask(key, headers | {"x-forwarded-for": address}))
            self._asked[key] = task
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        self._waiting += 1
        try:
            # A socket that goes away while it waits must not end the others' question.
            return await asyncio.shield(task)
        finally:
            self._waiting -= 1

    def _shown(self, handshake: Handshake, token: str | None) -> dict[str, str]:
        """What the API server may see of this handshake. Raises Unauthorized."""
        given = handshake.headers
        headers = {name: given[name] for name in self._names if name in given}
        if token is not None and "authorization" in self._names:
            headers["authorization"] = f"Bearer {token}"
        if "cookie" in headers and not own_origin(handshake.scope):
            del headers["cookie"]
            if not headers:
                raise Unauthorized("a cookie counts only on pages of this origin: use a token")
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise Unauthorized("credentials have characters that no header may have")
        return headers

    def _key(self, headers: Mapping[str, str]) -> bytes:
        """Hashed: what is kept for a while must not be anybody's cookie."""
        text = "\0".join(f"{name}\0{value}" for name, value in sorted(headers.items()))
        return hashlib.blake2b(text.encode(), key=self._salt, digest_size=32).digest()

    async def _ask(self, key: bytes, headers: Mapping[str, str]) -> Credentials:
        issued_at = None if self._now is None else await self._now()
        asked_at = time.time()
        try:
            answer = await fetch(
                self._client, "GET", self._url, timeout=self._timeout, headers=headers
            )
            told = _read(answer)
        except FetchFailed as error:
            if self._breaker.failed():
                logger.warning(
                    "the API server does not say who clients are: %s; it is left alone for a "
                    "moment, check API_SERVER_URL and AUTH_PROXY_PATH",
                    error,
                )
            raise TryAgainLater(_AWAY) from None
        if self._breaker.worked():
            logger.info("the API server says again who clients are")
        credentials = _credentials(told, asked_at)
        if issued_at is not None:
            credentials = replace(credentials, issued_at=issued_at)
        self._keep(key, credentials)
        return credentials

    def _keep(self, key: bytes, credentials: Credentials) -> None:
        if self._ttl <= 0:
            return
        self._kept[key] = (self._clock(), credentials)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)


def _read(answer: Answer) -> _Told | None:
    """None: it is nobody. Raises FetchFailed: this is no answer to the question."""
    if answer.status in _NOBODY:
        return None
    if answer.status != 200:
        raise FetchFailed(f"its answer has the status {answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=_Told)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FetchFailed(f"its answer is not what it should be: {error}"[:200]) from None


def _credentials(told: _Told | None, asked_at: float) -> Credentials:
    if told is None:
        raise Unauthorized("the API server does not know you")
    if not is_user_id(told.user):
        raise Unauthorized("the API server names a user that is none")
    if told.sid and not is_proof_id(told.sid):
        raise Unauthorized("the API server names a login that is none")
    return Credentials(
        told.user,
        "proxy",
        None if told.expires_in is None else asked_at + told.expires_in,
        asked_at,
        sid=told.sid,
        info=check_info(told.info, "the API server"),
        meta=told.meta,
    )
