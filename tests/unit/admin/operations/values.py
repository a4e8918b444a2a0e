"""Fixed values of the reports: what `sockets.admin.operations.source` answers in tests."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from sockets.deliveries import (
    ClientDelivery,
    Explanation,
    Fate,
    LedgerEntry,
    MessageFacts,
    Standing,
    Step,
    StepCode,
)
from sockets.exceptions import GatewayError
from sockets.reports import (
    EndedTrace,
    FrameHeader,
    Health,
    LiveSession,
    LiveSessions,
    NodeReport,
    Overview,
    Sample,
    SessionReport,
    StreamHeader,
    Trace,
    TracedFrame,
    TurnedAway,
    TurnedAwayList,
    UserReport,
    Visit,
    WorkerReport,
    WorkersReport,
)
from sockets.types import (
    Disconnected,
    Kind,
    NodeInfo,
    PoolLoad,
    Position,
    PresenceState,
    Receipt,
    SessionInfo,
    Task,
    TaskState,
    UserPresence,
)

NOW = 1_772_625_600.0  # 2026-03-04 12:00:00 UTC
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36"
)
NASTY = "<script>alert(1)</script>\u202egnp.exe\x1b[31m"
SHOWN_NASTY = "&lt;script&gt;alert(1)&lt;/script&gt;\\u202egnp.exe\\u001b[31m"


def session_id(number: int) -> str:
    return f"01K0{number:022d}"


def client_id(number: int) -> str:
    return f"01CC{number:022d}"


def info(number: int = 1, **given: Any) -> SessionInfo:
    values: dict[str, Any] = {
        "id": session_id(number),
        "kind": Kind.CLIENT,
        "user": f"user-{number}",
        "client_id": client_id(number),
        "node": "node-1",
        "connected_at": NOW - 60 * number,
        "address": f"10.0.0.{number % 250}:5000",
        "agent": CHROME,
        "acked": Position("e1", 40),
        "acked_at": NOW - 5,
    }
    return SessionInfo(**values | given)


def live(number: int = 1, *, health: Health = Health.HEALTHY, **given: Any) -> LiveSession:
    return LiveSession(info(number, **given), health, lag=2, buffered=0, round_trip=0.0312)


def node(name: str = "node-1", **given: Any) -> NodeInfo:
    values: dict[str, Any] = {
        "id": f"id-{name}",
        "pid": 4711,
        "host": "gw-a",
        "version": "0.3.0",
        "started_at": NOW - 90_000,
        "state": "ready",
        "clients": 12_000,
        "workers": 6,
        "users": 9_500,
        "cpu": 0.37,
        "memory": 412_000_000,
    }
    return NodeInfo(name=name, **values | given)


def sample(at: float, number: int) -> Sample:
    return Sample(
        at=at,
        sessions=12_000 + number % 40 * 11,
        users=9_500 + number % 40 * 7,
        workers=6,
        connects=30 + number % 9,
        closes={"1001": 12, "1006": 9 + number % 5, "4503": 1},
        messages_in=400 + number % 50,
        messages_out=6_000 + number % 60 * 40,
        refusals=number % 3,
        recovered=8,
        unrecovered=number % 2,
        dropped=0,
        delivery_p50=0.004 + number % 7 / 10_000,
        delivery_p99=0.02 + number % 11 / 1_000,
    )


def overview(**given: Any) -> Overview:
    samples = [sample(NOW - 3_600 + 10 * number, number) for number in range(360)]
    nodes = [
        NodeReport(node("node-1"), answered=True, slow=3, lagging=11, loop_lag=0.0041),
        NodeReport(node("node-2", clients=8_101), answered=True, loop_lag=0.0023),
        NodeReport(node("node-3", state="draining", clients=44), answered=True, webhooks=4),
        NodeReport(node("node-4"), answered=False, lost=True),
    ]
    values: dict[str, Any] = {
        "at": NOW,
        "sessions": 20_163,
        "users": 15_204,
        "workers": 12,
        "nodes": nodes,
        "samples": samples,
        "step": 10.0,
        "silent": ["node-4"],
    }
    return Overview(**values | given)


def task(number: int = 1, **given: Any) -> Task:
    values: dict[str, Any] = {
        "id": f"01TT{number:022d}",
        "pool": "image.convert",
        "event": "image.convert",
        "node": "node-1",
        "timeout": 300.0,
        "created": NOW - 45,
        "user": "user-1",
        "state": TaskState.RUNNING,
        "worker": "converter/01WWWWWWWWWWWWWWWWWWWWWWWW",
        "started": NOW - 40,
    }
    return Task(**values | given)


def frame(number: int = 1, **given: Any) -> FrameHeader:
    values: dict[str, Any] = {"at": NOW + number, "inbound": number % 2 == 0, "type": "message"}
    return FrameHeader(number=number, event="order.paid", size=215, **values | given)


def report(number: int = 1, **given: Any) -> SessionReport:
    values: dict[str, Any] = {
        "session": live(number),
        "method": "jwt",
        "proof_ends": NOW + 1_800,
        "head": Position("e1", 42),
        "sent": Position("e1", 42),
        "buffers": {"outbox": 0, "opening": 0},
        "counters": {"frames_in": 17, "bytes_out": 40_211, "missed": 0},
        "frames": [frame(1), frame(2)],
    }
    return SessionReport(**values | given)


def message(offset: int, **given: Any) -> StreamHeader:
    values: dict[str, Any] = {"event": "order.paid", "at": NOW - 600 + offset, "size": 215}
    return StreamHeader(offset=offset, id=f"01MM{offset:022d}", **values | given)


def visit(number: int = 1, **given: Any) -> Visit:
    values: dict[str, Any] = {
        "session": session_id(number),
        "client_id": client_id(number),
        "node": "node-1",
        "address": "10.0.0.1:5000",
        "agent": CHROME,
        "connected_at": NOW - 7_200,
        "disconnected_at": NOW - 3_700,
        "close_code": 1001,
        "close_reason": "",
    }
    return Visit(**values | given)


def presence(user: str = "user-1", sessions: int = 1) -> UserPresence:
    state = PresenceState.CONNECTED if sessions else PresenceState.OFFLINE
    found = tuple(info(number, user=user) for number in range(1, sessions + 1))
    return UserPresence(user, state, found, NOW - 3)


def user_report(user: str = "user-1", **given: Any) -> UserReport:
    values: dict[str, Any] = {
        "presence": presence(user),
        "live": [live(1, user=user)],
        "workers": [],
        "tasks": [task(1, user=user)],
        "blocked": False,
        "blocked_until": None,
        "head": Position("e1", 42),
        "floor": 12,
        "stream": [message(offset) for offset in (42, 41, 40)],
        "visits": [visit(2), visit(3, close_code=4503, close_reason="another connection")],
        "silent": [],
    }
    return UserReport(user=user, **values | given)


def entry(number: int = 1, **given: Any) -> LedgerEntry:
    values: dict[str, Any] = {
        "client_id": client_id(number),
        "epoch": "e1",
        "start": 12,
        "sent": 42,
        "acked": 40,
        "acked_at": NOW - 5,
        "at": NOW - 2,
        "began": 30,
        "head": 38,
        "recovered": True,
        "session": session_id(number),
        "node": "node-1",
        "opened_at": NOW - 600,
        "live": True,
    }
    return LedgerEntry(**values | given)


def explanation(user: str = "user-1", **given: Any) -> Explanation:
    facts = MessageFacts("e1", 41, Fate.KEPT, "01MM", "order.paid", NOW - 559, 215, "order-7")
    client = client_id(1)
    steps = [
        Step(
            StepCode.APPENDED,
            NOW - 559,
            values={"offset": 41, "epoch": "e1", "size": 215, "event": "order.paid"},
        ),
        Step(StepCode.ENDED, NOW - 540, client, values={"code": 1006, "reason": ""}),
        Step(
            StepCode.CONNECTED,
            NOW - 400,
            client,
            session_id(1),
            "node-1",
            {"recovered": True, "began": 30, "head": 41},
        ),
        Step(StepCode.RECOVERED, NOW - 399, client, session_id(1), "node-1", {"sent": 41}),
        Step(
            StepCode.NOT_ACKNOWLEDGED,
            NOW - 2,
            client,
            session_id(1),
            "node-1",
            {"sent": 42, "acked": 40},
        ),
        Step(StepCode.ONLINE, values={"sessions": 1}),
    ]
    standing = ClientDelivery(
        client, Standing.RECOVERED, NOW - 399, NOW - 2, True, session_id(1), "node-1"
    )
    values: dict[str, Any] = {"message": facts, "clients": [standing], "steps": steps}
    return Explanation(user=user, silent=[], at=NOW, **values | given)


def turned_away(**given: Any) -> TurnedAway:
    values: dict[str, Any] = {
        "at": NOW - 30,
        "since": NOW - 400,
        "count": 12,
        "node": "node-1",
        "kind": Kind.CLIENT,
        "code": 4501,
        "reason": "the token has expired",
        "address": "10.0.0.9:4000",
        "agent": CHROME,
        "origin": "https://shop.example",
        "user": "kim",
        "client_id": client_id(9),
    }
    return TurnedAway(**values | given)


def workers(**given: Any) -> WorkersReport:
    held = [task(1), task(2, user=None, state=TaskState.OFFERED, started=None)]
    worker = WorkerReport(
        "converter/01WWWWWWWWWWWWWWWWWWWWWWWW",
        info(90, kind=Kind.WORKER, user="converter", agent="Python/3.11 websockets/15.0"),
        "node-1",
        2,
        ("image.convert", "pdf"),
        4,
        held,
    )
    ended = [
        task(3, state=TaskState.DONE, ended=NOW - 100),
        task(4, state=TaskState.FAILED, ended=NOW - 200, error="no such file"),
    ]
    values: dict[str, Any] = {
        "pools": [PoolLoad("image.convert", 1, 4, 2), PoolLoad("pdf", 1, 4, 4)],
        "workers": [worker],
        "total": 1,
        "ended": ended,
    }
    return WorkersReport(**values | given)


def trace(user: str = "user-1", *, after: str = "", bodies: bool = False) -> Trace:
    begin = int(after or 0)
    frames = [
        TracedFrame(
            session_id(1),
            "node-1",
            frame(number),
            '{"type": "message", "event": "order.paid", "data": {"order": 7}}' if bodies else None,
        )
        for number in range(begin + 1, begin + 4)
    ]
    return Trace(user, NOW, NOW + 900, True, "staff:kim", frames, next=str(begin + 3))


class FixedSource:
    """Answers as `source` does, always the same; notes what is done. `error`: raised instead."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.error: GatewayError | None = None
        self.answers: dict[str, Any] = {
            "overview": overview(),
            "find_live_sessions": LiveSessions(
                [
                    live(1),
                    live(2, health=Health.SLOW),
                    live(3, health=Health.LAGGING, node="node-2"),
                    live(4, kind=Kind.WORKER, user="converter", acked=None),
                ],
                20_163,
                4,
                [],
                NOW,
            ),
            "session_report": report(),
            "user_report": user_report(),
            "workers": workers(),
            "refusals": TurnedAwayList(
                [turned_away(), turned_away(code=403, count=1, user="", reason="origin")],
                3,
                2,
                ["node-4"],
            ),
            "ledger_of": [entry(1), entry(2, live=False, code=1006, acked=None)],
            "explain_delivery": explanation(),
            "nodes": [node("node-1"), node("node-2")],
            "presence_of": presence(),
            "task": task(),
            "disconnect_user": Disconnected(1),
            "block_user": Disconnected(2, 1),
            "unblock_user": True,
            "revoke": Disconnected(1),
            "notify_user": Receipt("01MM", "e1", 43, reach=2),
            "cancel_task": True,
            "release_task": task(state=TaskState.RELEASED),
            "drain_node": True,
            "trace_user": trace(),
            "end_trace": EndedTrace(ended=True),
        }
        self.gone: set[str] = set()
        self.slow: set[str] = set()
        self.names = {*self.answers, "read_trace", "disconnect_sessions"}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*args: Any, **given: Any) -> Any:
            self.calls.append((name, args, given))
            if self.error is not None:
                raise self.error
            return self.answer(name, *args, **given)

        return call

    def answer(self, name: str, *args: Any, **given: Any) -> Any:
        if name == "read_trace":
            return trace(*args, **given)
        if name == "disconnect_sessions":
            return {
                id: Disconnected(int(id not in self.slow), int(id in self.slow))
                for id in args[0]
                if id not in self.gone
            }
        if name == "overview" and given.get("after"):
            found = self.answers["overview"]
            return replace(
                found,
                samples=list(
                    itertools.dropwhile(lambda one: one.at <= given["after"], found.samples)
                ),
            )
        return self.answers[name]

    def done(self) -> list[str]:
        """The names of the calls that change something."""
        looks = {"overview", "find_live_sessions", "session_report", "user_report", "workers"}
        looks |= {"refusals", "ledger_of", "explain_delivery", "nodes", "presence_of", "task"}
        return [name for name, _, _ in self.calls if name not in looks | {"read_trace"}]
