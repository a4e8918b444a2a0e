"""What a token may say beside who somebody is, for who makes one and for who checks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sockets.base.ids import MAX_PROOF_ID, is_proof_id
from sockets.exceptions import Unauthorized
from sockets.protocol.values import MAX_DEPTH, is_deep, write

MAX_TOKEN: Final = 8_192
"""Characters."""

MAX_INFO: Final = 1_024
"""Bytes of JSON that presence shows of a session."""


def check_meta(meta: Any) -> Any:
    """Return what Django code is given. Raises Unauthorized for NaN and its like, which are no
    JSON."""
    if meta is None:
        return None
    try:
        write(meta)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise Unauthorized("token: meta is no JSON") from None
    return meta


def check_info(info: Any, whose: str) -> Any:
    """Return what presence shows of a session. Raises Unauthorized where it is too large."""
    if info is None:
        return None
    try:
        size = len(write(info))
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise Unauthorized(f"{whose}: info cannot be shown") from None
    if is_deep(info):
        raise Unauthorized(f"{whose}: info is nested more than {MAX_DEPTH} deep")
    if size > MAX_INFO:
        raise Unauthorized(f"{whose}: info has more than {MAX_INFO} bytes")
    return info


def proof_id_in(claims: Mapping[str, Any], name: str) -> str:
    """Return the id of the login (`sid`) or the token (`jti`), "" for none. Raises Unauthorized."""
    value = claims.get(name, "")
    if value != "" and not is_proof_id(value):
        raise Unauthorized(f"token: {name} must be a string of at most {MAX_PROOF_ID} characters")
    return str(value)
