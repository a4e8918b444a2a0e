"""JSON text to structs and back, with every way of being wrong turned into one error.

Deep nesting raises RecursionError in msgspec, half of a surrogate pair DecodeError or
UnicodeEncodeError (ValueErrors): that is JSON all the same, and `grammar` finds whose answer it is.
"""

from __future__ import annotations

import json
import re
from math import isinf
from typing import Any, Final, get_args

import msgspec
from msgspec import Raw

from sockets.codes import ErrorCode
from sockets.exceptions import BadFrame
from sockets.protocol.depth import require_shallow
from sockets.protocol.frames import Frame
from sockets.protocol.grammar import read
from sockets.protocol.messages import (
    ClientMessage,
    WorkerMessage,
)

_encoder = msgspec.json.Encoder()
_client: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_worker: msgspec.json.Decoder[WorkerMessage] = msgspec.json.Decoder(WorkerMessage)
_BROKEN = (ValueError, RecursionError)

LARGE_NUMBER: Final = rb"(?:\A|[\[:,\s])-?[0-9][0-9.]*(?:[eE]\+?[0-9]{3}|[0-9]{199})"
"""How a number begins that may be infinite. Most data is told by one look for it."""

_DOUBTFUL = re.compile(LARGE_NUMBER)


def _tags(union: Any) -> frozenset[str]:
    return frozenset(struct.__struct_config__.tag for struct in get_args(union))


_CLIENT_TAGS, _WORKER_TAGS = _tags(ClientMessage), _tags(WorkerMessage)


def decode_client(text: str, *, explained: bool = True) -> ClientMessage:
    """Decode one frame of a client. Raises BadFrame.

    `explained`: with the `ref` and the reason, for which a frame that is no message is read once
    more, and more slowly.
    """
    try:
        message = _client.decode(text)
        require_shallow(text)
    except _BROKEN as error:
        raise _explain(text, error, _CLIENT_TAGS, explained) from None
    _require_numbers(message)
    return message


def decode_worker(text: str, *, explained: bool = True) -> WorkerMessage:
    """Decode one frame of a worker, as `decode_client`. Raises BadFrame."""
    try:
        message = _worker.decode(text)
        require_shallow(text)
    except _BROKEN as error:
        raise _explain(text, error, _WORKER_TAGS, explained) from None
    _require_numbers(message)
    return message


def _explain(text: str, error: Exception, tags: frozenset[str], explained: bool) -> BadFrame:
    """Why a frame was refused, with the `ref` of its top level if it is JSON and has one."""
    is_shape = isinstance(error, msgspec.ValidationError)
    shape = read(text) if explained else None
    if shape is None:
        code = ErrorCode.BAD_MESSAGE if is_shape else ErrorCode.BAD_JSON
        return BadFrame(code, f"not valid JSON: {error}")
    code, why = ErrorCode.BAD_MESSAGE, _why(error)
    if not shape.type:
        why = f"`type` is missing; expected an object with a string `type` ({why})"
    elif shape.type not in tags:
        known = ", ".join(sorted(tags))
        code, why = ErrorCode.UNKNOWN_TYPE, f"unknown type {shape.type[:64]!r}; known: {known}"
    return BadFrame(code, why, shape.ref, is_json=True)


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, msgspec.ValidationError | OverflowingNumber):
        return str(error)
    return "a text has half of a surrogate pair, as a cut within an emoji leaves it"


def _require_numbers(message: Any) -> None:
    """Raises BadFrame for data that is passed on as it is and has a number that no float holds."""
    data = getattr(message, "data", None)
    if isinstance(data, Raw) and (why := infinite_in(data)):
        ref = None if message.ref is msgspec.UNSET else message.ref
        raise BadFrame(ErrorCode.BAD_MESSAGE, why, ref, is_json=True)


def infinite_in(raw: Raw | bytes) -> str:
    """Why a number of this JSON text cannot be read: it is larger than all floats; "" if none is.

    1e999 is JSON, and its reader makes Infinity of it, which is none: nobody could write it again.
    """
    written = bytes(raw)
    if _DOUBTFUL.search(written) is None:
        return ""
    try:
        json.loads(written, parse_int=_finite, parse_float=_finite)
    except (OverflowingNumber, RecursionError) as error:
        return _why(error)
    except ValueError:
        return ""  # no JSON at all, which is another error
    return ""


class OverflowingNumber(ValueError):
    """A number that is larger than all floats."""


def _finite(text: str) -> None:
    if isinf(float(text)):
        raise OverflowingNumber(f"data has a number that is none: {text[:32]} is infinite")


def encode(message: msgspec.Struct) -> Frame:
    """Encode a frame of ours."""
    return Frame(_encoder.encode(message))


def to_json(value: object) -> bytes:
    """Return a value as JSON, such as the `Body` that `message_frame` completes.

    Raises TypeError, ValueError or RecursionError when it has no JSON form.
    """
    return _encoder.encode(value)


def from_json(raw: Raw | bytes) -> Any:
    """Return the value of a peer's raw JSON. Raises BadFrame."""
    try:
        if why := infinite_in(raw):
            raise OverflowingNumber(why)
        found = msgspec.json.decode(raw)
        require_shallow(bytes(raw))
        return found
    except _BROKEN as error:
        is_json = read(bytes(raw).decode("utf-8", "replace")) is not None
        code = ErrorCode.BAD_MESSAGE if is_json else ErrorCode.BAD_JSON
        why = _why(error) if is_json else str(error)
        raise BadFrame(code, f"data cannot be read: {why}", is_json=is_json) from None


def message_frame(
    body: bytes, *, offset: int | None = None, prev: int | None = None, missed: int = 0
) -> Frame:
    """Return a `message`: in front of the ready body what differs from session to session."""
    head = b'{"type":"message",'
    if offset is not None:
        head += b'"offset":%d,' % offset
    if prev is not None:
        head += b'"prev":%d,' % prev
    if missed:
        head += b'"missed":%d,' % missed
    return Frame(head + body[1:])
