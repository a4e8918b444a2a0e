"""What stands in front of an outbox while somebody looks, and what it never notes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sockets.delivery.hub import LocalSession
from sockets.operations.taps import Head, look_at, tidy
from sockets.protocol.codec import message_frame
from sockets.protocol.frames import Frame
from sockets.protocol.outbox import Write
from tests.support.doubles import TricklingOutbox, local_session, outbox_of


@dataclass
class Noting:
    over: bool = False
    noted: list[tuple[bool, str, str, int, str | None]] = field(default_factory=list)

    def note(
        self, session: LocalSession, head: Head, size: int, *, inbound: bool, text: str | None
    ) -> None:
        self.noted.append((inbound, head.type, head.event, size, text))


FRAME = message_frame(b'{"id":"1","event":"e","data":7}')


def test_frames_are_noted_as_they_are_written() -> None:
    session, look = local_session(), Noting()
    outbox = outbox_of(session)
    look_at(session, look)
    assert session.outbox.write(FRAME) is Write.OK
    assert outbox.raw == [FRAME], "the same frame, not a copy"
    text = FRAME.payload.decode()
    assert look.noted == [(False, "message", "e", len(text), text)]
    assert session.outbox.flow() == outbox.flow()
    session.outbox.close(4504, "r")
    assert look.noted[-1] == (False, "close", "4504", 0, None)
    assert outbox.closed == (4504, "r")


def test_what_was_not_written_is_not_noted() -> None:
    session, look = local_session(outbox=TricklingOutbox(0)), Noting()
    look_at(session, look)
    assert session.outbox.write(FRAME) is Write.FULL and look.noted == []


def test_nothing_stands_there_when_nobody_looks() -> None:
    session, one, two = local_session(), Noting(), Noting()
    outbox = outbox_of(session)
    for look in (one, two, one):
        look_at(session, look)
    assert session.outbox is not outbox
    one.over = True
    session.outbox.write(FRAME)
    assert (len(one.noted), len(two.noted)) == (0, 1)
    two.over = True
    tidy(session)
    assert session.outbox is outbox and session.tap is None
    tidy(session)


def test_the_last_frame_takes_it_away_too() -> None:
    session, look = local_session(), Noting(over=True)
    outbox = outbox_of(session)
    look_at(session, look)
    session.outbox.write(FRAME)
    assert session.outbox is outbox and outbox.raw == [FRAME] and look.noted == []


def test_callbacks_are_those_of_the_outbox() -> None:
    session = local_session()
    outbox = outbox_of(session)
    look_at(session, Noting())
    outbox.on_drain = on_drain = lambda: None
    assert session.outbox.on_drain is on_drain
    session.outbox.on_stall = on_stall = lambda: None
    assert outbox.on_stall is on_stall
    session.outbox.abort()
    assert outbox.closed == (1006, "aborted")


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"connect","token":"s3cret"}',
        '{"token":"s3cret","type":"refresh","ref":1}',
        '{"token":"s3cret","t\\u0079pe":"refresh"}',
    ],
)
def test_frames_with_tokens_are_never_noted(text: str) -> None:
    session, look = local_session(), Noting()
    look_at(session, look)
    assert session.tap is not None
    session.tap.received(text)
    assert look.noted == []


@pytest.mark.parametrize(
    ("text", "type", "kept"),
    [
        ('{"type":"send","event":"e","data":1}', "send", True),
        ('{"type":"pong"}', "pong", True),
        ('{"type":"send","event":"e","data":{"token":"s3cret"}}', "send", False),
        ('{"type":"Refresh","token":"s3cret"}', "Refresh", False),
        ('{"type":"refresh","token":"s3cret"', "", False),
        ('{"type":7,"token":"s3cret"}', "", False),
        ("[" * 100_000, "", False),
        (None, "", False),
    ],
)
def test_the_text_is_kept_of_known_messages_only(text: str | None, type: str, kept: bool) -> None:
    session, look = local_session(), Noting()
    look_at(session, look)
    assert session.tap is not None
    session.tap.received(text)
    ((inbound, noted, _, size, told),) = look.noted
    assert (inbound, noted, size) == (True, type, len(text or ""))
    assert told == (text if kept else None)


def test_a_frame_of_another_form_is_noted_too() -> None:
    session, look = local_session(), Noting()
    look_at(session, look)
    session.outbox.write(Frame(b'{"type":"reply","ok":true}'))
    assert look.noted[0][1:4] == ("reply", "", 26)


def test_a_name_without_an_end_is_cut() -> None:
    """Else the headers of one session could be as large as 200 of the largest frames."""
    session, look = local_session(), Noting()
    look_at(session, look)
    assert session.tap is not None
    session.tap.received(f'{{"type":"{"t" * 60_000}","event":"{"e" * 60_000}"}}')
    ((_, type, event, size, _),) = look.noted
    assert (type, event, size) == ("t" * 255, "e" * 255, 120_022)
