"""A shop that nobody has: what the operations room shows of it in the pictures of the docs, which
`scripts/pictures` takes."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from typing import Any, Final

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
from sockets.reports import (
    FrameHeader,
    Health,
    LiveSession,
    LiveSessions,
    NodeReport,
    Overview,
    Sample,
    SessionReport,
    StreamHeader,
    UserReport,
    Visit,
)
from sockets.types import (
    Kind,
    NodeInfo,
    Position,
    PresenceState,
    SessionInfo,
    Task,
    TaskState,
    UserPresence,
)

USER: Final = "mina.park"
SESSION: Final = "01KBA7Q4ZC5N8V0T3WHX2MDREG"
OFFSET: Final = 318
EPOCH: Final = "7f3a91c2"

PAGES: Final = {
    "overview": "overview/",
    "live-sessions": "livesession/",
    "session": f"livesession/{SESSION}/change/",
    "user": f"gatewayuser/?user={USER}",
    "why-not-delivered": f"gatewayuser/why/?user={USER}&what=offset&message={OFFSET}",
}
"""Where the pages are, in the admin of `sockets`; docs/images has one picture of each."""

_LAPTOP: Final = "01K9XQ2M7RB4T6YDHV8ZC1NEWS"
_PHONE: Final = "01K9Z8F0C3GQJ5XPK2MBA7VTRD"
_AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Safari/605.1.15",
)
_PEOPLE: Final = (
    *(USER, "jun.seo", "a.lindqvist", "kim.haneul", "t.okafor", "lee.jiwoo", "m.duarte"),
    *("n.petrov", "choi.yuna", "s.haddad"),
)
_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ADDRESS: Final = "203.0.113.24:51812"


def answers() -> dict[str, Any]:
    """Return what `tests.unit.admin.operations.values.FixedSource` answers, as of now."""
    now, dice = time.time(), random.Random(7)
    sessions = [_live(name, number, now, dice) for number, name in enumerate(_PEOPLE)]
    return {
        "overview": _overview(now, dice),
        "find_live_sessions": LiveSessions(sessions, 18_264, len(sessions), [], now),
        "session_report": _report(sessions[0], now),
        "user_report": _user(sessions[0], now),
        "ledger_of": _ledger(now),
        "explain_delivery": _story(now),
        "nodes": [_node(name, now) for name in ("gateway-1", "gateway-2", "gateway-3")],
    }


def _id(dice: random.Random) -> str:
    return "01KB" + "".join(dice.choices(_LETTERS, k=22))


def _node(name: str, now: float, **given: Any) -> NodeInfo:
    values: dict[str, Any] = {
        "id": f"{name}:1",
        "pid": 412 + int(name[-1]),
        "host": f"gw-{'abc'[int(name[-1]) - 1]}",
        "version": "0.3.0",
        "started_at": now - 6.3 * 86_400,
        "state": "ready",
        "clients": 7_412,
        "workers": 4,
        "users": 6_020,
        "cpu": 0.31,
        "memory": 386_000_000,
    }
    return NodeInfo(name=name, **values | given)


def _overview(now: float, dice: random.Random) -> Overview:
    nodes = [
        NodeReport(_node("gateway-1", now), answered=True, lagging=3, loop_lag=0.0031),
        NodeReport(
            _node("gateway-2", now, clients=7_188, users=5_871, cpu=0.29, memory=379_000_000),
            answered=True,
            slow=1,
            loop_lag=0.0024,
        ),
        NodeReport(
            _node("gateway-3", now, state="draining", clients=3_652, users=3_104, cpu=0.18),
            answered=True,
            loop_lag=0.0019,
            webhooks=2,
        ),
    ]
    return Overview(
        at=now,
        sessions=sum(one.info.clients + one.info.workers for one in nodes),
        users=sum(one.info.users for one in nodes),
        workers=12,
        nodes=nodes,
        samples=[_sample(number, now, dice) for number in range(360)],
        step=10.0,
        silent=[],
    )


def _sample(number: int, now: float, dice: random.Random) -> Sample:
    day = 1 - 0.1 * math.sin((359 - number) / 230)  # more and more people come
    out = int(5_400 * day + dice.gauss(0, 220))
    fast = 0.0035 + abs(dice.gauss(0, 0.0004))
    return Sample(
        at=math.floor(now / 10) * 10 - 10 * (360 - number),
        sessions=int(18_264 * day),
        users=int(14_995 * day),
        workers=12,
        connects=int(31 + dice.gauss(0, 4)),
        closes={"1001": int(21 + dice.gauss(0, 3)), "1006": dice.randrange(8), "4503": 1},
        messages_in=int(640 * day + dice.gauss(0, 40)),
        messages_out=out,
        refusals=dice.randrange(3),
        recovered=dice.randrange(9),
        unrecovered=int(number % 60 == 0),
        dropped=0,
        delivery_p50=fast,
        delivery_p99=5 * fast + abs(dice.gauss(0, 0.004)),
    )


def _info(user: str, number: int, now: float, dice: random.Random) -> SessionInfo:
    mine = user == USER
    return SessionInfo(
        id=SESSION if mine else _id(dice),
        kind=Kind.CLIENT,
        user=user,
        client_id=_LAPTOP if mine else _id(dice),
        node=f"gateway-{number % 3 + 1}",
        connected_at=now - (95 + 700 * number + dice.randrange(600)),
        address=_ADDRESS if mine else f"198.51.100.{dice.randrange(2, 250)}:{49_200 + 31 * number}",
        agent=_AGENTS[number % len(_AGENTS)],
        acked=Position(EPOCH, 320),
        acked_at=now - 4,
    )


def _live(user: str, number: int, now: float, dice: random.Random) -> LiveSession:
    health, lag, buffered = Health.HEALTHY, 0, 0
    if number == 3:
        health, lag, buffered = Health.SLOW, 12, 61_440
    elif number == 6:
        health, lag = Health.LAGGING, 3
    info = _info(user, number, now, dice)
    return LiveSession(info, health, lag, buffered, round(abs(dice.gauss(0.03, 0.02)) + 0.008, 4))


def _report(session: LiveSession, now: float) -> SessionReport:
    told = [
        (9.2, False, "ping", "", 15),
        (9.1, True, "pong", "", 15),
        (6.4, False, "message", "order.shipped", 412),
        (6.3, True, "ack", "", 48),
        (2.8, True, "send", "cart.changed", 196),
        (2.7, False, "reply", "", 61),
    ]
    return SessionReport(
        session=session,
        method="session",
        proof_ends=now + 5_040,
        head=Position(EPOCH, 320),
        sent=Position(EPOCH, 320),
        buffers={"outbox": 0, "opening": 0},
        counters={"frames_in": 48, "bytes_out": 91_204, "missed": 0},
        frames=[
            FrameHeader(number, now - ago, inbound, type, event, size)
            for number, (ago, inbound, type, event, size) in enumerate(told, 1)
        ],
    )


def _user(session: LiveSession, now: float) -> UserReport:
    presence = UserPresence(USER, PresenceState.CONNECTED, (session.info,), now - 2)
    events = ("order.shipped", "invoice.ready", "order.paid", "cart.reminder", "order.placed")
    stream = [
        StreamHeader(
            320 - place,
            f"01KBA7P{3 * place:02d}XWJ4E9S6T2YH8NVQ5",
            event,
            now - 8 - 190 * place,
            412 - 37 * place,
            "order-7041-paid" if event == "order.paid" else "",
        )
        for place, event in enumerate(events)
    ]
    task = Task(
        id="01KBA7N2V8GQ4D5XW0ZRE6HMTC",
        pool="invoice.pdf",
        event="invoice.pdf",
        node="gateway-2",
        timeout=120.0,
        created=now - 14,
        user=USER,
        state=TaskState.RUNNING,
        worker="printer/01KB9Y6T3WHX2MDREGA7Q4ZC5N",
        started=now - 13,
    )
    visits = [
        _visit(_LAPTOP, "gateway-2", now - 3_900, now - 640, 1006, 0),
        _visit(_PHONE, "gateway-1", now - 30_400, now - 29_100, 1001, 1),
        _visit(_LAPTOP, "gateway-3", now - 93_000, now - 88_200, 1001, 0),
    ]
    return UserReport(
        user=USER,
        presence=presence,
        live=[session],
        workers=[],
        tasks=[task],
        blocked=False,
        blocked_until=None,
        head=Position(EPOCH, 320),
        floor=220,
        stream=stream,
        visits=visits,
        silent=[],
    )


def _visit(client: str, node: str, came: float, went: float, code: int, agent: int) -> Visit:
    return Visit(
        session=f"{client[:22]}{int(came) % 10_000:04d}",
        client_id=client,
        node=node,
        address=_ADDRESS,
        agent=_AGENTS[agent],
        connected_at=came,
        disconnected_at=went,
        close_code=code,
        close_reason="",
    )


def _ledger(now: float) -> list[LedgerEntry]:
    laptop = LedgerEntry(
        client_id=_LAPTOP,
        epoch=EPOCH,
        start=221,
        sent=320,
        acked=320,
        acked_at=now - 6,
        at=now - 2,
        began=317,
        head=318,
        recovered=True,
        session=SESSION,
        node="gateway-1",
        opened_at=now - 390,
        live=True,
    )
    phone = replace(
        laptop,
        client_id=_PHONE,
        sent=302,
        acked=302,
        acked_at=now - 29_110,
        at=now - 29_100,
        opened_at=now - 30_400,
        live=False,
        code=1001,
    )
    return [laptop, phone]


def _story(now: float) -> Explanation:
    facts = MessageFacts(
        EPOCH,
        OFFSET,
        Fate.KEPT,
        "01KBA7P06XWJ4E9S6T2YH8NVQ5",
        "order.paid",
        now - 388,
        338,
        "order-7041-paid",
    )
    back: dict[str, Any] = {"recovered": True, "began": 317, "head": OFFSET}
    here = SESSION, "gateway-1"
    gone: dict[str, Any] = {"code": 1006, "reason": ""}
    put: dict[str, Any] = {"offset": OFFSET, "epoch": EPOCH, "size": 338, "event": "order.paid"}
    steps = [
        Step(StepCode.ENDED, now - 29_100, _PHONE, "", "gateway-1", {"code": 1001, "reason": ""}),
        Step(StepCode.ENDED, now - 640, _LAPTOP, "", "gateway-2", gone),
        Step(StepCode.APPENDED, now - 388, values=put),
        Step(StepCode.CONNECTED, now - 95, _LAPTOP, *here, back),
        Step(StepCode.RECOVERED, now - 95, _LAPTOP, *here, {"sent": OFFSET}),
        Step(StepCode.ACKNOWLEDGED, now - 94, _LAPTOP, *here, {"sent": OFFSET, "acked": OFFSET}),
        Step(StepCode.NOT_ACKNOWLEDGED, now, _PHONE, values={"sent": 302, "acked": 302}),
        Step(StepCode.ONLINE, values={"sessions": 1}),
    ]
    laptop = ClientDelivery(_LAPTOP, Standing.ACKNOWLEDGED, now - 94, now - 2, True, *here)
    phone = ClientDelivery(
        _PHONE, Standing.NOT_ACKNOWLEDGED, now, now - 29_100, False, "", "gateway-1"
    )
    return Explanation(
        user=USER, message=facts, clients=[laptop, phone], steps=steps, silent=[], at=now
    )
