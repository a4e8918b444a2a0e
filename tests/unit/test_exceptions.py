"""The error tree: one root, a close code and a status for each, the drawing kept true."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import sockets
from sockets import exceptions as e
from sockets.codes import CloseCode, ErrorCode
from sockets.types import PoolLoad


def tree() -> set[type[e.GatewayError]]:
    found = {e.GatewayError}
    while more := {sub for one in found for sub in one.__subclasses__()} - found:
        found |= more
    return {one for one in found if one.__module__.startswith("sockets")}


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (e.GatewayError, 4004, 500),
        (e.BadRequest, 4500, 400),
        (e.Unauthorized, 4501, 401),
        (e.Forbidden, 4502, 403),
        (e.TryAgainLater, 1013, 503),
        (e.ShuttingDown, 1012, 503),
        (e.BadFrame, 4500, 400),
        (e.InvalidMessage, 4004, 422),
        (e.MessageTooLarge, 4004, 413),
        (e.NoWorkerAvailable, 1013, 503),
        (e.GatewayUnavailable, 1013, 503),
        (e.GatewayUnreachable, 4004, 503),
    ],
)
def test_what_each_closes_and_answers_with(
    error: type[e.GatewayError], code: int, status: int
) -> None:
    assert (error.close_code, error.http_status) == (code, status)


def test_every_error_of_ours_is_drawn_in_the_tree() -> None:
    for module in pkgutil.walk_packages(sockets.__path__, "sockets."):
        # The last are the settings of another process.
        elsewhere = ("sockets.server", "sockets.management", "sockets.testing.live_settings")
        if not module.name.startswith(elsewhere):
            importlib.import_module(module.name)
    drawing = inspect.getdoc(e) or ""
    for error in tree():
        assert error.__name__ in drawing, f"{error.__module__}.{error.__name__} is not drawn"
        assert inspect.getdoc(error), error


def test_what_the_caller_did_wrong_is_also_a_value_error() -> None:
    assert issubclass(e.InvalidMessage, ValueError)
    assert not issubclass(e.GatewayUnavailable, ValueError)


def test_a_bad_frame_carries_its_answer() -> None:
    error = e.BadFrame(ErrorCode.BAD_JSON, "why", ref=0)
    assert (error.code, str(error), error.ref) == ("bad_json", "why", 0)
    assert e.BadFrame(ErrorCode.BAD_JSON, "why").ref is None


def test_unavailable_says_what_is_known() -> None:
    error = e.GatewayUnavailable("away", outcome="unknown", id="X")
    assert (str(error), error.outcome, error.id) == ("away", "unknown", "X")
    assert e.GatewayUnavailable("away").outcome == "nothing"


def test_unreachable_says_what_to_do() -> None:
    assert "REDIS_URL" in str(e.GatewayUnreachable())


def test_close_codes_of_errors_are_close_codes() -> None:
    assert all(isinstance(error.close_code, CloseCode) for error in tree())


P, Q = PoolLoad("p", 2, 5, 5), PoolLoad("q", 1, 4, 3)


@pytest.mark.parametrize(
    ("pools", "asked", "text"),
    [
        ([], 0, "no worker of pool 'p' is connected"),
        (
            [Q],
            0,
            "no worker of pool 'p' is connected; other pools: q (1 workers, 3 of 4 taken)",
        ),
        ([P], 0, "pool 'p' is full: 5 of 5 places taken"),
        (
            [P, Q],
            0,
            "pool 'p' is full: 5 of 5 places taken; other pools: q (1 workers, 3 of 4 taken)",
        ),
        ([P], 2, "pool 'p': none of 2 workers asked accepted the task"),
        ([], 1, "pool 'p': none of 1 workers asked accepted the task"),
    ],
)
def test_no_worker_says_which_pools_there_are_and_how_full(
    pools: list[PoolLoad], asked: int, text: str
) -> None:
    error = e.NoWorkerAvailable("p", pools, asked)
    assert str(error) == text
    assert (error.pool, error.pools, error.asked) == ("p", tuple(pools), asked)


def test_so_many_pools_are_named_and_no_more() -> None:
    many = [PoolLoad(f"q{n:02}", 1, 1, 1) for n in range(10)]
    assert str(e.NoWorkerAvailable("p", many)).endswith("q09 (1 workers, 1 of 1 taken)")
    more = str(e.NoWorkerAvailable("p", [*many, PoolLoad("q10", 1, 1, 1)]))
    assert more.endswith("q09 (1 workers, 1 of 1 taken), …") and "q10" not in more
