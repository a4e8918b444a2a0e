"""The loop that the calls of a process without sockets share."""

from __future__ import annotations

from typing import Any

import pytest

from sockets.api import remote
from sockets.api.remote import Remote
from sockets.conf import Conf
from sockets.exceptions import GatewayUnavailable


def test_a_loop_that_does_not_begin_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []

    def never(main: Any, name: str) -> None:
        begun.append(name)

    monkeypatch.setattr(remote, "run_in_thread", never)
    monkeypatch.setattr(remote, "START_TIMEOUT", 0.01)
    found = Remote(Conf(redis_url="redis://127.0.0.1:1"))
    for _ in range(2):
        with pytest.raises(GatewayUnavailable, match="did not begin") as caught:
            found.call(lambda core: core.nodes.all())
        assert caught.value.outcome == "nothing"
    assert begun == ["gateway-remote"] * 2, "the next call tries again"
