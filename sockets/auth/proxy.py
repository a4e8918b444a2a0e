"""Authentication by proxy: the API server is asked who this is.

    GET API_SERVER_URL + AUTH_PROXY_PATH with the headers of AUTH_PROXY_HEADERS
    200 {"user": "42" or 42, "info"?, "meta"?, "sid"?, "expires_in"?: seconds}    it is 42
    401, 403, 204, {"user": null}, and what says that the headers are bad  it is nobody
    anything else, or nothing in time                                      1013, try again later

The same headers are not asked about again for a few seconds (many tabs open at once), those who
come while a question is on its way wait for its answer, and an API server that fails is left alone
for a while (`sockets/auth/breaker.py`). What it answers to one client is that client's alone.
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

from sockets.auth.breaker import Breaker
from sockets.auth.claims import check_info
from sockets.auth.cookies import REFUSED, cookie_counts
from sockets.auth.handshake import Handshake
from sockets.auth.turns import Turns
from sockets.base.clock import Now
from sockets.base.http_client import (
    Answer,
    FetchFailed,
    HungUp,
    NoAnswer,
    NoConnection,
    UnreadableAnswer,
    fetch,
    make_client,
)
from sockets.base.ids import is_proof_id, user_id_of
from sockets.conf import Conf
from sockets.exceptions import TryAgainLater, Unauthorized
from sockets.protocol.places import Places
from sockets.types import Credentials

logger = logging.getLogger(__name__)

MAX_ASKED: Final = 100
"""Questions on their way at once ..."""

MAX_WAITING: Final = 1_000
"""... and sockets that wait for them."""

ASKED_SHARE: Final = 25
WAITING_SHARE: Final = 250
"""What one address may have of these. The rest of its questions wait for their turn; sockets are
refused."""

MAX_KEPT: Final = 10_000

TELL_EVERY: Final = 3600.0
"""Seconds until the log says again that an answer of one kind is none."""

_NOBODY: Final = frozenset({204, 400, 401, 403, 413, 414, 431})
"""Statuses that mean nobody; a hostile header brings them about too."""

_FAILS: Final = frozenset({502, 503, 504})
"""What a proxy before the API server says when that is away; the others are answers."""

_AWAY: Final = "the API server does not say who you are; try again"


class _Identity(msgspec.Struct):
    """Who a client is: the body of a 200."""

    user: str | int | None
    info: Any = None
    meta: Any = None
    sid: str = ""
    expires_in: Annotated[float, msgspec.Meta(gt=0, le=10 * 365 * 86_400)] | None = None


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
        self._conf = conf
        self._now = now
        self._url = conf.proxy_url
        self._names = tuple(name.lower() for name in conf.auth_proxy_headers)
        self._timeout = conf.auth_proxy_timeout
        self._ttl = conf.auth_proxy_cache
        self._client = client or make_client({"Accept": "application/json"}, connections=MAX_ASKED)
        self._clock = clock
        self._breaker = Breaker(clock)
        self._salt = secrets.token_bytes(16)
        self._kept: OrderedDict[bytes, tuple[float, Credentials]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Credentials]] = {}
        self._turns = Turns(MAX_ASKED, ASKED_SHARE)
        self._waiting = Places(MAX_WAITING, WAITING_SHARE)
        self._told: dict[str, float] = {}  # statuses and the like, and when they were logged

    async def close(self) -> None:
        """Close the connections."""
        for task in self._asked.values():
            task.cancel()
        await self._client.aclose()

    async def ask(self, handshake: Handshake, token: str | None) -> Credentials | None:
        """Return who this is; None: the handshake has none of the headers. Raises Unauthorized,
        TryAgainLater."""
        headers = self._shown(handshake, token)
        if not headers:
            return None
        key = self._key(headers)
        at, kept = self._kept.get(key, (0.0, None))
        if kept is not None and self._clock() - at < self._ttl:
            return kept
        with self._waiting.hold(handshake.neighbourhood, _AWAY):
            if (task := self._asked.get(key)) is None:
                task = asyncio.ensure_future(self._ask(key, headers, handshake))
                self._asked[key] = task
                task.add_done_callback(lambda task: self._done(key, task))
            # A socket that goes away while it waits must not end the others' question.
            return await asyncio.shield(task)

    def _done(self, key: bytes, task: asyncio.Task[Credentials]) -> None:
        del self._asked[key]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    def _shown(self, handshake: Handshake, token: str | None) -> dict[str, str]:
        """Return the headers that the API server may see of this handshake. Raises Unauthorized."""
        given = {name: handshake.header(name) for name in self._names}
        headers = {name: value for name, value in given.items() if value is not None}
        if token is not None and "authorization" in self._names:
            headers["authorization"] = f"Bearer {token}"
        if "cookie" in headers and not cookie_counts(handshake.scope, self._conf):
            del headers["cookie"]
            if not headers:
                raise Unauthorized(REFUSED)
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise Unauthorized("credentials have characters that no header may have")
        return headers

    def _key(self, headers: Mapping[str, str]) -> bytes:
        """Return a hash of the headers: what is kept for a while must not be anybody's cookie."""
        text = "\0".join(f"{name}\0{value}" for name, value in sorted(headers.items()))
        return hashlib.blake2b(text.encode(), key=self._salt, digest_size=32).digest()

    async def _ask(
        self, key: bytes, headers: Mapping[str, str], handshake: Handshake
    ) -> Credentials:
        try:
            async with self._turns.turn(handshake.neighbourhood, self._timeout):
                issued_at = None if self._now is None else await self._now()
                asked_at = time.time()
                identity = await self._ask_about(headers, handshake)
        except TimeoutError:
            raise TryAgainLater(_AWAY) from None  # nobody was asked
        credentials = _credentials(identity, asked_at)
        if issued_at is not None:
            credentials = replace(credentials, issued_at=issued_at)
        self._keep(key, credentials)
        return credentials

    async def _ask_about(
        self, headers: Mapping[str, str], handshake: Handshake
    ) -> _Identity | None:
        """Ask the API server. None: it is nobody. Raises TryAgainLater."""
        address = handshake.neighbourhood
        if not self._breaker.may_ask(address):
            raise TryAgainLater(_AWAY)
        shown = {**headers, "x-forwarded-for": handshake.host}
        try:
            answer = await fetch(
                self._client, "GET", self._url, timeout=self._timeout, headers=shown
            )
        except NoConnection as error:
            self._note(self._breaker.failed(address), str(error))
        except NoAnswer as error:
            self._note(self._breaker.was_silent(address), str(error))
            self._tell("silence", str(error))
        except HungUp as error:
            self._tell("hang-up", str(error))  # as an answer that is none: it trips nothing
        except UnreadableAnswer as error:
            self._note_answer()
            self._tell("size", str(error))
        except FetchFailed as error:
            self._tell("question", str(error))  # it was never asked
        else:
            return self._read(answer, address)
        raise TryAgainLater(_AWAY)

    def _read(self, answer: Answer, address: str) -> _Identity | None:
        """Read an answer. None: it is nobody. Raises TryAgainLater: this says nothing of who it
        is."""
        status = answer.status
        if status in _FAILS:
            self._note(self._breaker.failed(address), f"its answer has the status {status}")
            raise TryAgainLater(_AWAY)
        self._note_answer()
        if status in _NOBODY:
            return None
        if status != 200:
            self._tell(str(status), f"an answer with the status {status}")
            raise TryAgainLater(_AWAY)
        try:
            return msgspec.json.decode(answer.body, type=_Identity)
        except (ValueError, RecursionError) as error:  # DecodeError, or a text that is no UTF-8
            self._tell("form", f"an answer that is not what it should be: {error}"[:200])
            raise TryAgainLater(_AWAY) from None

    def _note(self, is_left_alone: bool, why: str) -> None:
        if is_left_alone:
            logger.warning(
                "the API server does not say who clients are: %s; it is left alone for a "
                "moment, check API_SERVER_URL and AUTH_PROXY_PATH",
                why,
            )

    def _note_answer(self) -> None:
        if self._breaker.answered():
            logger.info("the API server says again who clients are")

    def _tell(self, kind: str, what: str) -> None:
        """Log this once for each status and the like: a client may bring it about as often as it
        wants."""
        now = self._clock()
        if now - self._told.get(kind, -float("inf")) >= TELL_EVERY:
            self._told[kind] = now
            logger.warning(
                "the API server does not say who a client is: %s; the client is told to try "
                "again (1013), check AUTH_PROXY_PATH if it is not one alone",
                what,
            )

    def _keep(self, key: bytes, credentials: Credentials) -> None:
        if self._ttl <= 0:
            return
        now = self._clock()
        self._kept[key] = (now, credentials)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT or now - next(iter(self._kept.values()))[0] >= self._ttl:
            self._kept.popitem(last=False)


def _credentials(identity: _Identity | None, asked_at: float) -> Credentials:
    if identity is None or identity.user is None:
        raise Unauthorized("the API server does not know you")
    user = user_id_of(identity.user)
    if user is None:
        raise Unauthorized("the API server names a user that is none")
    if identity.sid and not is_proof_id(identity.sid):
        raise Unauthorized("the API server names a login that is none")
    return Credentials(
        user,
        "proxy",
        None if identity.expires_in is None else asked_at + identity.expires_in,
        asked_at,
        sid=identity.sid,
        info=check_info(identity.info, "the API server"),
        meta=identity.meta,
    )
