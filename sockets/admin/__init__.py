"""What staff see: the stock Django admin with the gateway's history in it.

sessions.py   who is and was connected; what disconnects them
closing.py    sessions that were ended and whose rows do not say so yet
keys.py       the keys of workers and backends
nodes.py      the processes that serve them
periods.py    a date hierarchy that does not read the whole table
shown.py      values as people read them
"""

from __future__ import annotations

from django.contrib import admin

from sockets.admin.keys import AccessKeyAdmin
from sockets.admin.nodes import NodeAdmin
from sockets.admin.sessions import SessionAdmin

__all__ = ["AccessKeyAdmin", "NodeAdmin", "SessionAdmin"]

admin.site.site_header = "Gateway"
admin.site.site_title = "Gateway"
admin.site.index_title = "Sessions, keys and staff"
