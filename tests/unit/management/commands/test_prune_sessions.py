"""Rule 16: `manage.py prune_sessions` deletes what ended long ago, and says how much."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import override_settings
from django.utils import timezone

from sockets.models import Session
from sockets.recorder import pruning

pytestmark = pytest.mark.django_db


def ended(numbers: range, days: float | None) -> None:
    """Rows of sessions that ended so long ago; None: that live."""
    now = timezone.now()
    Session.objects.bulk_create(
        Session(
            id=f"01{number:024d}",
            kind="client",
            user="42",
            client_id="C",
            node="here",
            connected_at=now - timedelta(days=400),
            disconnected_at=None if days is None else now - timedelta(days=days),
        )
        for number in numbers
    )


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("prune_sessions", *arguments, stdout=out)
    return out.getvalue().strip()


def test_by_the_setting_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 16: 90 days, unless SESSION_KEEP says otherwise; others write between two steps."""
    turns: list[float] = []
    monkeypatch.setattr("sockets.management.commands.prune_sessions.time.sleep", turns.append)
    ended(range(1_001), 91)
    ended(range(2_000, 2_003), 89)
    ended(range(3_000, 3_002), None)
    assert said() == "1001 rows of ended sessions deleted"
    assert len(turns) == 2
    assert Session.objects.count() == 5
    assert said() == "0 rows of ended sessions deleted"
    with override_settings(GATEWAY=settings.GATEWAY | {"session_keep": 88 * 86_400.0}):
        assert said() == "3 rows of ended sessions deleted"


def test_older_than_days() -> None:
    ended(range(1), 31)
    ended(range(1, 2), 29)
    ended(range(2, 3), None)
    assert said("--older-than", "30") == "1 rows of ended sessions deleted"
    assert said("--older-than=0") == "1 rows of ended sessions deleted"
    assert Session.objects.get().disconnected_at is None


def test_a_dry_run_deletes_nothing() -> None:
    ended(range(700), 91)
    ended(range(800, 801), None)
    assert said("--dry-run") == "700 rows of ended sessions would be deleted"
    assert Session.objects.count() == 701


@pytest.mark.parametrize("days", ["-1", "36501", "nan", "inf"])
def test_days_that_cannot_be_meant(days: str) -> None:
    ended(range(1), 91)
    with pytest.raises(CommandError, match="0 to 36,500"):
        said(f"--older-than={days}")
    assert Session.objects.exists()


def test_kept_for_ever_is_not_pruned_by_mistake() -> None:
    ended(range(1), 399)
    with override_settings(GATEWAY=settings.GATEWAY | {"session_keep": 0.0}):
        with pytest.raises(CommandError, match="SESSION_KEEP is 0"):
            said()
        assert Session.objects.exists()
        assert said("--older-than=90") == "1 rows of ended sessions deleted"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OperationalError("gone\nLINE 1"), "does not take it: gone; 500 rows are deleted"),
        (KeyboardInterrupt(), "stopped: 500 rows are deleted"),
    ],
)
def test_what_is_deleted_stays_so(
    error: BaseException, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(range(700), 91)
    prune: Any = pruning.prune

    def one_step(before: Any, after: Any) -> Any:
        if after is not None:
            raise error
        return prune(before, after)

    monkeypatch.setattr(pruning, "prune", one_step)
    with pytest.raises(CommandError, match=text):
        said()
    assert Session.objects.count() == 200


def test_it_says_where_no_history_is_kept() -> None:
    """Rule 16: history=False."""
    ended(range(2), 91)
    err = StringIO()
    with override_settings(GATEWAY=settings.GATEWAY | {"history": False}):
        call_command("prune_sessions", stdout=StringIO(), stderr=err)
    assert "SESSION_HISTORY is false" in err.getvalue()
    assert not Session.objects.exists()
