"""Close codes: protocol.md section 3 as a table. Clients program against these numbers."""

from __future__ import annotations

import pytest

from sockets.codes import ABNORMAL, LOST, CloseCode, ErrorCode, should_reconnect

RECONNECT = {
    "NORMAL": 1000,
    "MESSAGE_TOO_BIG": 1009,
    "SHUTTING_DOWN": 1012,
    "TRY_AGAIN_LATER": 1013,
    "DRAINING": 4000,
    "NO_PONG": 4001,
    "SLOW_CONSUMER": 4002,
    "TOKEN_EXPIRED": 4003,
    "INTERNAL_ERROR": 4004,
}
STAY_AWAY = {
    "BAD_REQUEST": 4500,
    "UNAUTHORIZED": 4501,
    "FORBIDDEN": 4502,
    "REPLACED": 4503,
    "DISCONNECTED": 4504,
    "SESSION_LIMIT": 4505,
    "RATE_LIMIT": 4506,
    "BLOCKED": 4507,
    "REVOKED": 4508,
}


def test_the_codes_are_those_of_the_protocol() -> None:
    assert {code.name: code.value for code in CloseCode} == RECONNECT | STAY_AWAY


@pytest.mark.parametrize(
    "code",
    [
        *RECONNECT.values(),
        *(1001, 1002, 1003, 1005, ABNORMAL, 1007, 1008, 1010, 1011, 1014, 1015, 3000, 3999),
        *(LOST, 4499),
    ],
)
def test_come_back(code: int) -> None:
    assert should_reconnect(code)


@pytest.mark.parametrize("code", [*STAY_AWAY.values(), 4999])
def test_do_not_come_back(code: int) -> None:
    assert not should_reconnect(code)


def test_every_code_fits_into_a_close_frame() -> None:
    for code in CloseCode:
        assert code in (1000, 1009, 1012, 1013) or 4000 <= code < 5000  # RFC 6455 section 7.4.2


def test_what_is_only_in_the_database_is_never_sent() -> None:
    assert LOST not in list(CloseCode)
    assert ABNORMAL not in list(CloseCode)


def test_error_codes_are_names_that_programs_can_compare() -> None:
    values = [code.value for code in ErrorCode]
    assert len(set(values)) == len(values)
    assert all(value.isascii() and value.replace("_", "").islower() for value in values)
