"""Redis' errors in our words, and what they let us know: was it done or not."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions as theirs

from sockets.exceptions import GatewayUnavailable
from sockets.redis import errors
from sockets.redis.errors import (
    PARTLY,
    NotConnected,
    listen_to_failures,
    perhaps_done,
    translated,
    words_for,
)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (theirs.ConnectionError("reset"), errors.SILENT),
        (theirs.TimeoutError("slow"), errors.SILENT),
        (OSError("gone"), errors.SILENT),
        (NotConnected("refused"), errors.AWAY),
        (theirs.BusyLoadingError("loading"), errors.LOADING),
        (theirs.MasterDownError("down"), errors.NO_PRIMARY),
        (theirs.ClusterDownError("down"), errors.CLUSTER),
        (theirs.RedisClusterException("no node is left"), errors.CLUSTER),
        (theirs.AuthenticationError("no"), errors.LOGIN),
        (theirs.ResponseError("OOM command not allowed"), errors.FULL),
        (theirs.ResponseError(f"{PARTLY} OOM command not allowed"), errors.FULL),
        (theirs.ResponseError("MISCONF disk"), errors.DISK),
        (theirs.ResponseError("READONLY You can't write"), errors.REPLICA),
        (theirs.ResponseError("NOPERM this user"), errors.RIGHTS),
        (theirs.ResponseError("ERR ACL failure in script: EVAL"), errors.RIGHTS),
        (theirs.ResponseError("ERR unknown command"), errors.REFUSED),
    ],
    ids=lambda value: str(value)[:30],
)
def test_why_redis_did_not_do_it(error: Exception, words: str) -> None:
    assert words_for(error) == words


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (theirs.AuthenticationError("no"), errors.LOGIN),
        (theirs.BusyLoadingError("loading"), errors.LOADING),
        (theirs.TimeoutError("slow"), errors.AWAY),
    ],
)
def test_why_there_was_no_connection(cause: Exception, words: str) -> None:
    error = NotConnected("x")
    error.__cause__ = cause
    assert words_for(error) == words


def told(error: Exception, *, done: bool = False, **given: Any) -> GatewayUnavailable:
    with pytest.raises(GatewayUnavailable) as caught, translated("the id", **given):
        if done:
            perhaps_done()
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("given", "text", "outcome"),
    [
        ({}, "x", "nothing"),
        ({"done": True}, "x", "nothing"),  # it only asked
        ({"writes": True}, "x", "nothing"),
        ({"writes": True, "done": True}, "x", "unknown"),
        ({"writes": True, "begun": True}, "x", "unknown"),
        ({"writes": True}, f"{PARTLY} OOM", "unknown"),
        ({}, f"{PARTLY} OOM", "nothing"),
    ],
)
def test_what_is_known_of_the_outcome(given: dict[str, Any], text: str, outcome: str) -> None:
    error = told(theirs.ResponseError(text), **given)
    assert (error.outcome, error.id) == (outcome, "the id")
    assert error.detail == f"ResponseError: {text}" and text not in str(error)


def test_an_inner_call_says_nothing_of_the_outer_one() -> None:
    with pytest.raises(GatewayUnavailable) as caught, translated(writes=True):
        with translated(writes=True):
            perhaps_done()
        raise OSError
    assert caught.value.outcome == "nothing"
    with pytest.raises(GatewayUnavailable) as caught, translated(writes=True):
        with translated(writes=True):
            pass
        perhaps_done()
        raise OSError
    assert caught.value.outcome == "unknown"
    perhaps_done()  # outside of all calls it says nothing


def test_a_mistake_of_ours_stays_one() -> None:
    with pytest.raises(KeyError), translated(writes=True):
        raise KeyError


class Listener:
    def __init__(self) -> None:
        self.heard = 0

    def hear(self) -> None:
        self.heard += 1


def test_failures_are_heard_by_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_listeners", [])
    gone, one = Listener(), Listener()
    for listener in (gone, one):
        listen_to_failures(listener.hear)
    del gone, listener
    told(OSError())
    with translated():
        pass
    assert one.heard == 1
    listen_to_failures(Listener().hear)
    assert len(errors._listeners) == 2, "whoever is gone is forgotten"
