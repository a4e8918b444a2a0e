"""Server frames, judged by another implementation of RFC 6455."""

from __future__ import annotations

import pytest
from websockets.frames import Frame as Parsed
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

from sockets.protocol.frames import Frame, text_frame


def parsed(wire: bytes) -> Parsed:
    """The one frame that a client reads from `wire`."""
    client = Protocol(Side.CLIENT, max_size=None)
    client.receive_data(wire)
    (frame,) = client.events_received()
    assert isinstance(frame, Parsed)
    assert client.parser_exc is None
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
    assert (frame.opcode, frame.fin, frame.data) == (Opcode.TEXT, True, payload)
    assert not (frame.rsv1 or frame.rsv2 or frame.rsv3)


def test_frames_in_a_row_stay_apart() -> None:
    sizes = [0, 125, 126, 65_536, 3]
    client = Protocol(Side.CLIENT, max_size=None)
    client.receive_data(b"".join(text_frame(b"x" * size) for size in sizes))
    assert [len(event.data) for event in client.events_received()] == sizes  # type: ignore[union-attr]


def test_a_frame_has_both_forms_and_makes_each_once() -> None:
    frame = Frame('{"한":"🙂"}'.encode())
    assert parsed(frame.wire).data == frame.payload
    assert frame.text == '{"한":"🙂"}'
    assert frame.wire is frame.wire
    assert frame.text is frame.text


def test_the_length_of_a_frame_is_its_payloads_in_bytes() -> None:
    assert len(Frame("한".encode())) == 3
