"""`manage.py sessions`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from sockets.api import live_sessions, nodes, presence_of
from sockets.exceptions import GatewayError
from sockets.management.output import GatewayCommand, HarmlessOutput, one_line
from sockets.types import NodeInfo, SessionInfo, UserPresence

MAX_LISTED = 10_000
_MB = 1024 * 1024
_DAY = 86_400


class Command(GatewayCommand):
    """Prints who is connected where, as presence knows it now."""

    help = (
        "Show the gateway's nodes and the live sessions of clients and workers, from any machine "
        "that reaches Redis; in memory mode, beside the gateway or with GATEWAY_URL: "
        "manage.py sessions --node a --watch."
    )

    stdout: HarmlessOutput

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", help="only this user's sessions, and their presence")
        parser.add_argument("--node", help="only this node's sessions")
        parser.add_argument(
            "--limit", type=int, default=50, help="sessions shown (default: %(default)s)"
        )
        parser.add_argument(
            "--watch", action="store_true", help="again every --interval seconds, until Ctrl-C"
        )
        parser.add_argument(
            "--interval", type=float, default=2.0, help="seconds (default: %(default)s)"
        )
        parser.add_argument(
            "--json", action="store_true", help="one JSON object a session, for programs"
        )

    def handle(self, **options: Any) -> None:
        if not 1 <= options["limit"] <= MAX_LISTED or not 0 < options["interval"] <= _DAY:
            raise CommandError("--limit is 1 to 10,000, --interval is more than 0, at most a day")
        show = self._show_json if options["json"] else self._show
        try:
            while True:
                show(options["user"], options["node"], options["limit"], options["watch"])
                if not options["watch"]:
                    return
                time.sleep(options["interval"])
        except KeyboardInterrupt:
            self.stdout.write("")
        except GatewayError as error:
            raise CommandError(str(error)) from None

    def _show_json(self, user: str | None, node: str | None, limit: int, watch: bool) -> None:
        if user is not None:
            found = _of_user(user, node)[1]
        else:
            found = live_sessions(node=node, limit=limit)
        for info in found[:limit]:
            self.stdout.write(one_line(json.dumps(asdict(info), ensure_ascii=False)))

    def _show(self, user: str | None, node: str | None, limit: int, watch: bool) -> None:
        """One page, written at once: a page that is drawn in pieces flickers."""
        lines: list[str] = []
        if user is not None:
            presence, sessions = _of_user(user, node)
            lines.append(_presence_line(presence))
            total = len(sessions)
        else:
            known = [info for info in nodes() if node in (None, info.name)]
            if node and not known:
                lines.append(f"no node {node!r} lives")
            elif not known:
                lines.append("no gateway runs here: start manage.py serve with these settings")
            lines += _table(_NODES, [_node_row(info) for info in known])
            sessions = live_sessions(node=node, limit=limit)
            total = sum(info.clients + info.workers for info in known)
        lines += ["", *_table(_SESSIONS, [_session_row(info) for info in sessions[:limit]])]
        if not sessions:
            lines.append("nobody is connected")
        elif total > min(limit, len(sessions)):
            lines.append(f"… of about {total}: --limit, --node or --user show others")
        if watch:
            self.stdout.clear()
        self.stdout.write("\n".join(lines))


_NODES = ("node", "state", "clients", "workers", "users", "cpu", "memory", "up", "pid", "version")
_SESSIONS = ("user", "kind", "client id", "node", "since", "seen", "acked", "address", "agent")


def _of_user(user: str, node: str | None) -> tuple[UserPresence, list[SessionInfo]]:
    presence = presence_of(user)
    return presence, [info for info in presence.sessions if node in (None, info.node)]


def _presence_line(presence: UserPresence) -> str:
    text = f"user {one_line(presence.user)}: {presence.state.value}"
    if presence.sessions or presence.last_seen is None:
        return text
    seen = datetime.fromtimestamp(presence.last_seen, UTC)
    return f"{text}, last seen {seen:%Y-%m-%d %H:%M:%S} UTC ({_ago(presence.last_seen)} ago)"


def _node_row(info: NodeInfo) -> tuple[str, ...]:
    return (
        info.name,
        info.state,
        str(info.clients),
        str(info.workers),
        str(info.users),
        f"{info.cpu:.0%}",
        f"{info.memory // _MB} MB",
        _ago(info.started_at),
        str(info.pid),
        info.version,
    )


def _session_row(info: SessionInfo) -> tuple[str, ...]:
    return (
        info.user,
        info.kind.value,
        info.client_id,
        info.node,
        _ago(info.connected_at),
        "" if info.seen_at is None else _ago(info.seen_at),
        "" if info.acked is None else str(info.acked.offset),
        info.address,
        info.agent,
    )


def _ago(at: float) -> str:
    """The largest unit that fits: "3 min"."""
    seconds = max(0, round(time.time() - at))
    for size, unit in ((_DAY, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need, at most 40; nothing that could steer a terminal."""
    if not rows:
        return []
    shown = [head, *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in shown) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]


def _printable(text: str) -> str:
    text = one_line(text[:41])
    return text if len(text) <= 40 else f"{text[:39]}…"
