"""When a user came and went, as the rows of history say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import Error

from sockets.base.database import tidy_connections
from sockets.conf import get_conf
from sockets.reports import Visit
from sockets.types import Kind

if TYPE_CHECKING:
    from sockets.models import Session

MOST: Final = 50
"""Rows of one answer."""


def visits_of(user: str) -> list[Visit]:
    """Return the newest sessions of a user, the newest first; none where no history is kept, or the
    database does not answer. Asks the database."""
    if not get_conf().history:
        return []
    tidy_connections()
    try:
        rows = _rows(user)
    except Error:
        return []  # the rest of a report is worth having without
    finally:
        tidy_connections()
    return [_visit(row) for row in rows]


def _rows(user: str) -> list[Session]:
    from sockets.models import Session  # late: settings import this package before there are models
    from sockets.recorder.rows import stored_user

    mine = stored_user(user)
    return list(Session.objects.filter(user=mine, kind=Kind.CLIENT.value)[:MOST])


def _visit(row: Session) -> Visit:
    left = row.disconnected_at
    return Visit(
        session=row.id,
        client_id=row.client_id,
        node=row.node,
        address=row.address,
        agent=row.agent,
        connected_at=row.connected_at.timestamp(),
        disconnected_at=None if left is None else left.timestamp(),
        close_code=row.close_code,
        close_reason=row.close_reason,
    )
