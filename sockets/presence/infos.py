"""What Redis keeps of a session as JSON: written, and read from the answers of the scripts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from sockets.types import Kind, Position, SessionInfo

logger = logging.getLogger(__name__)


class _Info(msgspec.Struct, omit_defaults=True):
    """The JSON of one session; its id is the field's name in the hash, its user in the key's."""

    client_id: str
    node: str
    connected_at: float
    address: str = ""
    agent: str = ""
    acked: Position | None = None
    acked_at: float | None = None
    sid: str = ""
    jti: str = ""
    issued_at: float | None = None
    info: Any = None


def sessions(kind: Kind, user: str, rows: list[bytes]) -> tuple[SessionInfo, ...]:
    """Read an answer of session, info, session, info …; oldest first."""
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return _sorted(_read(kind, user, session.decode(), info) for session, info in pairs)


def live(kind: Kind, user: str, rows: list[bytes], lease: float) -> tuple[SessionInfo, ...]:
    """Read an answer of session, end of its lease, info, …; oldest first."""
    return _sorted(
        _seen(_read(kind, user, session.decode(), info), float(end) - lease)
        for session, end, info in zip(rows[::3], rows[1::3], rows[2::3], strict=True)
    )


def _seen(info: SessionInfo | None, at: float) -> SessionInfo | None:
    """Never before it came, though a node of another version dated that by a clock of its own, or
    the store's was set back."""
    return None if info is None else replace(info, seen_at=max(at, info.connected_at))


def _sorted(found: Iterable[SessionInfo | None]) -> tuple[SessionInfo, ...]:
    known = [info for info in found if info is not None]
    return tuple(sorted(known, key=lambda info: (info.connected_at, info.id)))


def written(info: SessionInfo) -> bytes:
    """Return the JSON of a session."""
    return msgspec.json.encode(
        _Info(
            info.client_id,
            info.node,
            info.connected_at,
            info.address,
            info.agent,
            info.acked,
            info.acked_at,
            info.sid,
            info.jti,
            info.issued_at,
            info.info,
        )
    )


def _read(kind: Kind, user: str, session: str, info: bytes) -> SessionInfo | None:
    """Read the JSON of a session; None for what another program wrote there."""
    try:
        known = msgspec.json.decode(info, type=_Info)
    except msgspec.DecodeError as error:
        logger.warning("the info of session %s cannot be read: %s", session, error)
        return None
    return SessionInfo(
        id=session,
        kind=kind,
        user=user,
        client_id=known.client_id,
        node=known.node,
        connected_at=known.connected_at,
        address=known.address,
        agent=known.agent,
        acked=known.acked,
        acked_at=known.acked_at,
        sid=known.sid,
        jti=known.jti,
        issued_at=known.issued_at,
        info=known.info,
    )
