"""Which of our migrations a database lacks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import Error, connections
from pytest_django import DjangoDbBlocker, Settings

from sockets.management.migrated import databases, unapplied

OURS = ["0001_initial", "0002_access_keys", "0003_operations_room"]


class Router:
    """Gives our models a database of their own."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "live" if model._meta.app_label == "sockets" else None


@pytest.fixture
def live(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Path]:
    """The file of a database beside the default one, for a moment."""
    file = tmp_path / "live.sqlite3"
    connections.settings["live"] = connections.settings["default"] | {"NAME": str(file)}
    with django_db_blocker.unblock():
        yield file
        connections["live"].close()
    del connections["live"]
    del connections.settings["live"]


def rows(file: Path, *names: str, app: str = "sockets") -> None:
    """Write to django_migrations that these have been applied."""
    with sqlite3.connect(file) as database:
        database.execute(
            "create table if not exists django_migrations "
            "(id integer primary key, app text, name text, applied text)"
        )
        for name in names:
            database.execute(
                "insert into django_migrations (app, name, applied) values (?, ?, '2026-01-01')",
                (app, name),
            )
    database.close()


class TestUnapplied:
    def test_all_in_an_empty_database(self, live: Path) -> None:
        assert unapplied("live") == OURS

    def test_the_newer_ones_where_the_database_is_older(self, live: Path) -> None:
        """Rule 14."""
        rows(live, "0001_initial")
        assert unapplied("live") == OURS[1:]

    def test_none_where_it_is_newer(self, live: Path) -> None:
        """Rule 14: another node of the next version has migrated it."""
        rows(live, *OURS, "0003_of_the_next_version")
        assert unapplied("live") == []

    def test_those_of_other_apps_are_none_of_ours(self, live: Path) -> None:
        """Rule 14."""
        rows(live, *OURS, app="shop")
        assert unapplied("live") == OURS

    def test_none_where_the_project_makes_tables_without(
        self, live: Path, settings: Settings
    ) -> None:
        settings.MIGRATION_MODULES = {"sockets": None}
        assert unapplied("live") == []

    def test_a_database_that_does_not_answer(self, live: Path) -> None:
        live.write_bytes(b"this is no database, but some other file of somebody's")
        with pytest.raises(Error):
            unapplied("live")


def test_the_router_says_which_database(settings: Settings) -> None:
    """Rule 14."""
    assert databases() == ["default"]
    settings.DATABASE_ROUTERS = [Router()]
    assert databases() == ["live"]


def test_serve_asks_that_one(live: Path, settings: Settings) -> None:
    """Rule 14: and says how it is migrated."""
    settings.DATABASE_ROUTERS = [Router()]
    rows(live, "0001_initial")
    with pytest.raises(CommandError) as refused:
        call_command("serve", skip_checks=True)
    assert str(refused.value) == (
        "the database 'live' is not migrated, it lacks sockets.0002_access_keys, "
        "sockets.0003_operations_room; "
        "run: python manage.py migrate --database=live"
    )
