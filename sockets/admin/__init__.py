"""What staff see: the stock Django admin with the gateway's history in it.

sessions.py   who is and was connected; what disconnects them
live.py       the same lists without history: what is live now
closing.py    sessions that were ended and whose rows do not say so yet
operations/   what is live now, and what is done about it
keys.py       the keys of workers and backends
nodes.py      the processes that serve them
periods.py    a date hierarchy that does not read the whole table
shown.py      values as people read them
"""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin import AdminSite

from sockets.admin.keys import AccessKeyAdmin
from sockets.admin.nodes import NodeAdmin
from sockets.admin.operations.live import LiveSessionAdmin
from sockets.admin.operations.overview import OverviewAdmin
from sockets.admin.operations.refusals import RefusalAdmin
from sockets.admin.operations.users import GatewayUserAdmin
from sockets.admin.operations.workers import WorkerAdmin
from sockets.admin.sessions import SessionAdmin
from sockets.models import (
    AccessKey,
    GatewayUser,
    LiveSession,
    Node,
    Overview,
    Refusal,
    Session,
    Worker,
)

__all__ = [
    "AccessKeyAdmin",
    "GatewayUserAdmin",
    "LiveSessionAdmin",
    "NodeAdmin",
    "OverviewAdmin",
    "RefusalAdmin",
    "SessionAdmin",
    "WorkerAdmin",
    "register",
]


_SHOWN = (
    (Overview, OverviewAdmin),
    (LiveSession, LiveSessionAdmin),
    (GatewayUser, GatewayUserAdmin),
    (Worker, WorkerAdmin),
    (Refusal, RefusalAdmin),
    (Session, SessionAdmin),
    (Node, NodeAdmin),
    (AccessKey, AccessKeyAdmin),
)


def register(site: AdminSite) -> None:
    """Register the operations room, sessions, nodes and keys at this site, which keeps its titles.

    Django's default site has them already. A model that the site has stays as it is: a project may
    have registered an admin of its own for it.
    """
    for model, shown_by in _SHOWN:
        if not site.is_registered(model):
            site.register(model, shown_by)


register(admin.site)  # when Django looks for the admins of its apps
