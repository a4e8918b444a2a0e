"""Databases out of URLs."""

from __future__ import annotations

import pytest

from sockets.variables.faults import Wrong
from tests.support.variables import env, fault


class TestDatabase:
    def test_postgres(self) -> None:
        found = env(A="postgres://me:p%40ss@db:5433/gw").database("A")
        assert found is not None
        assert (found["ENGINE"], found["NAME"]) == ("django.db.backends.postgresql", "gw")
        assert (found["USER"], found["PASSWORD"]) == ("me", "p@ss")
        assert (found["HOST"], found["PORT"]) == ("db", 5433)

    def test_sqlite(self) -> None:
        found = env(A="sqlite:////data/gw.db").database("A")
        assert found is not None
        assert found["NAME"] == "/data/gw.db"

    def test_what_a_url_says_of_sqlite_too_is_kept(self) -> None:
        found = env(A="sqlite:////data/gw.db?conn_max_age=600&timeout=1").database("A")
        assert found is not None
        assert found["CONN_MAX_AGE"] == 600
        assert found["OPTIONS"]["timeout"] == 20  # the gateway's own go before

    @pytest.mark.parametrize(
        "text",
        [
            "mysql://a:hunter2@b/c",
            "hunter2",
            "sqlite://",
            "sqlite://:memory:",
            "postgres://a:hunter2@b:port/c",
            "postgres://a:hunter2@b",
        ],
    )
    def test_others(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).database("A")
        assert "hunter2" not in fault(error)
