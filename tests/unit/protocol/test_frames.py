"""Server frames, judged by another implementation of RFC 6455."""

from __future__ import annotations

import pytest
from websockets.frames import OP_TEXT
from websockets.frames import Frame as Parsed
from websockets.streams import StreamReader

from sockets.protocol.frames import Frame, text_frame


def parsed(wire: bytes) -> Parsed:
    reader = StreamReader()
    reader.feed_data(wire)
    reader.feed_eof()
    parsing = Parsed.parse(reader.read_exact, mask=False, max_size=None)
    with pytest.raises(StopIteration) as done:
        while True:
            next(parsing)
    assert reader.at_eof().send(None) if not reader.buffer else not reader.buffer  # nothing is left
    frame: Parsed = done.value.value
    return frame


@pytest.mark.parametrize(
    ("size", "header"),
    [(0, 2), (1, 2), (125, 2), (126, 4), (127, 4), (65_535, 4), (65_536, 10), (1 << 20, 10)],
)
def test_every_form_of_the_length(size: int, header: int) -> None:
    payload = b"x" * size
    wire = text_frame(payload)
    assert len(wire) == header + size
    frame = parsed(wire)
    assert (frame.opcode, frame.fin, frame.data) == (OP_TEXT, True, payload)
    assert not (frame.rsv1 or frame.rsv2 or frame.rsv3)


def test_a_frame_has_both_forms_and_makes_each_once() -> None:
    frame = Frame('{"한":"🙂"}'.encode())
    assert parsed(frame.wire).data == frame.payload
    assert frame.text == '{"한":"🙂"}'
    assert frame.wire is frame.wire
    assert frame.text is frame.text


def test_the_length_of_a_frame_is_its_payloads_in_bytes() -> None:
    assert len(Frame("한".encode())) == 3
