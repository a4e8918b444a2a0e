"""What the pages ask the gateway: functions of the Python API, each looked up when it is called, as
other pages of the admin do: tests stand in for them."""

from __future__ import annotations

from typing import Any

from sockets.deliveries import Explanation, LedgerEntry
from sockets.reports import (
    EndedTrace,
    LiveSessions,
    Overview,
    SessionReport,
    Trace,
    TurnedAwayList,
    UserReport,
    WorkersReport,
)
from sockets.types import Disconnected, NodeInfo, Receipt, Task, UserPresence


def overview(*, after: float = 0.0, last: float | None = None) -> Overview:
    from sockets.api import overview

    return overview(after=after, last=last)


def find_live_sessions(**given: Any) -> LiveSessions:
    from sockets.api import find_live_sessions

    return find_live_sessions(**given)


def session_report(session: str, *, frames: bool = False) -> SessionReport | None:
    from sockets.api import session_report

    return session_report(session, frames=frames)


def user_report(user: str) -> UserReport:
    from sockets.api import user_report

    return user_report(user)


def workers() -> WorkersReport:
    from sockets.api import workers

    return workers()


def refusals(**given: Any) -> TurnedAwayList:
    from sockets.api import refusals

    return refusals(**given)


def trace_user(user: str, **given: Any) -> Trace:
    from sockets.api import trace_user

    return trace_user(user, **given)


def read_trace(user: str, **given: Any) -> Trace | None:
    from sockets.api import read_trace

    return read_trace(user, **given)


def end_trace(user: str) -> EndedTrace:
    from sockets.api import end_trace

    return end_trace(user)


def release_task(id: str) -> Task | None:
    from sockets.api import release_task

    return release_task(id)


def ledger_of(user: str) -> list[LedgerEntry]:
    from sockets.api import ledger_of

    return ledger_of(user)


def explain_delivery(user: str, **given: Any) -> Explanation:
    from sockets.api import explain_delivery

    return explain_delivery(user, **given)


def nodes() -> list[NodeInfo]:
    from sockets.api import nodes

    return nodes()


def presence_of(user: str) -> UserPresence:
    from sockets.api import presence_of

    return presence_of(user)


def disconnect_sessions(sessions: list[str], **given: Any) -> dict[str, Disconnected]:
    from sockets.api import disconnect_sessions

    return disconnect_sessions(sessions, **given)


def disconnect_user(user: str, **given: Any) -> Disconnected:
    from sockets.api import disconnect_user

    return disconnect_user(user, **given)


def block_user(user: str, **given: Any) -> Disconnected:
    from sockets.api import block_user

    return block_user(user, **given)


def unblock_user(user: str) -> bool:
    from sockets.api import unblock_user

    return unblock_user(user)


def revoke(user: str, **given: Any) -> Disconnected:
    from sockets.api import revoke

    return revoke(user, **given)


def notify_user(user: str, event: str, data: Any, **options: Any) -> Receipt:
    from sockets.api import notify_user

    return notify_user(user, event, data, **options)


def task(id: str) -> Task | None:
    from sockets.api import task

    return task(id)


def cancel_task(id: str) -> bool:
    from sockets.api import cancel_task

    return cancel_task(id)


def drain_node(name: str) -> bool:
    from sockets.api import drain_node

    return drain_node(name)
