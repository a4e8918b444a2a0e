"""What staff see: the stock Django admin with the gateway's history in it.

sessions.py   who is and was connected; what disconnects them
live.py       the same lists without history: what is live now
closing.py    sessions that were ended and whose rows do not say so yet
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
from sockets.admin.sessions import SessionAdmin
from sockets.models import AccessKey, Node, Session

__all__ = ["AccessKeyAdmin", "NodeAdmin", "SessionAdmin", "register"]


def register(site: AdminSite) -> None:
    """Register sessions, nodes and keys at this site, which keeps its titles.

    Django's default site has them already. A model that the site has stays as it is: a project may
    have registered an admin of its own for it.
    """
    shown = ((Session, SessionAdmin), (Node, NodeAdmin), (AccessKey, AccessKeyAdmin))
    for model, shown_by in shown:
        if not site.is_registered(model):
            site.register(model, shown_by)


register(admin.site)  # when Django looks for the admins of its apps
