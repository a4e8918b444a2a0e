"""Judges a record: every promise that was broken, and that no fault of the schedule excuses."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

from tests.search.faults import May
from tests.search.record import Call, Heard, Record

LIE = 4.0
"""Seconds that readiness may be wrong: two tries, one at each renewal, and some patience."""

CLOSES = {
    1000: frozenset({May.CLOSED, May.CUT}),
    1001: frozenset({May.CLOSED, May.CUT}),
    1006: frozenset({May.CUT, May.CLOSED, May.SILENT}),
    1011: frozenset[May](),
    1012: frozenset({May.CLOSED}),
    1013: frozenset({May.REFUSED}),
    4000: frozenset({May.CLOSED}),
    4001: frozenset({May.SILENT}),
    4002: frozenset({May.SILENT}),
    4503: frozenset({May.CUT, May.SILENT, May.CLOSED}),
}
"""What has to be allowed for a client to see this code; a code that is not here: never."""

LOG = re.compile(
    r"Traceback \(most recent|was never retrieved|was never awaited|Unclosed |Unhandled"
    r"|exception was never|Fatal Python error|ResourceWarning"
)

ENTRY = re.compile(r"\d{4}-\d\d-\d\dT")
"""How an entry of a log begins."""


@dataclass(frozen=True)
class Violation:
    """`kind` is what a repetition has to show again."""

    kind: str
    text: str
    at: float = 0.0


def judge(record: Record) -> list[Violation]:
    """All violations, in order of time."""
    found = [
        *_notes(record),
        *_calls(record),
        *_sessions(record),
        *_deliveries(record),
        *_readiness(record),
        *_presence(record),
        *_questions(record),
        *_tasks(record),
        *_logs(record),
    ]
    return sorted(found, key=lambda one: one.at)


def _notes(record: Record) -> Iterator[Violation]:
    for at, kind, text in record.notes:
        yield Violation(kind, text, at)


def _calls(record: Record) -> Iterator[Violation]:
    """Every outcome is true, and none is worse than the fault."""
    excuses = {
        "nothing": {May.REFUSED},
        "unavailable": {May.REFUSED, May.UNKNOWN},
        "unknown": {May.UNKNOWN},
        "no answer": {May.UNKNOWN, May.CUT, May.CLOSED},
    }
    for call in record.calls.values():
        began = call.began
        for at, word in call.outcomes:
            if word == "ok":
                continue
            who = f"message {call.number} for {call.user} by {call.door}"
            if word not in excuses:
                yield Violation("wrong answer", f"{who}: {word}", at)
            elif not record.allowed(excuses[word], began, at):
                yield Violation(f"refused without cause: {word}", who, at)
            began = at
        if call.surely_nothing:
            if call.number in record.streams.get(call.user, ()):
                yield Violation("nothing, but it is in the stream", who, call.ended)
            elif any(call.number in {n for _, n in one.messages} for one in _of(record, call.user)):
                yield Violation("nothing, but it was delivered", who, call.ended)


def _of(record: Record, user: str) -> list[Heard]:
    return [one for one in record.heard if one.user == user]


def _sessions(record: Record) -> Iterator[Violation]:
    for one in record.heard:
        for at, kind, text in one.wrong:
            yield Violation(kind, f"{one.name}: {text}", at)
        for at in one.told:
            if not record.allowed(May.RESET, at):
                yield Violation("told that messages are lost, without cause", one.name, at)
        for at, node, code in one.closes:
            may = CLOSES.get(code)
            if may and code == 1013 and one.proxied:
                may |= {May.UNPROVEN}
            if may is None or not record.allowed(may, at):
                yield Violation(f"closed {code} without cause", f"{one.name} at node {node}", at)


def _deliveries(record: Record) -> Iterator[Violation]:
    """An acknowledged message reaches each session of its user, or the session is told."""
    seen = {id(one): {n for _, n in one.messages} for one in record.heard}
    for call in record.calls.values():
        if not call.acked or _is_of_the_old_primary(record, call):
            continue
        for one in _of(record, call.user):
            if not one.lives or one.lives[0][0] > call.began:
                continue  # it came later
            if call.number not in seen[id(one)] and not any(at >= call.began for at in one.told):
                text = f"{one.name}: message {call.number} (offset {call.offset}, {call.door})"
                yield Violation("acknowledged, neither delivered nor told", text, call.ended)


def _is_of_the_old_primary(record: Record, call: Call) -> bool:
    """Whether it may have been acknowledged by a primary that another one had taken over from."""
    return any(began <= call.ended and call.began <= end for began, end in record.two_primaries)


def _readiness(record: Record) -> Iterator[Violation]:
    """Ready, and newcomers are refused all the time."""
    by_node: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for probe in record.probes:
        by_node[probe.node].append((probe.at, probe.ready == 200 and probe.code == 1013))
    for node, seen in by_node.items():
        since: float | None = None
        told = False
        for at, lie in seen:
            if not lie:
                since, told = None, False
            elif since is None:
                since = at
            elif at - since > LIE and not told:
                told = True
                text = f"node {node} for {at - since:.1f} s"
                yield Violation("ready, but newcomers are refused", text, since)


def _presence(record: Record) -> Iterator[Violation]:
    for event in record.events:
        if event["type"] == "user_offline":
            yield from _offline_of_the_living(record, event["user"], event["at"])
    yield from not_alternating(record)
    for user, here in record.truth.items():
        if not is_told(record, user):
            what = "connected" if here else "away"
            yield Violation(
                "presence is not true at the end", f"{user} is {what}: {_last(record, user)}"
            )


def _last(record: Record, user: str) -> str:
    told = [event for event in record.events if event["user"] == user]
    words = [f"{event['type']} {event['generation']}" for event in told[-3:]]
    return f"the last words were {', '.join(words)}" if words else "nothing was told"


def not_alternating(record: Record) -> Iterator[Violation]:
    """Online, offline, online: of each user, in the order of generations, which have no gap."""
    if record.ever(May.REWOUND):
        return  # generations may come again
    by_user: dict[str, dict[int, tuple[str, float]]] = defaultdict(dict)
    for event in record.events:
        by_user[event["user"]][event["generation"]] = (event["type"], event["at"])
    for user, told in by_user.items():
        for before, after in itertools.pairwise(sorted(told)):
            if told[before][0] == told[after][0]:
                text = f"{user}: {told[after][0]} twice, generations {before} and {after}"
                yield Violation("presence does not alternate", text, told[after][1])


def is_told(record: Record, user: str) -> bool:
    """Whether the last event of a user says what is true.

    The last is the one with the greatest generation; where the store has forgotten generations,
    the one that was decided last may be meant too.
    """
    told = [event for event in record.events if event["user"] == user]
    word = "user_online" if record.truth[user] else "user_offline"
    if not told:
        return not record.truth[user]
    orders = ["generation", "at"] if record.ever(May.REWOUND) else ["generation"]
    return any(max(told, key=itemgetter(order))["type"] == word for order in orders)


def _offline_of_the_living(record: Record, user: str, at: float) -> Iterator[Violation]:
    """`at` is the decision's time by Redis' clock, which is this machine's."""
    if live := _live(record, user, at, at):
        yield Violation("offline told of a live user", live, at)


