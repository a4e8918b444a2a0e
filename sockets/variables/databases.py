"""Databases out of URLs, with the options that the gateway needs of every database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ

from sockets.variables.faults import Wrong

_REMEDY = "write postgres://USER:PASSWORD@HOST:5432/NAME or sqlite:////absolute/path"


def parse_database(name: str, text: str) -> dict[str, Any]:
    """Read a sqlite: or postgres: URL. Returns Django's description of the database."""
    scheme = text.partition(":")[0].lower()
    if scheme not in ("sqlite", "postgres", "postgresql"):
        raise Wrong(name, "it names neither PostgreSQL nor SQLite", _REMEDY)
    try:
        found: dict[str, Any] = environ.Env.db_url_config(text)  # type: ignore[no-untyped-call]
    except ValueError:  # a port that is no number; the text of the error may hold the password
        raise Wrong(name, "it is not a proper URL", _REMEDY) from None
    if found["NAME"] in ("", ":memory:"):
        # Every thread would have a database of its own.
        raise Wrong(name, "it names no database", _REMEDY)
    return _postgres(found) if scheme.startswith("postgres") else found | sqlite(found["NAME"])


def sqlite(file: str) -> dict[str, Any]:
    """Return Django's description of an SQLite file."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": file,
        # Without these, concurrent writers see "database is locked".
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds
        },
        # A file, because threads that share an in-memory database do not wait for each other's
        # locks.
        "TEST": {"NAME": str(Path(file).with_name("test.sqlite3"))},
    }


def is_sqlite(database: dict[str, Any]) -> bool:
    """Whether this description is of an SQLite file, whose folder has to be there."""
    return str(database["ENGINE"]).endswith("sqlite3")


def _postgres(found: dict[str, Any]) -> dict[str, Any]:
    # Without these a server whose machine is gone would be waited for, for minutes or for ever.
    # What the URL says (?connect_timeout=9) wins. No statement_timeout: closing all that a dead
    # node left open may take long, and PgBouncer refuses the option.
    options = {
        "connect_timeout": 5,  # seconds
        "keepalives_idle": 10,  # seconds of silence until it is asked whether it is there,
        "keepalives_interval": 5,  # seconds between two questions,
        "keepalives_count": 3,  # unanswered ones until the connection is given up
        "tcp_user_timeout": 15_000,  # milliseconds that what was sent may wait for its receipt
    }
    return found | {
        "CONN_MAX_AGE": 60,  # seconds
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options | found.get("OPTIONS", {}),
    }
