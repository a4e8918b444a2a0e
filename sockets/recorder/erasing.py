"""Deletes the rows of one user's sessions, in small steps, and takes the user's id out of the
admin's log. It may be repeated."""

from __future__ import annotations

from typing import Final

from django.apps import apps
from django.db import Error, router

from sockets.exceptions import GatewayUnavailable
from sockets.models import GatewayUser, Session
from sockets.recorder import rows
from sockets.types import Kind

STEP: Final = 500  # rows

FORGOTTEN: Final = "(of a user who was forgotten)"
"""What the admin's log says in place of a user, and of a session of theirs."""


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
        _blank_admin_log(rows.stored_user(user))
    except Error as error:
        text = "the database did not take it: rows of sessions may be left, repeat it"
        detail = rows.first_line(error)
        raise GatewayUnavailable(text, outcome="unknown", detail=detail) from error
    return count


def _blank_admin_log(user: str) -> None:
    """Take a user's id out of the admin's log: that something was done, and by whom, stays."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import LogEntry  # only where it is installed

    entries = LogEntry.objects.using(router.db_for_write(LogEntry))
    entries = entries.filter(content_type__app_label=Session._meta.app_label)
    of_user = entries.filter(content_type__model=GatewayUser._meta.model_name, object_id=user)
    of_user.update(object_id=None, object_repr=FORGOTTEN)
    named = str(Session(kind=Kind.CLIENT.value, user=user, id="")).removesuffix(")")
    entries.filter(object_repr__startswith=named).update(object_repr=FORGOTTEN)
