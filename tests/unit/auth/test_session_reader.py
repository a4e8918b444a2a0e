"""Why sessions could not be read: a table that is not there, or a database that is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DatabaseError, OperationalError, ProgrammingError, connection
from django.db.backends.base.introspection import BaseDatabaseIntrospection

from sockets.auth.django_sessions import DjangoSessions
from sockets.auth.session_reader import missing_tables, unreadable_because, unusable_sessions
from sockets.checks import check_safety
from sockets.conf import Conf, WrongSettings
from tests.support.doubles import drop_table, make_table

pytestmark = pytest.mark.django_db(transaction=True)
TABLES = [(Session, "default"), (User, "default")]


@pytest.fixture
def no_sessions() -> Iterator[None]:
    drop_table(Session)
    yield
    make_table(Session)


def test_a_table_is_there_or_it_is_missing(no_sessions: None) -> None:
    """Rule 9."""
    assert missing_tables(TABLES) == ["django_session"]
    busy = OperationalError("no such table: django_session")
    assert unreadable_because(busy, TABLES) == "there is no table django_session"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 'k' AS session_key, '' AS session_data, '2999-01-01' AS expire_date",
        "SELECT * FROM what_this_role_may_not_read",
    ],
)
def test_a_view_is_a_table_too(no_sessions: None, query: str) -> None:
    """Rule 9: also one that cannot be read, which is another fault."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE VIEW django_session AS {query}")
        try:
            assert missing_tables(TABLES) == []
        finally:
            cursor.execute("DROP VIEW django_session")


def test_what_will_mend_by_itself_and_what_will_not() -> None:
    assert unreadable_because(OperationalError("database is locked"), TABLES) is None
    denied = ProgrammingError("permission denied for table auth_user")
    assert unreadable_because(denied, TABLES) == str(denied)


def test_a_database_that_is_away_lacks_nothing(
    no_sessions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 9: 1013."""

    def away(*_: object, **__: object) -> list[str]:
        raise OperationalError("no server")

    monkeypatch.setattr(BaseDatabaseIntrospection, "table_names", away)
    with pytest.raises(DatabaseError, match="no server"):
        missing_tables(TABLES)
    assert unreadable_because(ProgrammingError("x"), TABLES) is None


ENGINES = "django.contrib.sessions.backends."


@pytest.mark.parametrize(
    ("given", "project", "without", "fault"),
    [
        ({"auth": ("jwt",)}, {"SESSION_ENGINE": "no.such"}, "django.contrib.auth", None),
        ({}, {}, "", None),
        ({}, {"SESSION_ENGINE": f"{ENGINES}signed_cookies"}, "django.contrib.sessions", None),
        ({}, {}, "django.contrib.auth", "AUTH: .*django.contrib.auth in INSTALLED_APPS"),
        ({}, {"SESSION_ENGINE": "no.such"}, "", "AUTH: .*SESSION_ENGINE 'no.such'.* No module"),
        ({}, {"SESSION_ENGINE": "json"}, "", "AUTH: .*SESSION_ENGINE 'json'"),
        (
            {},
            {"SESSION_ENGINE": f"{ENGINES}file", "SESSION_FILE_PATH": "/no/such"},
            "",
            "AUTH: .*SESSION_FILE_PATH",
        ),
        (
            {},
            {"SESSION_ENGINE": f"{ENGINES}cache", "SESSION_CACHE_ALIAS": "none"},
            "",
            "AUTH: .*cache",
        ),
        ({"sessions": "tables"}, {"SESSION_ENGINE": "no.such"}, "", None),
        ({"sessions": "tables"}, {}, "django.contrib.sessions", "AUTH: .*contrib.sessions in"),
        ({"sessions": "tables", "session_database": "no"}, {}, "", "'no', which DATABASES"),
    ],
    ids=str,
)
def test_settings_with_which_none_can_be_read(
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    project: dict[str, Any],
    without: str,
    fault: str | None,
) -> None:
    """Rules 6 and 9: the start stops with a line, and `check` says it; each socket would fail."""
    for name, value in project.items():
        setattr(settings, name, value)
    settings.GATEWAY = {"auth": ("session",), "jwt_secret": "s3cr3t-of-a-test-" * 2, **given}
    installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda app: app != without and installed(app))
    conf = Conf(**({"auth": ("session",)} | given))
    if fault is None:
        assert not list(unusable_sessions(conf)) and not check_safety()
        return
    with pytest.raises(WrongSettings, match=fault):
        DjangoSessions(conf)
    [warning] = check_safety()
    assert warning.id == "gateway.W005"
