"""Users are blocked, unblocked, and what they have proved is revoked."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from sockets.types import Disconnected
from tests.unit.admin.operations.conftest import do, page, words
from tests.unit.admin.operations.values import FixedSource


def test_a_block_says_what_it_closed(operator: Client, fixed: FixedSource) -> None:
    told = do(operator, "gatewayuser/block/", user="kim", length="3600", reason="spam")
    assert told == [
        "success: The user is blocked.",
        "success: 2 sessions were disconnected.",
        "warning: 1 session does not answer; the socket is cut soon.",
    ]
    call = next(call for call in fixed.calls if call[0] == "block_user")
    assert call[1:] == (("kim",), {"seconds": 3_600.0, "reason": "spam"}), (
        "by no clock of this host"
    )


def test_for_ever_and_nobody_there(operator: Client, fixed: FixedSource) -> None:
    fixed.answers["block_user"] = Disconnected(0)
    told = do(operator, "gatewayuser/block/", user="kim", length="", reason="")
    assert told[1] == "info: The user had no live session."
    call = next(call for call in fixed.calls if call[0] == "block_user")
    assert call[1:] == (("kim",), {"seconds": None, "reason": ""})


def test_a_length_that_was_not_offered(operator: Client, fixed: FixedSource) -> None:
    (told,) = do(operator, "gatewayuser/block/", user="kim", length="7", reason="")
    assert told.startswith("wrong: ") and not fixed.done()


def test_in_again(operator: Client, fixed: FixedSource) -> None:
    told = do(operator, "gatewayuser/unblock/", user="kim")
    assert told == ["success: The user may come in again."]
    fixed.answers["unblock_user"] = False
    told = do(operator, "gatewayuser/unblock/", user="kim")
    assert told == ["warning: The user was not blocked."]
    assert LogEntry.objects.count() == 1, "what changed nothing is no entry"


@pytest.mark.parametrize(
    ("given", "asked"),
    [({}, {}), ({"sid": "login"}, {"sid": "login"}), ({"jti": "token"}, {"jti": "token"})],
)
def test_what_counts_no_more(
    operator: Client, fixed: FixedSource, given: dict[str, str], asked: dict[str, str]
) -> None:
    assert "This concerns 1 session." in words(page(operator, "gatewayuser/revoke/", user="kim"))
    told = do(operator, "gatewayuser/revoke/", user="kim", **given)
    assert told[0].startswith("success: Revoked") and told[1].startswith("success: 1 session")
    call = next(call for call in fixed.calls if call[0] == "revoke")
    assert call[1:] == (("kim",), asked)


def test_one_thing_at_a_time(operator: Client, fixed: FixedSource) -> None:
    (told,) = do(operator, "gatewayuser/revoke/", user="kim", sid="a", jti="b")
    assert "one at a time" in told and not fixed.done()


def test_a_user_whose_id_no_database_holds_is_in_the_history(
    operator: Client, fixed: FixedSource
) -> None:
    """PostgreSQL takes no NUL in a text: the block was done, and the page an error."""
    assert do(operator, "gatewayuser/block/", user="a\0b", length="")[0].startswith("success")
    assert [call[1][0] for call in fixed.calls if call[0] == "block_user"] == ["a\0b"]
    (entry,) = LogEntry.objects.all()
    assert entry.object_id == entry.object_repr == "a\ufffdb"
