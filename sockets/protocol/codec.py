"""JSON text to structs and back, with every way of being wrong turned into one error.

Deep nesting raises RecursionError in msgspec, lone surrogates UnicodeEncodeError (a ValueError):
both are the peer's fault, not ours.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from msgspec import Raw

from sockets.codes import ErrorCode
from sockets.exceptions import BadFrame
from sockets.protocol.frames import Frame
from sockets.protocol.messages import (
    ClientMessage,
    UnknownShape,
    WorkerMessage,
)

_encoder = msgspec.json.Encoder()
_client: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_worker: msgspec.json.Decoder[WorkerMessage] = msgspec.json.Decoder(WorkerMessage)
_unknown = msgspec.json.Decoder(UnknownShape)
_BROKEN = (ValueError, RecursionError)


def _tags(union: Any) -> frozenset[str]:
    return frozenset(struct.__struct_config__.tag for struct in get_args(union))


_CLIENT_TAGS, _WORKER_TAGS = _tags(ClientMessage), _tags(WorkerMessage)


def decode_client(text: str) -> ClientMessage:
    """One frame of a client. Raises BadFrame."""
    try:
        return _client.decode(text)
    except _BROKEN as error:
        raise _explain(text, error, _CLIENT_TAGS) from None


def decode_worker(text: str) -> WorkerMessage:
    """One frame of a worker. Raises BadFrame."""
    try:
        return _worker.decode(text)
    except _BROKEN as error:
        raise _explain(text, error, _WORKER_TAGS) from None


def _explain(text: str, error: Exception, tags: frozenset[str]) -> BadFrame:
    """Why a frame was refused, with its `ref` if one can be read."""
    if isinstance(error, RecursionError):
        return BadFrame(ErrorCode.BAD_JSON, "nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        return BadFrame(ErrorCode.BAD_JSON, f"not valid JSON: {error}")
    try:
        shape = _unknown.decode(text)
    except _BROKEN:
        return BadFrame(ErrorCode.BAD_MESSAGE, f"{error}; expected an object with a string `type`")
    ref = None if shape.ref is msgspec.UNSET else shape.ref
    if not shape.type:
        return BadFrame(ErrorCode.BAD_MESSAGE, "`type` is missing", ref)
    if shape.type not in tags:
        known = ", ".join(sorted(tags))
        return BadFrame(
            ErrorCode.UNKNOWN_TYPE, f"unknown type {shape.type[:64]!r}; known: {known}", ref
        )
    return BadFrame(ErrorCode.BAD_MESSAGE, str(error), ref)


def encode(message: msgspec.Struct) -> Frame:
    """A frame of ours."""
    return Frame(_encoder.encode(message))


def to_json(value: object) -> bytes:
    """A value as JSON, such as the `Body` that `message_frame` completes.

    Raises TypeError, ValueError or RecursionError when it has no JSON form.
    """
    return _encoder.encode(value)


def from_json(raw: Raw | bytes) -> Any:
    """The value of a peer's raw JSON. Raises BadFrame."""
    try:
        return msgspec.json.decode(raw)
    except _BROKEN as error:  # 1e999 is JSON, and no float
        raise BadFrame(ErrorCode.BAD_JSON, f"data cannot be read: {error}") from None


def message_frame(
    body: bytes, *, offset: int | None = None, prev: int | None = None, missed: int = 0
) -> Frame:
    """A `message`: the ready body with the members in front that differ from session to session."""
    head = b'{"type":"message",'
    if offset is not None:
        head += b'"offset":%d,' % offset
    if prev is not None:
        head += b'"prev":%d,' % prev
    if missed:
        head += b'"missed":%d,' % missed
    return Frame(head + body[1:])
