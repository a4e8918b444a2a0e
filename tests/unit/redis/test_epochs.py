"""Sentinels that lag are told by the number of their last fail-over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sockets.redis import epochs as module
from sockets.redis.epochs import Epochs


def test_a_lower_number_is_an_old_one() -> None:
    epochs = Epochs()
    assert [epochs.is_current(one) for one in (0, 3, 2, 3, 4, 3)] == [
        *(True, True, False),
        *(True, True, False),
    ]


def test_sentinels_that_were_set_up_anew_are_believed_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    epochs = Epochs()
    assert epochs.is_current(7)
    now += module.KEPT - 1
    assert not epochs.is_current(0) and epochs.is_current(7)
    now += module.KEPT - 1
    assert not epochs.is_current(0), "one of them has said 7 not long ago"
    now += 1
    assert epochs.is_current(0) and epochs.is_current(1) and not epochs.is_current(0)


def test_what_redis_py_refuses_is_not_noted() -> None:
    """It does not take a primary that is down; and some proxies name no epoch."""
    sentinels: Any = SimpleNamespace(check_master_state=lambda state, service: state["good"])
    epochs = Epochs()
    epochs.rule(sentinels)
    check = sentinels.check_master_state
    assert not check({"good": False, "config-epoch": 9}, "m")
    assert check({"good": True, "config-epoch": 1}, "m")
    assert not check({"good": True, "config-epoch": 0}, "m")
    assert check({"good": True}, "m")
