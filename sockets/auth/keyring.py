"""The keys as a node knows them; those of the database are read again and again, off the loop.

A key that ends counts no more within KEYS_REFRESH seconds on every node. A key that is new is known
at once: a secret with an unknown id brings about one more reading, at most once a second, whoever
invents ids. While the database is away the keys that were known last serve.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from sockets.auth import key_rows
from sockets.auth.handshake import Handshake
from sockets.auth.keys import Key, Use, environment_key, hash_of, id_in
from sockets.auth.scopes import ADMIN
from sockets.base import audit
from sockets.base.client_address import neighbourhood
from sockets.base.database import tidy_connections
from sockets.base.rate import Buckets
from sockets.conf import Conf
from sockets.exceptions import Forbidden, TryAgainLater, Unauthorized
from sockets.types import Audit, Credentials

logger = logging.getLogger(__name__)

MIN_INTERVAL: Final = 1.0
"""Seconds between two readings that unknown ids bring about."""

TIMEOUT: Final = 5.0
"""Seconds that somebody waits for the database."""

NOTE_EVERY: Final = 60.0
"""Seconds between two notes that one key was used, in the database and in the audit log."""


FAILURE_RATE: Final = 5.0
FAILURE_BURST: Final = 20
"""Wrong keys of one address, a second and at once, that cost it no wait."""

MAX_BUCKETS: Final = 10_000


class KeyRing:
    """Belongs to one event loop. `load`, `note_used`: read and write the database, in a thread."""

    def __init__(
        self,
        conf: Conf,
        *,
        load: Callable[[], Mapping[str, Key]] = key_rows.load,
        note_used: Callable[[Mapping[str, float]], None] = key_rows.note_used,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._conf = conf
        self._on_read: Callable[[], None] = lambda: None
        self._load = load
        self._note_used = note_used
        self._clock = clock
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gateway-keys")
        self._keys: Mapping[str, Key] = {}
        self._read_at = -float("inf")  # begun, by the monotonic clock
        self._at_work: asyncio.Future[Mapping[str, Key]] | None = None
        self._away = False
        self._used: dict[str, float] = {}  # by id: not yet written
        self._noted: dict[str, float] = {}  # by id: written when
        self._told: dict[tuple[str, str, Use], float] = {}  # in the audit log
        self._lent: Key | None = None
        self._hurry = asyncio.Event()
        rate, burst = conf.api_rate, conf.api_burst
        self._rates = Buckets(rate=rate, burst=burst, most=MAX_BUCKETS) if rate else None
        self._failures = Buckets(rate=FAILURE_RATE, burst=FAILURE_BURST, most=MAX_BUCKETS)

    def lend(self, name: str, secret: str, scopes: frozenset[str]) -> None:
        """Have one key more, for as long as this node runs. It is for the HTTP API, without a
        rate."""
        self._lent = Key(name, scopes, hash=hash_of(secret))

    def listen(self, on_read: Callable[[], None]) -> None:
        """Have this called after each reading."""
        self._on_read = on_read

    async def run(self) -> None:
        """Read the keys again and again, for ever, so that ended ones are known."""
        while True:
            self._hurry.clear()
            await self._until_read()  # what has begun before may not know what has changed
            self._begin()
            await self._until_read()
            with suppress(TimeoutError):
                pause = self._conf.keys_refresh * random.uniform(0.9, 1.0)
                await asyncio.wait_for(self._hurry.wait(), pause)

    def hurry(self) -> None:
        """Read the keys now: something has changed."""
        self._hurry.set()

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def find(self, secret: str, use: Use) -> Key | None:
        """Return the live key with this secret. Raises TryAgainLater: the database would know
        it."""
        lent = self._lent
        if lent and use is Use.API and hmac.compare_digest(hash_of(secret), lent.hash):
            return lent
        known = environment_key(secret, use, self._conf)
        id = id_in(secret)
        if known is not None or id is None:
            return known
        if id not in self._keys:
            await self._read_anew()
            if self._away and id not in self._keys:
                raise TryAgainLater("keys cannot be read from the database now")
        key = self._keys.get(id)
        if key is None or not hmac.compare_digest(hash_of(secret), key.hash):
            return None
        return key if self._counts(key) else None

    def is_live(self, id: str) -> bool:
        """Whether the key with this id counts."""
        key = self._keys.get(id)
        return key is not None and self._counts(key)

    def used(self, key: Key, use: Use, address: str) -> None:
        """Note that a key was used."""
        now = self._clock()
        if key.id:
            self._used[key.id] = now
        place = key.name, key.id, use
        if now - self._told.get(place, -NOTE_EVERY) >= NOTE_EVERY:
            self._told[place] = now
            audit.record(
                Audit.KEY_USED, key=key.name, id=key.id, surface=use.value, address=address
            )

    def wait_of(self, key: Key) -> float:
        """Count a request of this key to the HTTP API. Returns 0 if it is within API_RATE, else the
        seconds until one is."""
        if self._rates is None or key is self._lent:
            return 0.0
        return self._rates.take((key.name, key.id), time.monotonic())

    def wait_after_failure(self, address: str) -> float:
        """Count a wrong key of this address. Returns 0, or seconds until it should come again."""
        return self._failures.take(neighbourhood(address), time.monotonic())

    def _counts(self, key: Key) -> bool:
        return key.expires_at is None or self._clock() < key.expires_at

    async def _read_anew(self) -> None:
        """Wait for a reading that began after this call; many callers share one."""
        came_at = time.monotonic()
        while self._read_at < came_at and not self._away:
            pause = self._read_at + MIN_INTERVAL - time.monotonic()
            if self._at_work is not None:
                await self._until_read()
            elif pause > 0:
                await asyncio.sleep(pause)
            else:
                self._begin()
        await self._until_read()

    def _begin(self) -> None:
        if self._at_work is None:
            self._read_at = time.monotonic()
            loop = asyncio.get_running_loop()
            self._at_work = loop.run_in_executor(self._executor, self._ask, self._due())
            self._at_work.add_done_callback(self._done)

    async def _until_read(self) -> None:
        """Wait for a reading. Whoever waits may go away, or have waited enough: the thread ends
        what it does."""
        if (work := self._at_work) is None:
            return
        await asyncio.wait([work], timeout=TIMEOUT)
        if not work.done():
            self._tell_away("it does not answer")

    def _due(self) -> dict[str, float]:
        """Return the uses that are due to be written."""
        now = self._clock()
        due = {
            id: at
            for id, at in self._used.items()
            if now - self._noted.get(id, -NOTE_EVERY) >= NOTE_EVERY
        }
        for id in due:
            del self._used[id]
            self._noted[id] = now
        return due

    def _ask(self, used: Mapping[str, float]) -> Mapping[str, Key]:
        tidy_connections()
        try:
            if used:
                self._note_used(used)
            return self._load()
        finally:
            tidy_connections()

    def _done(self, work: asyncio.Future[Mapping[str, Key]]) -> None:
        self._at_work = None
        if work.cancelled():
            return
        error = work.exception()
        if error is not None:
            self._tell_away(f"{type(error).__name__}: {error}")
        else:
            self._take(work.result())

    def _take(self, keys: Mapping[str, Key]) -> None:
        if self._away:
            self._away = False
            logger.info("the database's keys are known again: %d", len(keys))
        self._keys = keys
        for known in (self._used, self._noted):
            for id in known.keys() - keys.keys():
                del known[id]
        self._told = {
            place: at for place, at in self._told.items() if not place[1] or place[1] in keys
        }
        self._on_read()

    def _tell_away(self, why: str) -> None:
        if not self._away:
            self._away = True
            logger.warning(
                "keys cannot be read from the database: %s; %d known ones serve meanwhile",
                why.strip().partition("\n")[0],
                len(self._keys),
            )


async def authenticate_worker(handshake: Handshake, ring: KeyRing) -> Credentials:
    """Return the key of this worker. Raises Unauthorized or Forbidden.

    A worker is a program: a request with an Origin comes from a browser and is refused, so that no
    page can use what a browser happens to know (architecture.md, rule 9). Never a key in a query.
    """
    if handshake.header("origin") is not None:
        raise Forbidden("the worker socket is not for browsers")
    token = handshake.token(allow_query=False)
    if token is None:
        raise Unauthorized("no key: send Authorization: Bearer <worker key>")
    key = await ring.find(token, Use.WORKER)
    if key is None:
        raise Unauthorized("this key is not known, or has ended: see manage.py create_key")
    if key.scopes <= {ADMIN}:
        raise Forbidden("this key is for the HTTP API: it has no scope for workers")
    ring.used(key, Use.WORKER, handshake.address)
    return Credentials(key.name, "key", jti=key.id, scopes=key.scopes)
