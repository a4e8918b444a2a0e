"""The keys that an issuer publishes as a JSON Web Key Set (RFC 7517), fetched and kept.

They are fetched before they are needed, so that nobody waits for the issuer: once every `ttl`, and
beside that when a token names a key that is not known, but not more often than MIN_INTERVAL, and
for one address than ADDRESS_INTERVAL: tokens with invented names cost the issuer nothing, and keep
nobody else from a new key. While the issuer is away its last keys serve for STALE seconds.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import jwt
import msgspec

from sockets.auth.tokens import TokenKey, token_key
from sockets.base.http_client import FetchFailed, fetch, make_client
from sockets.base.rate import Buckets
from sockets.exceptions import TryAgainLater

logger = logging.getLogger(__name__)

TIMEOUT: Final = 5.0
MIN_INTERVAL: Final = 1.0
"""Seconds between two fetches that a token's unknown key brings about ..."""

ADDRESS_INTERVAL: Final = 10.0
"""... and between two of one address."""

MAX_ADDRESSES: Final = 10_000
"""Addresses whose fetches are known."""

RETRY: Final = 1.0
"""Seconds from a failed fetch to the next; doubled each time, up to `ttl`."""

STALE: Final = 24 * 3600.0
MAX_KEYS: Final = 100


class PublishedKeys:
    """Belongs to one event loop. `ttl`: seconds."""

    def __init__(
        self,
        url: str,
        *,
        ttl: float,
        client: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._ttl = ttl
        self._client = client or make_client({"Accept": "application/json"})
        self._clock = clock
        self._keys: tuple[TokenKey, ...] = ()
        self._fetched_at = -float("inf")  # successfully ...
        self._known_at = -float("inf")  # ... and when that had begun
        self._asked_at = -float("inf")
        self._failures = 0
        self._at_work: asyncio.Task[bool] | None = None
        self._addresses = Buckets(rate=1 / ADDRESS_INTERVAL, burst=1, most=MAX_ADDRESSES)

    async def run(self) -> None:
        """Fetch the keys before they are old, for ever."""
        while True:
            pause = self._ttl * random.uniform(0.9, 1.0)
            if not await self._refresh():
                pause = min(pause, RETRY * 2 ** min(self._failures - 1, 30))
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close the connections."""
        if self._at_work is not None:
            self._at_work.cancel()
        await self._client.aclose()

    async def keys(self, id: str, address: str = "") -> tuple[tuple[TokenKey, ...], bool]:
        """As of `tokens.KeySet`."""
        came_at = self._clock()
        if came_at - self._fetched_at > STALE:
            await self._ask(RETRY)
            if self._clock() - self._fetched_at > STALE:
                raise TryAgainLater("the keys of tokens cannot be fetched now")
        elif id and not self._knows(id) and self._may_look(address):
            await self._refresh()
        # What was asked for before this token came may not know what is new.
        return self._keys, not id or self._knows(id) or self._known_at >= came_at

    def _knows(self, id: str) -> bool:
        return any(key.id == id for key in self._keys)

    def _may_look(self, address: str) -> bool:
        if self._at_work is not None:
            return True  # who comes while a fetch runs waits for the same
        now = self._clock()
        return now - self._asked_at >= MIN_INTERVAL and not self._addresses.take(address, now)

    async def _ask(self, interval: float) -> None:
        """Fetch, unless somebody did a moment ago; who comes while a fetch runs waits for the same
        one."""
        if self._at_work is not None or self._clock() - self._asked_at >= interval:
            await self._refresh()

    async def _refresh(self) -> bool:
        if self._at_work is None:
            self._asked_at = self._clock()
            self._at_work = asyncio.ensure_future(self._fetch())
            self._at_work.add_done_callback(self._done)
        # A socket that goes away while it waits must not end the others' fetch.
        return await asyncio.shield(self._at_work)

    def _done(self, _: object) -> None:
        self._at_work = None

    async def _fetch(self) -> bool:
        began_at = self._clock()
        try:
            answer = await fetch(self._client, "GET", self._url, timeout=TIMEOUT)
            if answer.status != 200:
                raise FetchFailed(f"its answer has the status {answer.status}")
            keys = tuple(_read(answer.body))
        except (FetchFailed, ValueError) as error:
            self._failures += 1
            if self._failures == 1:
                logger.warning(
                    "JWT_JWKS_URL %s gives no keys: %s; %d known ones serve meanwhile",
                    self._url,
                    error,
                    len(self._keys),
                )
            return False
        if self._failures:
            logger.info("JWT_JWKS_URL gives keys again: %d", len(keys))
        self._failures = 0
        self._keys = keys
        self._known_at, self._fetched_at = began_at, self._clock()
        return True


def _read(body: bytes) -> Iterator[TokenKey]:
    """Return the keys of a set that can have signed tokens. Raises ValueError: none of them can."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("its answer is no JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("its answer is no JSON Web Key Set")
    found = []
    for entry in document["keys"][:MAX_KEYS]:
        try:
            found.append(_key(entry))
        except (ValueError, jwt.PyJWTError) as error:
            # One more that is meant for others must not end those that are good.
            logger.debug("a key of JWT_JWKS_URL is not used: %s", error)
    if not found:
        raise ValueError("no key of its answer is a public key for signatures")
    yield from found


def _key(entry: Any) -> TokenKey:
    """Return one key of the set. Raises ValueError and PyJWTError."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        raise ValueError("it is not for signatures")
    if entry.get("kty") not in ("RSA", "EC", "OKP"):
        raise ValueError("it is no public key")  # a secret that is published is none
    public = {name: entry[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in entry}
    id = entry.get("kid", "")
    key = token_key(jwt.PyJWK(public, _algorithm(entry)).key, id if isinstance(id, str) else "")
    if (only := entry.get("alg")) is None:
        return key
    if only not in key.algorithms:
        raise ValueError(f"its algorithm {str(only)[:20]!r} is not for such a key")
    return TokenKey(key.id, (only,), key.key)


def _algorithm(entry: dict[str, Any]) -> str | None:
    """Return the key's algorithm: PyJWT guesses one where none is named, and knows no Ed448."""
    return "EdDSA" if entry["kty"] == "OKP" else None
