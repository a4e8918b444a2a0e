"""`manage.py forget_user`: meant, and told what is gone and what stays."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sockets.api.ledger import digest_of
from sockets.base import audit
from sockets.deliveries import Forgotten
from sockets.exceptions import GatewayUnavailable
from sockets.management.commands import forget_user as command


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("forget_user", *arguments, stdout=out)
    return out.getvalue()


def test_it_has_to_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "forget_user", lambda user: pytest.fail("it was not meant"))
    with pytest.raises(CommandError, match="--yes"):
        run("42")


@pytest.mark.parametrize("stays", [False, True])
def test_it_tells_what_is_gone_and_what_stays(monkeypatch: pytest.MonkeyPatch, stays: bool) -> None:
    asked: list[Any] = []

    def forget(user: str) -> Forgotten:
        asked.append((user, audit.actor.get()))
        return Forgotten(2, 1, 30, 4, state=True, rows=9, blocked=stays, revoked=stays)

    monkeypatch.setattr(command, "forget_user", forget)
    told = run("42", "--yes")
    assert asked == [("42", "command")] and audit.actor.get() == ""
    assert "2 sessions closed, 1 not confirmed" in told
    assert "30 messages, 4 clients in the ledger, the presence state, 9 rows" in told
    assert ("stays: the block" in told) is ("stays: revocations" in told) is stays
    assert digest_of("42") in told


def test_what_failed_may_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(user: str) -> None:
        raise GatewayUnavailable("Redis cannot be reached")

    monkeypatch.setattr(command, "forget_user", fail)
    with pytest.raises(CommandError, match="Redis cannot be reached; repeat it"):
        run("42", "--yes")
