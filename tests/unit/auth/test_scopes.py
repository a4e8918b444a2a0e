"""What a key may do: words that are scopes, and whose tasks they hold."""

from __future__ import annotations

import pytest

from sockets.auth.scopes import ALL, MAX_SCOPES, WORKERS, may_use, parse_scopes


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ({"tasks:*"}, True),
        ({"tasks:p"}, True),
        ({"tasks:q"}, False),
        ({"tasks:pp"}, False),
        ({"notify", "presence", "admin"}, False),
        (set(), False),
        (WORKERS, True),
        (ALL, True),
    ],
)
def test_whose_tasks_a_key_may_use(scopes: frozenset[str], may: bool) -> None:
    assert may_use("p", scopes) is may


def test_scopes_are_words() -> None:
    words = ["notify", "presence", "admin", "tasks:*", "tasks:a.B-9", "notify"]
    assert parse_scopes(words) == {"notify", "presence", "admin", "tasks:*", "tasks:a.B-9"}


@pytest.mark.parametrize("word", ["", "Notify", "tasks", "tasks:", "tasks:a b", "p", "tasks:**"])
def test_another_word_is_refused_with_those_that_there_are(word: str) -> None:
    with pytest.raises(
        ValueError, match="is no scope; these are: notify, presence, messages, admin"
    ) as told:
        parse_scopes(["notify", word])
    assert len(str(told.value)) < 200


def test_a_long_word_is_not_repeated_whole() -> None:
    with pytest.raises(ValueError, match="is no scope") as told:
        parse_scopes(["x" * 10_000])
    assert len(str(told.value)) < 200


def test_none_and_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="give it one"):
        parse_scopes([])
    pools = [f"tasks:{n}" for n in range(MAX_SCOPES + 1)]
    assert len(parse_scopes(pools[1:])) == MAX_SCOPES
    with pytest.raises(ValueError, match=f"at most {MAX_SCOPES}, or tasks:"):
        parse_scopes(pools)
