"""Threads of our own keep no queries."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from sockets.base.database import tidy_connections


@pytest.mark.django_db
def test_queries_that_debug_keeps_are_forgotten(settings: Any) -> None:
    settings.DEBUG = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert len(connection.queries_log) == 1
    tidy_connections()
    assert len(connection.queries_log) == 0
