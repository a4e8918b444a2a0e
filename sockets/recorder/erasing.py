"""Deletes the rows of one user's sessions, in small steps. It may be repeated."""

from __future__ import annotations

from typing import Final

from django.db import Error

from sockets.exceptions import GatewayUnavailable
from sockets.models import Session
from sockets.recorder import rows
from sockets.types import Kind

STEP: Final = 500  # rows


def erase_rows(user: str, before: float) -> int:
    """Delete the rows of a user's sessions that connected until then; returns how many those were.

    `before`: seconds since the epoch. Raises GatewayUnavailable where the
    database does not take it.
    """
    using = rows.alias()
    mine = Session.objects.using(using).filter(
        kind=Kind.CLIENT.value,
        user=rows.stored_user(user),
        connected_at__lte=rows.moment(before),
    )
    count = 0
    try:
        while ids := list(mine.order_by().values_list("id", flat=True)[:STEP]):
            gone = Session.objects.using(using).filter(id__in=ids).delete()[1]
            count += gone.get(Session._meta.label, 0)
    except Error as error:
        text = "the database did not take it: rows of sessions may be left, repeat it"
        detail = rows.first_line(error)
        raise GatewayUnavailable(text, outcome="unknown", detail=detail) from error
    return count
