"""Authentication by the API server's Django session: its cookie, its database, its rules.

The gateway reads the API server's tables, and writes none of them. A session counts as Django
itself would have it: signed with the API server's SECRET_KEY, not over, of an active user, and made
with the password that the user has now. The admin's cookie is another one and never looked at.

Which pages may use the cookie says `sockets/auth/cookies.py`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.contrib.sessions.serializers import JSONSerializer
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import DatabaseError, close_old_connections
from django.http.cookie import parse_cookie
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from sockets.auth.cookies import REFUSED, cookie_counts
from sockets.auth.handshake import Handshake
from sockets.base.clock import Now
from sockets.conf import Conf
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

_KEY: Final = re.compile(r"[a-z0-9]{8,40}")
_SALT: Final = "django.contrib.sessions.SessionStore"
_HASH_SALT: Final = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
_UNKNOWN: Final = "the session is not known, or over: sign in again"
_AWAY: Final = "the database of sessions does not answer; try again"


def login_id(session_key: str, secret: str | None = None) -> str:
    """Return the `sid` of a Django session, for tokens: a hash of the key, which is a secret.

    `secret`: the SECRET_KEY of the project that has the session; None: this one's.
    """
    made = salted_hmac("sockets.login_id", session_key, secret=secret, algorithm="sha256")
    return made.hexdigest()[:32]


class DjangoSessions:
    """Asks the API server's database. Belongs to one event loop; the questions run in threads of
    their own.

    `now`: dates its answers, to be compared with revocations; None: this machine's clock does.
    """

    def __init__(self, conf: Conf, now: Now | None = None) -> None:
        self._conf = conf
        self._now = now
        self._cookie = conf.session_cookie
        self._database = conf.session_database
        self._secret = conf.session_secret or settings.SECRET_KEY
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="gateway-session")
        self._waiting = Places(MAX_WAITING, WAITING_SHARE)

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def ask(self, handshake: Handshake) -> Credentials | None:
        """Return whose session this is; None: there is no cookie. Raises Unauthorized,
        TryAgainLater."""
        key = parse_cookie(handshake.headers.get("cookie", "")).get(self._cookie)
        if not key:
            return None
        if not cookie_counts(handshake.scope, self._conf):
            raise Unauthorized(REFUSED)
        if _KEY.fullmatch(key) is None:
            raise Unauthorized(_UNKNOWN)
        issued_at = time.time() if self._now is None else await self._now()
        address = handshake.neighbourhood
        if not self._waiting.take(address):
            raise TryAgainLater(_AWAY)
        work = asyncio.get_running_loop().run_in_executor(self._executor, self._find, key)
        work.add_done_callback(lambda work: self._done(address, work))
        try:
            async with asyncio.timeout(TIMEOUT):
                return replace(await asyncio.shield(work), issued_at=issued_at)
        except TimeoutError:
            raise TryAgainLater(_AWAY) from None

    def _done(self, address: str, work: asyncio.Future[Credentials]) -> None:
        self._waiting.give_back(address)  # and not before: the thread is taken until then
        if not work.cancelled():
            work.exception()  # whoever asked may be gone

    def _find(self, key: str) -> Credentials:
        close_old_connections()
        try:
            return self._read(key)
        except DatabaseError as error:
            logger.warning("who a client is cannot be read from its session: %s", error)
            raise TryAgainLater(_AWAY) from None
        finally:
            close_old_connections()

    def _read(self, key: str) -> Credentials:
        rows = Session.objects.using(self._database).filter(session_key=key)
        row = rows.filter(expire_date__gt=timezone.now()).first()
        if row is None:
            raise Unauthorized(_UNKNOWN)
        user = self._user_of(self._decoded(row.session_data))
        return Credentials(
            str(user.pk),
            "session",
            row.expire_date.timestamp(),
            sid=login_id(key, self._secret),
        )

    def _decoded(self, data: str) -> dict[str, Any]:
        try:
            found = signing.loads(data, key=self._secret, salt=_SALT, serializer=JSONSerializer)
        except Exception:  # as Django does: whatever is in there, it is nobody's session
            raise Unauthorized(_UNKNOWN) from None
        if not isinstance(found, dict) or not {SESSION_KEY, BACKEND_SESSION_KEY} <= found.keys():
            raise Unauthorized("nobody is signed in with this session")
        return found

    def _user_of(self, session: dict[str, Any]) -> Any:
        model: Any = get_user_model()
        try:
            id = model._meta.pk.to_python(session[SESSION_KEY])
            user = model._base_manager.using(self._database).get(pk=id)
        except (model.DoesNotExist, ValidationError, ValueError, TypeError):
            raise Unauthorized(_UNKNOWN) from None
        if not getattr(user, "is_active", True):
            raise Unauthorized("this account is not active")
        made = salted_hmac(_HASH_SALT, user.password, secret=self._secret, algorithm="sha256")
        if not constant_time_compare(str(session.get(HASH_SESSION_KEY)), made.hexdigest()):
            raise Unauthorized(_UNKNOWN)  # the password has been changed since
        return user
