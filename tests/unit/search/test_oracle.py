"""The oracle: each promise that is broken is seen, and what a fault allows is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.search.faults import May
from tests.search.oracle import LIE, judge
from tests.search.record import Call, Heard, Job, Probe, Question, Record, Window

FAULT = Window("a fault", 0, frozenset(), 5, began=100, ended=110)


def sound() -> Record:
    """Two messages, both delivered; a user who came and stayed; a task that was done."""
    heard = Heard("u0/0", "u0", messages=[(103, 1), (104, 2)], lives=[(90, 200, 0)])
    return Record(
        windows=[FAULT],
        calls={
            1: Call(1, "u0", "http", 102, 103, [(103, "ok")], "e", 1),
            2: Call(2, "u0", "socket", 103, 104, [(104, "ok")], "e", 2),
        },
        heard=[heard],
        streams={"u0": {1, 2}},
        events=[{"user": "u0", "generation": 1, "type": "user_online", "at": 90.0}],
        truth={"u0": True},
        jobs=[Job("t", "u0", 105, 201)],
        ends=[{"id": "t", "state": "done"}, {"id": "t", "state": "done"}],
        probes=[Probe(100 + n, 0, 200, 0) for n in range(9)],
        logs={"node-0.log": "all is well\n"},
    )


def allow(record: Record, *may: May) -> None:
    record.windows = [Window("a fault", 0, frozenset(may), 5, began=100, ended=110)]


def kinds(record: Record) -> list[str]:
    return [violation.kind for violation in judge(record)]


def test_a_sound_run_breaks_nothing() -> None:
    assert kinds(sound()) == []


@pytest.mark.parametrize(
    ("word", "may"),
    [
        ("nothing", May.REFUSED),
        ("unavailable", May.REFUSED),
        ("unknown", May.UNKNOWN),
        ("no answer", May.CUT),
    ],
)
def test_a_call_is_refused_with_cause_only(word: str, may: May) -> None:
    record = sound()
    record.calls[3] = Call(3, "u0", "http", 107, 108, [(108, word)])
    assert kinds(record) == [f"refused without cause: {word}"]
    allow(record, may)
    assert kinds(record) == []
    record.calls[3] = Call(3, "u0", "http", 120, 121, [(121, word)])  # long after the fault
    assert kinds(record) == [f"refused without cause: {word}"]


def test_an_internal_error_has_no_excuse() -> None:
    record = sound()
    allow(record, *May)
    record.calls[3] = Call(3, "u0", "http", 107, 108, [(108, "HTTP 500 ")])
    assert kinds(record) == ["wrong answer"]


def test_nothing_means_nothing() -> None:
    record = sound()
    allow(record, May.REFUSED, May.UNKNOWN)
    record.calls[3] = Call(3, "u0", "http", 107, 108, [(108, "nothing")])
    record.streams["u0"].add(3)
    assert kinds(record) == ["nothing, but it is in the stream"]
    record.streams["u0"].discard(3)
    record.heard[0].messages.append((109, 3))
    assert kinds(record) == ["nothing, but it was delivered"]
    record.calls[3].outcomes.insert(0, (107.5, "unknown"))  # which may have been sent
    assert kinds(record) == []


def test_acknowledged_is_delivered_or_told() -> None:
    record = sound()
    record.heard[0].messages.pop()
    assert kinds(record) == ["acknowledged, neither delivered nor told"]
    allow(record, May.RESET)
    record.heard[0].told.append(102)  # before it was sent
    assert kinds(record) == ["acknowledged, neither delivered nor told"]
    record.heard[0].told.append(106)
    assert kinds(record) == []


def test_a_session_is_told_with_cause_only() -> None:
    record = sound()
    record.heard[0].told.append(106)
    assert kinds(record) == ["told that messages are lost, without cause"]


@pytest.mark.parametrize(
    ("code", "may"), [(1013, May.REFUSED), (1006, May.CUT), (4000, May.CLOSED), (4001, May.SILENT)]
)
def test_a_socket_is_closed_with_cause_only(code: int, may: May) -> None:
    record = sound()
    record.heard[0].closes.append((105, 0, code))
    assert kinds(record) == [f"closed {code} without cause"]
    allow(record, may)
    assert kinds(record) == []


@pytest.mark.parametrize("code", [1011, 4004, 4501, 4999])
def test_some_codes_have_no_excuse(code: int) -> None:
    record = sound()
    allow(record, *May)
    record.heard[0].closes.append((105, 0, code))
    assert kinds(record) == [f"closed {code} without cause"]


def test_what_a_session_found_wrong_is_wrong() -> None:
    record = sound()
    record.heard[0].wrong.append((105, "a gap", "5 follows 3"))
    record.notes.append((106, "a node does not start", ""))
    assert kinds(record) == ["a gap", "a node does not start"]


def test_readiness_may_lie_for_two_tries() -> None:
    record = sound()
    lies = [Probe(110 + n, 0, 200, 1013) for n in range(round(LIE) + 1)]
    record.probes += lies
    assert kinds(record) == []
    record.probes.append(Probe(lies[-1].at + 1, 0, 200, 1013))
    assert kinds(record) == ["ready, but newcomers are refused"]
    record.probes[-3].ready = 503
    assert kinds(record) == []


def event(kind: str, generation: int, at: float) -> dict[str, Any]:
    return {"user": "u0", "generation": generation, "type": f"user_{kind}", "at": at}


def test_offline_is_not_told_of_the_living() -> None:
    record = sound()
    record.events += [event("offline", 2, 105), event("online", 3, 106)]
    assert kinds(record) == ["offline told of a live user"]
    allow(record, May.OFFLINE)
    assert kinds(record) == []


def test_offline_is_not_answered_of_the_living() -> None:
    record = sound()
    record.questions = [
        Question(105, 106, 0, "u0", "connected"),
        Question(105, 106, 0, "u0", "offline"),
        Question(89, 91, 0, "u0", "offline"),  # it had just come
        Question(105, 106, 0, "nobody", "offline"),
    ]
    assert kinds(record) == ["offline answered of a live user"]
    allow(record, May.OFFLINE)
    assert kinds(record) == []


def test_a_question_is_refused_with_cause_only() -> None:
    record = sound()
    record.questions = [Question(105, 106, 0, "u0", "HTTP 503")]
    assert kinds(record) == ["presence refused without cause"]
    allow(record, May.REFUSED)
    assert kinds(record) == []
    record.questions[0].state = "HTTP 500"
    assert kinds(record) == ["wrong answer"]


def test_the_api_server_excuses_only_those_who_need_it() -> None:
    record = sound()
    allow(record, May.UNPROVEN)
    record.heard[0].closes.append((105, 0, 1013))
    assert kinds(record) == ["closed 1013 without cause"]
    record.heard[0].proxied = True
    assert kinds(record) == []


def test_presence_alternates_and_is_true_at_the_end() -> None:
    record = sound()
    record.events.append(event("online", 2, 105))
    assert kinds(record) == ["presence does not alternate"]
    record.events[-1] = event("offline", 2, 250)
    assert kinds(record) == ["presence is not true at the end"]
    record.truth["u0"] = False
    assert kinds(record) == []
    record.truth["u1"] = True
    assert kinds(record) == ["presence is not true at the end"]


def test_a_task_has_one_end_and_it_is_announced() -> None:
    record = sound()
    record.ends.append({"id": "t", "state": "failed"})
    assert kinds(record) == ["a task has two ends"]
    record.ends = []
    assert kinds(record) == ["the end of a task was not announced"]
    allow(record, May.REWOUND)
    assert kinds(record) == []


def test_a_task_is_refused_or_lost_with_cause_only() -> None:
    record = sound()
    record.jobs.append(Job("s", "u0", 106, 503, "no worker"))
    record.ends[:] = [{"id": "t", "state": "lost"}]
    assert sorted(kinds(record)) == ["a task was lost without cause", "task refused without cause"]
    allow(record, May.TASK_LOST)
    assert kinds(record) == []
    record.jobs[-1].status = 500
    assert kinds(record) == ["wrong answer"]


@pytest.mark.parametrize(
    "line", ["Traceback (most recent call last):", "Task exception was never retrieved"]
)
def test_a_traceback_has_no_excuse(line: str) -> None:
    record = sound()
    allow(record, *May)
    record.logs["node-0.log"] = f"fine\n{line}\n  File x\nValueError: y\n"
    assert kinds(record) == ["a traceback in the log"]


def test_what_an_old_primary_took_may_be_lost_and_nothing_else() -> None:
    record = sound()
    record.heard[0].messages.pop()
    record.two_primaries = [(104.5, 106)]
    assert kinds(record) == ["acknowledged, neither delivered nor told"]
    record.two_primaries = [(103.5, 106)]
    assert kinds(record) == []
