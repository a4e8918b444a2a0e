"""What reads Django's sessions, and what is wrong where it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Final, Protocol, TypeAlias

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, ProgrammingError, connections
from django.db.models import Model

from sockets.conf import Conf, Fault
from sockets.exceptions import Unauthorized
from sockets.types import Credentials

UNKNOWN: Final = "the session is not known, or over: sign in again"
NOBODY: Final = "nobody is signed in with this session"
UNREADABLE: Final = "sessions cannot be read here: use a token"
AWAY: Final = "what keeps the sessions does not answer; try again"

Table: TypeAlias = tuple[type[Model], str]
"""A model, and the alias of the database that it is read from."""


class Unreadable(Unauthorized):
    """Whose session it is cannot be read, and it will not mend by itself."""


class SessionReader(Protocol):
    """One way of reading sessions. `cookie`: the name of the cookie that has the key."""

    cookie: str

    def is_key(self, value: str) -> bool:
        """Whether this can be the key of a session at all."""

    def read(self, key: str) -> Credentials:
        """Return whose session it is; blocks. Raises Unauthorized, TryAgainLater, and
        django.db.Error."""

    def tables(self) -> list[Table]:
        """Return what is read of databases."""


def unusable_sessions(conf: Conf) -> Iterator[Fault]:
    """Yield why sessions cannot be read with the settings of this project; no database is asked."""
    if "session" not in conf.auth:
        return
    app = "django.contrib.auth"
    if not apps.is_installed(app):
        text = f"AUTH: session needs {app} in INSTALLED_APPS; put it there, or use AUTH=jwt"
        yield Fault(("AUTH",), text)
    elif conf.sessions == "project":
        yield from _unusable_engine()
    elif conf.session_database not in connections:
        text = (
            f"GATEWAY: session_database is {conf.session_database!r}, which DATABASES does not "
            "have; name one that it has"
        )
        yield Fault(("SESSION_DATABASE_URL",), text)
    elif not apps.is_installed(app := "django.contrib.sessions"):
        text = f"AUTH: session needs {app} in INSTALLED_APPS to read tables; put it there"
        yield Fault(("AUTH",), text)


def _unusable_engine() -> Iterator[Fault]:
    engine = settings.SESSION_ENGINE
    try:
        store = import_module(engine).SessionStore("x" * 32)
        if hasattr(store, "get_model_class"):
            store.get_model_class()
    except (ImportError, AttributeError, ImproperlyConfigured, RuntimeError) as error:
        text = (
            f"AUTH: session goes by SESSION_ENGINE {engine!r}, which cannot be used here: {error}"
        )
        yield Fault(("AUTH",), text)


def missing_tables(tables: Iterable[Table]) -> list[str]:
    """Return the names of the tables that are not there. Raises django.db.Error where a database
    does not answer."""
    missing = []
    for model, alias in tables:
        try:
            model._base_manager.using(alias).order_by().values_list("pk").first()
        except Error:
            connection = connections[alias]
            name = connection.introspection.identifier_converter(model._meta.db_table)
            if name not in connection.introspection.table_names(include_views=True):
                missing.append(model._meta.db_table)
    return missing


def unreadable_because(error: Error, tables: Iterable[Table]) -> str | None:
    """Return what has to be mended, after reading failed; None: the database is away, or busy."""
    try:
        missing = missing_tables(tables)
    except Error:
        return None
    if missing:
        return f"there is no table {' and no table '.join(missing)}"
    return str(error) if isinstance(error, ProgrammingError) else None
