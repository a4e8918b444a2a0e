"""Server frames, judged by another implementation of RFC 6455."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as Parsed
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

from sockets.protocol.frames import PONG_SIZES, Frame, is_pong, text_frame


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


# --- a pong of a client

PONG = b'{"type":"pong"}'
SPACED = b'{"type": "pong"}'


def from_client(payload: bytes, mask: bytes = b"\x12\x00\xff\x7b", *, first: int = 0x81) -> bytes:
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes((first, 0x80 | len(payload))) + mask + masked


@given(st.binary(min_size=4, max_size=4), st.sampled_from([PONG, SPACED]))
def test_a_pong_is_known_under_any_mask(mask: bytes, text: bytes) -> None:
    wire = from_client(text, mask)
    assert len(wire) in PONG_SIZES and is_pong(wire)


@given(st.binary(min_size=21, max_size=22))
def test_other_bytes_are_no_pong(wire: bytes) -> None:
    assert not is_pong(wire)


@given(st.binary(min_size=4, max_size=4), st.integers(0, 20), st.integers(1, 255), st.booleans())
def test_a_pong_with_another_bit_is_none(
    mask: bytes, place: int, change: int, spaced: bool
) -> None:
    """Neither in the header nor in the text; another mask makes another text."""
    wire = bytearray(from_client(SPACED if spaced else PONG, mask))
    wire[place] ^= change
    assert not is_pong(bytes(wire))


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        from_client(b'{"type":"ping"}'),
        from_client(b'{"type":"pong"} '),
        from_client(PONG, first=0x82),  # binary
        from_client(PONG, first=0x01),  # of a message that goes on
        from_client(PONG, first=0x80),  # the rest of another one
        from_client(PONG, first=0xC1),  # compressed
        text_frame(PONG) + b"1234",  # not masked
        from_client(PONG)[:-1],
        from_client(PONG) + from_client(PONG),
    ],
)
def test_what_is_not_one_whole_pong(wire: bytes) -> None:
    assert not is_pong(wire)
