"""When to ping, when to give up: a table of moments, and what holds for any of them."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockets.base.rate import Bucket
from sockets.codes import CloseCode
from sockets.protocol.connection import (
    MAX_BAD_FRAMES,
    MAX_REFUSED,
    SEND_PING,
    Close,
    Connection,
    TooFast,
)
from tests.support.doubles import NOON, connection

HEARTBEAT, PONG, SLOW = 25.0, 10.0, 10.0


def due(
    peer: Connection, now: float, *, wall: float = 0.0, waiting: int = 0, drained: int = 0
) -> object:
    """What `tick` says, shortened to the close code."""
    said = peer.tick(now, wall, waiting, drained)
    return said.code if isinstance(said, Close) else said


# --- pings


@pytest.mark.parametrize(
    ("now", "expected"), [(100, None), (124.9, None), (125, SEND_PING), (500, SEND_PING)]
)
def test_the_first_ping_is_due_after_one_heartbeat(now: float, expected: object) -> None:
    assert due(connection(100), now) is expected


def test_a_ping_that_nobody_took_stays_due_and_expects_no_pong() -> None:
    peer = connection()
    for now in (25, 40, 90):
        assert due(peer, now) is SEND_PING


def test_one_ping_each_heartbeat_to_a_peer_that_answers() -> None:
    peer = connection()
    for round in range(1, 5):
        assert due(peer, round * HEARTBEAT - 0.1) is None
        assert due(peer, round * HEARTBEAT) is SEND_PING
        peer.ping_sent(round * HEARTBEAT)
        assert due(peer, round * HEARTBEAT + 1) is None
        peer.pong(0.0)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(26, None), (34.9, None), (35, CloseCode.NO_PONG), (80, CloseCode.NO_PONG)],
)
def test_a_peer_that_does_not_answer_is_given_up(now: float, expected: object) -> None:
    peer = connection()
    peer.ping_sent(25)
    assert due(peer, now) is expected


def test_a_pong_that_is_late_but_before_we_looked_counts() -> None:
    peer = connection()
    peer.ping_sent(25)
    peer.pong(0.0)
    assert due(peer, 49) is None


def test_a_pong_may_stand_behind_a_reply_that_waits_for_room() -> None:
    """Frames of this peer wait and it reads them: its pong is not read before they are gone."""
    peer = connection()
    peer.ping_sent(25)
    for now in range(26, 60, 3):
        assert due(peer, now, waiting=9, drained=now) is None
    assert due(peer, 60, drained=60) is CloseCode.NO_PONG


def test_a_peer_that_is_not_read_owes_no_pong() -> None:
    """It waits for others; the time does not count, what was left of its patience does."""
    peer = connection()
    peer.ping_sent(25)
    peer.hold(30)
    assert due(peer, 300) is None
    peer.release(300)
    peer.release(400)
    assert due(peer, 304.9) is None
    assert due(peer, 305) is CloseCode.NO_PONG


def test_a_ping_that_is_sent_while_a_peer_is_not_read_is_answered_later() -> None:
    peer = connection()
    peer.hold(10)
    assert due(peer, 25) is SEND_PING
    peer.ping_sent(25)
    peer.release(100)
    assert due(peer, 109) is None
    peer.pong(0.0)
    assert due(peer, 500) is SEND_PING


def test_to_be_held_excuses_no_slow_reader() -> None:
    peer = connection()
    peer.hold(0)
    assert due(peer, 1, waiting=5) is None
    assert due(peer, 11, waiting=5) is CloseCode.SLOW_CONSUMER


def test_an_unasked_pong_neither_harms_nor_helps_later() -> None:
    peer = connection()
    peer.pong(0.0)
    assert due(peer, 25) is SEND_PING
    peer.ping_sent(25)
    assert due(peer, 35) is CloseCode.NO_PONG


def test_the_answer_may_take_longer_than_a_heartbeat() -> None:
    peer = connection(heartbeat=2.0)
    peer.ping_sent(2)
    assert due(peer, 5) is None, "one ping at a time"
    peer.pong(0.0)
    assert due(peer, 5) is SEND_PING


def test_a_peer_without_the_subprotocol_is_never_pinged() -> None:
    peer = connection(heartbeat=None)
    for now in (25, 1_000, 1_000_000):
        assert due(peer, now) is None
    peer.ping_sent(5)
    assert due(peer, 1_000) is None


# --- slow readers


def test_a_socket_that_drains_nothing_is_closed() -> None:
    peer = connection()
    assert due(peer, 1, waiting=500) is None
    assert due(peer, 10.9, waiting=500) is None
    assert due(peer, 11, waiting=500) is CloseCode.SLOW_CONSUMER


def test_one_byte_is_progress() -> None:
    peer = connection(heartbeat=None)
    for now in range(0, 60, 9):
        assert due(peer, now, waiting=500, drained=now) is None


def test_a_buffer_that_is_empty_is_no_stall() -> None:
    peer = connection(heartbeat=None)
    assert due(peer, 1, waiting=500) is None
    assert due(peer, 5, waiting=0) is None
    assert due(peer, 12, waiting=500) is None, "the clock starts anew"
    assert due(peer, 21.9, waiting=500) is None
    assert due(peer, 22, waiting=500) is CloseCode.SLOW_CONSUMER


def test_a_long_silence_before_a_full_buffer_is_not_held_against_it() -> None:
    peer = connection(heartbeat=None)
    assert due(peer, 0) is None
    assert due(peer, 1_000, waiting=9) is None


def test_slow_is_said_before_no_pong() -> None:
    """The ping waits behind what the peer does not read: 4002 is the cause, 4001 a consequence."""
    peer = connection()
    assert due(peer, 24, waiting=9) is None
    peer.ping_sent(25)
    assert due(peer, 35, waiting=9) is CloseCode.SLOW_CONSUMER


# --- tokens


@pytest.mark.parametrize(
    ("wall", "expected"),
    [(NOON - 0.1, None), (NOON, CloseCode.TOKEN_EXPIRED), (NOON + 9, CloseCode.TOKEN_EXPIRED)],
)
def test_the_end_of_a_token_is_the_end_of_its_socket(wall: float, expected: object) -> None:
    assert due(connection(expires_at=NOON), 1, wall=wall) is expected


def test_a_refreshed_token_lasts_as_long_as_the_new_one() -> None:
    peer = connection(expires_at=NOON)
    peer.expires_at = NOON + 60
    assert due(peer, 1, wall=NOON + 59) is None
    assert due(peer, 2, wall=NOON + 60) is CloseCode.TOKEN_EXPIRED
    peer.expires_at = None
    assert due(peer, 3, wall=NOON * 2) is None


def test_a_change_of_the_wall_clock_moves_no_ping() -> None:
    peer = connection(expires_at=None)
    assert due(peer, 1, wall=NOON) is None
    assert due(peer, 2, wall=NOON + 1e6) is None
    assert due(peer, 3, wall=0) is None


# --- bad frames


def test_so_many_bad_frames_in_a_row_and_no_more() -> None:
    peer = connection()
    for _ in range(MAX_BAD_FRAMES - 1):
        assert peer.bad_frame() is None
    verdict = peer.bad_frame()
    assert verdict is not None and verdict.code is CloseCode.BAD_REQUEST


def test_a_good_frame_in_between_starts_the_count_anew() -> None:
    peer = connection()
    for _ in range(3):
        assert [peer.bad_frame() for _ in range(MAX_BAD_FRAMES - 1)] == [None] * (
            MAX_BAD_FRAMES - 1
        )
        peer.good_frame()


# --- any peer

delays = st.lists(st.floats(0, PONG - 1.01), min_size=1, max_size=12)


@given(delays=delays, start=st.floats(0, 1e6), step=st.floats(0.05, 1.0))
def test_a_peer_that_answers_in_time_is_never_closed(
    delays: list[float], start: float, step: float
) -> None:
    """Whatever its delays below the limit, and however often we look."""
    peer = connection(start)
    now, answers_at, pings = start, None, 0
    while pings < len(delays) or answers_at is not None:
        now += step
        if answers_at is not None and answers_at <= now:
            peer.pong(0.0)
            answers_at = None
        said = peer.tick(now, now, 0, 0)
        assert not isinstance(said, Close), (now, said)
        if said is SEND_PING:
            if pings == len(delays):
                break
            peer.ping_sent(now)
            answers_at = now + delays[pings]
            pings += 1


@given(step=st.floats(0.05, 1.0), answered=st.integers(0, 5))
def test_a_peer_that_falls_silent_is_closed_within_the_promised_time(
    step: float, answered: int
) -> None:
    peer = connection()
    now, silent_since, pings = 0.0, None, 0
    while True:
        now += step
        said = peer.tick(now, now, 0, 0)
        if isinstance(said, Close):
            break
        if said is SEND_PING:
            peer.ping_sent(now)
            pings += 1
            if pings <= answered:
                peer.pong(0.0)
            else:
                silent_since = silent_since or now
        assert now < 1_000
    assert said.code is CloseCode.NO_PONG
    assert silent_since is not None and PONG <= now - silent_since <= PONG + step + 1e-6


@given(
    st.lists(
        st.tuples(st.floats(0.1, 5), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60
    )
)
def test_slow_means_exactly_that_nothing_moved_for_so_long(
    looks: list[tuple[float, int, int]],
) -> None:
    """Against a model: the moments at which the socket was empty or had drained something."""
    peer = connection(heartbeat=None)
    now, total = 0.0, 0
    moved_at: float | None = None  # None: nothing waits
    for step, waiting, drained in looks:
        now += step
        total += drained
        if waiting == 0:
            moved_at = None
        elif drained or moved_at is None:
            moved_at = now
        said = peer.tick(now, now, waiting, total)
        late = moved_at is not None and now - moved_at >= SLOW
        assert isinstance(said, Close) is late
        if late:
            return


# --- when to look


def test_nothing_is_due_for_a_peer_that_is_not_pinged() -> None:
    assert connection(heartbeat=None).due(5.0, NOON) == inf


def test_a_token_is_due_by_the_wall_clock() -> None:
    assert connection(heartbeat=None, expires_at=NOON + 7).due(100.0, NOON) == 107.0
    assert connection(expires_at=NOON + 7).due(0.0, NOON) == 7.0, "before the ping"


def test_a_ping_is_due_and_then_its_pong() -> None:
    peer = connection()
    assert peer.due(3.0, NOON) == 25.0
    peer.ping_sent(25.0)
    assert peer.due(25.0, NOON) == 35.0
    peer.pong(0.0)
    assert peer.due(26.0, NOON) == 50.0


def test_who_has_bytes_left_is_looked_at_all_the_time() -> None:
    peer = connection()
    peer.stalled(3.0, 100)
    assert peer.due(4.0, NOON) == 4.0
    assert due(peer, 5.0, waiting=10, drained=100) is None
    assert due(peer, 13.0, waiting=10, drained=100) is CloseCode.SLOW_CONSUMER, "from the first"
    other = connection()
    other.stalled(3.0, 100)
    assert due(other, 9.0, waiting=10, drained=101) is None
    assert due(other, 13.0, waiting=10, drained=101) is None
    assert due(other, 14.0) is None
    assert other.due(14.0, NOON) == 25.0, "all is written"


events = st.sampled_from(["pong", "stall", "flow", "refresh", "hold", "release"])


@given(
    st.lists(st.tuples(st.floats(0.0, 9.0), events), max_size=30),
    st.floats(0.1, 2.0),
    st.floats(0.5, 30.0),
)
def test_who_is_looked_at_when_due_gets_what_who_is_looked_at_all_the_time_gets(
    script: list[tuple[float, str]], interval: float, heartbeat: float
) -> None:
    """Two peers with the same fate: the one is looked at in each interval, the other when due."""
    told: list[list[object]] = []
    for lazy in (False, True):
        peer = connection(heartbeat=heartbeat, expires_at=NOON + 90)
        said: list[object] = []
        now, waiting, drained = 0.0, 0, 0
        moments = iter(script)
        at, event = next(moments, (inf, ""))
        due_at = peer.due(0.0, NOON)
        for look in range(1, 200):
            now = look * interval
            while at <= now:
                match event:
                    case "pong":
                        peer.pong(0.0)
                    case "stall":
                        waiting = 5
                        peer.stalled(at, drained)
                    case "flow":
                        waiting, drained = 0, drained + waiting
                    case "refresh":
                        peer.expires_at = NOON + at + 40
                    case "hold":
                        peer.hold(at)
                    case "release":
                        peer.release(at)
                if event in ("stall", "refresh"):
                    due_at = min(due_at, peer.due(at, NOON + at))
                step, event = next(moments, (inf, ""))
                at += step
            if lazy and due_at > now:
                continue
            verdict = peer.tick(now, NOON + now, waiting, drained)
            due_at = peer.due(now, NOON + now)
            if isinstance(verdict, Close):
                said.append((look, verdict.code))
                break
            if verdict is SEND_PING:
                said.append((look, "ping"))
                peer.ping_sent(now)
                due_at = peer.due(now, NOON + now)
        told.append(said)
    assert told[0] == told[1]


def limited(rate: float = 1.0, burst: int = 2) -> Connection:
    bucket = Bucket(0.0, rate=rate, burst=burst)
    return Connection(0.0, heartbeat=None, pong_timeout=10, slow_timeout=10, buckets=[bucket])


def test_frames_above_the_rate_are_not_handled_and_at_last_end_it() -> None:
    made = limited()
    assert [made.frame(0.0) for _ in range(2)] == [None, None]
    for _ in range(MAX_REFUSED - 1):
        assert made.frame(0.0) == TooFast(1.0)
    verdict = made.frame(0.0)
    assert isinstance(verdict, Close) and verdict.code == CloseCode.RATE_LIMIT


def test_whoever_slows_down_when_told_may_go_on_for_ever() -> None:
    made = limited()
    for second in range(1, 1_000):
        verdicts = [made.frame(float(second)) for _ in range(2)]
        assert not any(isinstance(verdict, Close) for verdict in verdicts)


def test_without_a_bucket_any_number() -> None:
    made = connection()
    assert all(made.frame(0.0) is None for _ in range(10_000))


def test_the_round_trip_is_that_of_the_last_ping_that_was_answered() -> None:
    peer = connection()
    found = [peer.round_trip]
    peer.pong(20)  # nobody asked
    found.append(peer.round_trip)
    peer.ping_sent(25)
    for now in (25.25, 30):
        peer.pong(now)
        found.append(peer.round_trip)
    assert found == [None, None, 0.25, 0.25]
    peer.ping_sent(50)
    peer.hold(50.5)
    peer.release(58.5)
    peer.pong(59)
    assert peer.round_trip == 1.0, "without the time for which it was not read"


def test_for_how_long_nothing_was_taken() -> None:
    peer = connection()
    assert peer.stalled_for(5) == 0
    peer.stalled(5, 100)
    assert peer.stalled_for(7) == 2
    peer.tick(8, 0, waiting=10, drained=101)
    assert peer.stalled_for(9) == 1
    peer.tick(10, 0, waiting=0, drained=111)
    assert peer.stalled_for(11) == 0
