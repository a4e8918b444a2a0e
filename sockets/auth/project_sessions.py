"""This project's own sessions, judged by its own Django (`sessions` = "project", the default).

Whose a session is says `django.contrib.auth.get_user`: whatever the SESSION_ENGINE, the user model
and the authentication backends are, and under SECRET_KEY_FALLBACKS too. It may want to write: a
session under an old key gets a new one, one that does not count is deleted, and an engine may tidy
up, or fill its cache, when it loads one. A socket cannot set the new cookie, so nothing of it is
written here: the store is loaded with its hands tied, and `get_user` gets a copy of what it held.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    SESSION_KEY,
    aget_user,
    get_user,
    get_user_model,
    load_backend,
)
from django.contrib.auth.backends import BaseBackend
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ValidationError
from django.db import router
from django.http import HttpRequest

from sockets.auth.logins import sid_of
from sockets.auth.session_reader import AWAY, NOBODY, UNKNOWN, Table
from sockets.conf import SESSION_COOKIE, Conf
from sockets.exceptions import TryAgainLater, Unauthorized
from sockets.types import Credentials

_WRITES: Final = ("create", "save", "delete", "flush", "cycle_key")
"""What an engine may call of itself when it loads a session."""

_CACHE_WRITES: Final = frozenset(
    {"add", "clear", "decr", "decr_version", "delete", "delete_many", "get_or_set", "incr"}
    | {"incr_version", "set", "set_many", "touch"}
)


class ProjectSessions:
    """Reads the sessions of this project. Any thread that runs no event loop."""

    def __init__(self, conf: Conf) -> None:
        named = conf.session_cookie
        self.cookie = settings.SESSION_COOKIE_NAME if named == SESSION_COOKIE else named
        self._store: Any = import_module(settings.SESSION_ENGINE).SessionStore

    def is_key(self, value: str) -> bool:
        # As Django itself has it: an engine may use any characters. But PostgreSQL knows no NUL.
        return len(value) >= 8 and value.isprintable()

    def tables(self) -> list[Table]:
        models = [get_user_model()]
        if issubclass(self._store, DatabaseStore):
            models.append(self._store.get_model_class())
        return [(model, router.db_for_read(model)) for model in models]

    def read(self, key: str) -> Credentials:
        store, cache = self._opened(key)
        held = dict(store.items())
        if not held:
            if cache is not None and cache.failed and not isinstance(store, DatabaseStore):
                raise TryAgainLater(AWAY)
            raise Unauthorized(UNKNOWN)
        user = _user_of(_Copy(held))
        if not user.is_authenticated:
            raise Unauthorized(NOBODY)
        end, is_certain = self._end_of(store)
        sid = sid_of(held, key)
        return Credentials(str(user.pk), "session", end, sid=sid, recheck=not is_certain)

    def _opened(self, key: str) -> tuple[Any, _ReadCache | None]:
        """Return the engine's store of a key, which can load and not write; and its cache, if it
        has one."""
        store = self._store(key)
        for name in _WRITES:
            setattr(store, name, _nothing)
        cache = getattr(store, "_cache", None)
        if not isinstance(cache, BaseCache):
            return store, None
        store._cache = read = _ReadCache(cache)
        return store, read

    def _end_of(self, store: Any) -> tuple[float, bool]:
        """Return when a session ends, and whether its engine has written that down. Raises
        Unauthorized."""
        if isinstance(store, DatabaseStore):
            rows = store.model.objects.filter(session_key=store.session_key)
            at = rows.values_list("expire_date", flat=True).first()
            if at is not None:
                return at.timestamp(), True
        age = store.get_expiry_age()
        if age <= 0:
            raise Unauthorized(UNKNOWN)
        return time.time() + age, False


class _Copy(SessionBase):
    """What a session held, in memory alone: `get_user` may do with it what it does."""

    def __init__(self, held: dict[str, Any]) -> None:
        super().__init__()
        self._session_cache = held

    def exists(self, session_key: str) -> bool:
        return False

    def create(self) -> None:
        pass

    def save(self, must_create: bool = False) -> None:
        pass

    def delete(self, session_key: str | None = None) -> None:
        pass

    def load(self) -> dict[str, Any]:
        return {}


class _ReadCache:
    """A cache that can be read and not written. `failed`: it could not be read."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return _nothing if name in _CACHE_WRITES else getattr(self._cache, name)

    def __contains__(self, key: str) -> bool:
        return key in self._cache

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Read as ever. The engines take an error for a session that is not there."""
        try:
            return self._cache.get(*args, **kwargs)
        except (ValueError, Warning):  # no key of a cache
            raise
        except Exception:
            self.failed = True
            raise


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Stand for what would write."""


def _user_of(session: SessionBase) -> Any:
    """Return the user, or Django's AnonymousUser. Raises Unauthorized for the id of no user of this
    model."""
    try:
        if (id := session.get(SESSION_KEY)) is not None:
            get_user_model()._meta.pk.to_python(id)
    except (ValidationError, ValueError, TypeError):
        raise Unauthorized(UNKNOWN) from None
    request = HttpRequest()
    request.session = session
    if _is_async(session.get(BACKEND_SESSION_KEY)):
        return async_to_sync(aget_user)(request)
    return get_user(request)


def _is_async(path: Any) -> bool:
    """Whether the backend of this name finds users in async code alone, so that only
    `request.auser()` knows them."""
    if path not in settings.AUTHENTICATION_BACKENDS:
        return False
    backend: Any = type(load_backend(path))
    own = {name: getattr(backend, name, None) for name in ("get_user", "aget_user")}
    return own["get_user"] in (None, BaseBackend.get_user) and own["aget_user"] not in (
        None,
        BaseBackend.aget_user,
    )
