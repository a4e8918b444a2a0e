"""A web process of the project, as a worker of gunicorn is one, without its HTTP server: it asks
its own views for each page, and writes a line of JSON for each.

Started by `room.py` with the environment of a node, and `BENCH`: see `Wanted` in `pages.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

import django

if __name__ == "__main__":
    django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from redis import Redis

from bench.operations.pages import PAGES, WEB, Cost, Page, Wanted
from bench.peers.machine import cpu
from sockets.api import assign_task, find_live_sessions
from sockets.base.ids import new_id
from sockets.models import Session

ENDS: Final = (1000, 1001, 1006, 4000, 4503)
CHROME: Final = "Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0 Safari/537.36"


class Meter:
    """Notes what a request costs."""

    def __init__(self, wanted: Wanted) -> None:
        self._pids = wanted.pids
        self._redis = Redis(port=wanted.redis)
        self._client = Client(SERVER_NAME="gateway.example.com")
        self._client.force_login(get_user_model().objects.create_superuser("bench"))

    def cost(self, path: str) -> Cost:
        """Ask for a page. Raises AssertionError where it is none."""
        commands, nodes = self._commands(), self._nodes()
        began, web = time.perf_counter(), time.process_time()
        with _queries() as asked:
            answer = self._client.get(f"/admin/sockets/{path}", secure=True)
        took, used = time.perf_counter() - began, time.process_time() - web
        nodes = self._nodes() - nodes
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        assert b"was not asked" not in answer.content, f"{path}: no node was asked"
        count = self._commands() - commands
        return Cost(took, used, nodes, len(asked), count, len(answer.content))

    def _nodes(self) -> float:
        return sum(map(cpu, self._pids))

    def _commands(self) -> int:
        lines: Any = self._redis.client_list()
        return sum(int(line["tot-cmds"]) for line in lines if line["user"] == WEB)


@contextmanager
def _queries() -> Iterator[list[str]]:
    asked: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield asked


def add_history(rows: int) -> str:
    """Write rows of ended sessions; returns the id of one."""
    now = timezone.now()
    ended = [
        Session(
            id=new_id(),
            kind="client",
            user=f"u{number % 500:06}",
            client_id=new_id(),
            node="before",
            address=f"10.0.{number % 250}.{number % 199}:5000",
            agent=CHROME,
            connected_at=now - timedelta(minutes=number, hours=1),
            disconnected_at=now - timedelta(minutes=number),
            close_code=ENDS[number % len(ENDS)],
        )
        for number in range(rows)
    ]
    Session.objects.bulk_create(ended, batch_size=500)
    return ended[rows // 2].id


def known(wanted: Wanted) -> dict[str, str]:
    """Return what stands in paths of pages: a live session, its user, one that ended, a time."""
    live = find_live_sessions(q=wanted.user)
    assert not live.silent and live.sessions, live
    return {
        "user": wanted.user,
        "session": live.sessions[0].info.id,
        "ended": add_history(wanted.rows),
        "minute_ago": f"{time.time() - 60:.0f}",
    }


def ask(meter: Meter, page: Page, words: dict[str, str], wanted: Wanted) -> list[Cost]:
    """Return what each request cost; the first one, which compiles the template, is not counted."""
    costs = []
    for number in range(wanted.requests + 1):
        part = CHROME[number : number + 8]
        costs.append(meter.cost(page.path.format(**words, agent=quote(part))))
        time.sleep(wanted.pause)
    return costs[1:]


def main() -> None:
    """Write a line for each page."""
    wanted = Wanted(**json.loads(os.environ["BENCH"]))
    call_command("collectstatic", interactive=False, verbosity=0)
    for number in range(wanted.tasks):
        assign_task("image.convert", "convert", {"number": number}, user_id=f"u{number:06}")
    words, meter = known(wanted), Meter(wanted)
    for page in PAGES:
        costs = [asdict(cost) for cost in ask(meter, page, words, wanted)]
        print(json.dumps([page.title, costs]), flush=True)


if __name__ == "__main__":
    main()
