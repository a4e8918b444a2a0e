"""Authentication by a Django session: its cookie is read, off the event loop, in one of two ways.

    project_sessions.py     this project's own, as its own Django judges them
    session_tables.py       another project's, out of its database

Which pages may use the cookie says `sockets/auth/cookies.py`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from django.db import Error
from django.http.cookie import parse_cookie

from sockets.auth.cookies import REFUSED, cookie_counts
from sockets.auth.handshake import Handshake
from sockets.auth.session_reader import (
    AWAY,
    UNKNOWN,
    UNREADABLE,
    SessionReader,
    Unreadable,
    missing_tables,
    unreadable_because,
    unusable_sessions,
)
from sockets.base.clock import Now
from sockets.base.database import tidy_connections
from sockets.base.rate import Seldom
from sockets.conf import Conf, Fault, WrongSettings
from sockets.exceptions import TryAgainLater, Unauthorized
from sockets.protocol.places import Places
from sockets.types import Credentials

logger = logging.getLogger(__name__)

THREADS: Final = 4
MAX_WAITING: Final = 200
WAITING_SHARE: Final = 50
"""Sockets that wait for the database at once, and those of one address among them."""

TIMEOUT: Final = 5.0
"""Seconds that the database gets for one of them."""

TELL_EVERY: Final = 60.0
"""Seconds until the log says again that sessions cannot be read."""


class DjangoSessions:
    """Belongs to one event loop; the questions run in threads of their own. Raises WrongSettings.

    `now`: dates its answers, to be compared with revocations; None: this machine's clock does.
    """

    def __init__(self, conf: Conf, now: Now | None = None) -> None:
        if faults := tuple(unusable_sessions(conf)):
            raise WrongSettings(*faults)
        self._conf = conf
        self._now = now
        self._reader = _reader(conf)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="gateway-session")
        self._waiting = Places(MAX_WAITING, WAITING_SHARE)
        self._complaints, self._absences = Seldom(TELL_EVERY), Seldom(TELL_EVERY)
        self._failures = Seldom(TELL_EVERY)
        self._closed = False

    def close(self) -> None:
        """End the threads."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def check(self) -> None:
        """Raise WrongSettings where another project's tables are to be read, and its database
        answers and has not got them."""
        if self._conf.sessions != "tables":
            return
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(TIMEOUT):
                missing = await loop.run_in_executor(self._executor, self._missing)
        except (Error, TimeoutError) as error:
            why = str(error) or "it is too slow"
            logger.warning("starting without the database of sessions: %s", why)
            return
        if missing:
            text = (
                f"AUTH: session reads the tables of sessions and users, and the database has no "
                f"{' and no '.join(missing)} (SESSION_DATABASE_URL names it): sessions that are "
                "kept elsewhere and users of another model cannot be read there; use AUTH=jwt or "
                "AUTH=proxy"
            )
            raise WrongSettings(Fault(("AUTH", "SESSION_DATABASE_URL"), text))

    def key_of(self, handshake: Handshake) -> str | None:
        """Return the session's key that came with a handshake; None: there is no such cookie."""
        return parse_cookie(handshake.header("cookie") or "").get(self._reader.cookie) or None

    async def ask(self, handshake: Handshake) -> Credentials | None:
        """Return whose session this is; None: there is no cookie. Raises Unauthorized,
        TryAgainLater."""
        key = self.key_of(handshake)
        if key is None:
            return None
        if not cookie_counts(handshake.scope, self._conf):
            raise Unauthorized(REFUSED)
        if not self._reader.is_key(key):
            raise Unauthorized(UNKNOWN)
        issued_at = time.time() if self._now is None else await self._now()
        address = handshake.neighbourhood
        if not self._waiting.take(address):
            raise TryAgainLater(AWAY)
        work = asyncio.get_running_loop().run_in_executor(self._executor, self._find, key)
        work.add_done_callback(lambda work: self._done(address, work))
        try:
            async with asyncio.timeout(TIMEOUT):
                return replace(await asyncio.shield(work), issued_at=issued_at)
        except TimeoutError:
            raise TryAgainLater(AWAY) from None

    async def owners(self, keys: Sequence[str]) -> dict[str, str | None]:
        """Return whose sessions these are now, one after the other in one thread; None: nobody's.
        Those that cannot be read now are left out; so are those about which the project's own code
        raises, and a site that is away ends the turn."""
        if self._closed:
            return {}
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._owners, keys)

    def _done(self, address: str, work: asyncio.Future[Credentials]) -> None:
        self._waiting.give_back(address)  # and not before: the thread is taken until then
        if not work.cancelled():
            work.exception()  # whoever asked may be gone

    def _find(self, key: str) -> Credentials:
        tidy_connections()
        try:
            return self._reader.read(key)
        except Error as error:
            raise self._refusal(error) from None
        finally:
            tidy_connections()

    def _refusal(self, error: Error) -> Unreadable | TryAgainLater:
        why = unreadable_because(error, self._reader.tables())
        if why is None:
            if (more := self._absences.passes(time.monotonic())) is not None:
                text = "who a client is cannot be read from its session: %s%s"
                logger.warning(text, error, _left_out(more))
            return TryAgainLater(AWAY)
        if (more := self._complaints.passes(time.monotonic())) is not None:
            text = "no client's session can be read: %s; mend it, or use AUTH=jwt or AUTH=proxy%s"
            logger.error(text, why, _left_out(more))
        return Unreadable(UNREADABLE)

    def _owners(self, keys: Sequence[str]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for key in keys:
            try:
                found[key] = self._find(key).subject
            except (Unreadable, TryAgainLater):
                break
            except Unauthorized:
                found[key] = None
            except Exception:  # of a backend, or an engine: the next user may be another's
                if self._failures.passes(time.monotonic()) is not None:
                    logger.exception("whether a session still counts could not be asked")
        return found

    def _missing(self) -> list[str]:
        tidy_connections()
        try:
            return missing_tables(self._reader.tables())
        finally:
            tidy_connections()


def _left_out(more: int) -> str:
    return f" ({more} such lines were left out)" if more else ""


def _reader(conf: Conf) -> SessionReader:
    if conf.sessions == "tables":
        # Here: a project without django.contrib.sessions has no models for it.
        from sockets.auth.session_tables import SessionTables

        return SessionTables(conf)
    from sockets.auth.project_sessions import ProjectSessions

    return ProjectSessions(conf)
