"""`manage.py drain`: until when it waits."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from sockets.management.commands import drain
from sockets.types import NodeInfo


@pytest.mark.parametrize("timeout", ["-1", "nan"])
def test_a_timeout_that_is_none(timeout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "nodes", pytest.fail)
    with pytest.raises(CommandError, match="at least 0"):
        call_command("drain", "--node", "a", f"--timeout={timeout}")


def test_a_drained_node_that_is_started_again_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its supervisor is quick: no look at the nodes finds none of that name."""
    first = NodeInfo("a:1", "a", 7, "h", "0.1", 1000.0, "ready", clients=2)
    again = NodeInfo("a:3", "a", 8, "h", "0.1", 1005.0, "ready", clients=5)
    reborn = NodeInfo("a:2", "a", 7, "h", "0.1", 1000.0, "draining", clients=1)
    answers = iter([[first], [first], [reborn], [again], [again]])
    monkeypatch.setattr(drain, "POLL", 0.0)
    monkeypatch.setattr(drain, "nodes", lambda: next(answers))
    monkeypatch.setattr(drain, "drain_node", lambda name: True)
    out = StringIO()
    call_command("drain", "--node", "a", stdout=out)
    assert out.getvalue().splitlines()[1:] == [
        "2 sessions left",
        "1 sessions left",
        "node a is gone",
    ]