def _live(record: Record, user: str, began: float, ended: float) -> str:
    """Which session of the user was live all that time, and a little before and after; else "".

    Also where a fault lets a live user seem offline.
    """
    if record.allowed({May.OFFLINE, May.REWOUND}, began, ended):
        return ""
    for one in _of(record, user):
        for since, until, node in one.lives:
            if since < began - 0.5 and until > ended + 0.5:
                return f"{one.name} was live at node {node} since {began - since:.1f} s"
    return ""


def _questions(record: Record) -> Iterator[Violation]:
    """A live user is not offline, and the question is no error."""
    for one in record.questions:
        if one.state.startswith("HTTP 5") and one.state != "HTTP 503":
            yield Violation("wrong answer", f"presence of {one.user}: {one.state}", one.ended)
        elif one.state == "HTTP 503":
            excuses = (May.REFUSED, May.UNKNOWN, May.CUT, May.CLOSED)
            if not record.allowed(excuses, one.began, one.ended):
                text = f"{one.user} at node {one.node}"
                yield Violation("presence refused without cause", text, one.ended)
        elif one.state == "offline" and (live := _live(record, one.user, one.began, one.ended)):
            text = f"by node {one.node}: {live}"
            yield Violation("offline answered of a live user", text, one.ended)


def _tasks(record: Record) -> Iterator[Violation]:
    """Each task that was given ends in one state, and its end is announced."""
    states: dict[str, set[str]] = defaultdict(set)
    for end in record.ends:
        states[end["id"]].add(end["state"])
    for job in record.jobs:
        excuse = {May.REFUSED, May.UNKNOWN, May.TASK_LOST, May.CUT, May.CLOSED}
        if job.status not in (0, 201, 503) or (job.status == 500):
            text = f"task {job.id}: HTTP {job.status} {job.detail}"
            yield Violation("wrong answer", text, job.began)
        elif job.status != 201 and not record.allowed(excuse, job.began, job.began + 10):
            text = f"task {job.id}: {job.status} {job.detail}"
            yield Violation("task refused without cause", text, job.began)
        if job.status == 201 and not states[job.id] and not record.ever(May.REWOUND):
            yield Violation("the end of a task was not announced", f"task {job.id}", job.began)
        if len(states[job.id]) > 1 and not record.ever(May.REWOUND):
            text = f"task {job.id}: {', '.join(sorted(states[job.id]))}"
            yield Violation("a task has two ends", text, job.began)
        if "lost" in states[job.id] and not record.allowed(excuse, job.began, job.began + 15):
            yield Violation("a task was lost without cause", f"task {job.id}", job.began)


def _logs(record: Record) -> Iterator[Violation]:
    for name, text in record.logs.items():
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if LOG.search(line) and not line.startswith(" "):  # one inside another is the same
                yield Violation(
                    "a traceback in the log", f"{name}:{number + 1}: {_error(lines, number)}"
                )


def _error(lines: list[str], number: int) -> str:
    """What was raised in the end: the last line before the next entry of the log."""
    end = number + 1
    while end < len(lines) and not ENTRY.match(lines[end]):
        end += 1
    return f"{lines[max(0, number - 1)][:200]} ... {lines[end - 1].strip()[:200]}"
