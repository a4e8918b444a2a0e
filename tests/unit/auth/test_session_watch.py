"""Sessions whose end nobody knows are looked at now and then."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Sequence

import pytest

from sockets.auth import session_watch
from sockets.auth.session_watch import SLICE, SessionWatch
from tests.support.doubles import until


class Line:
    """A socket that notes its end."""

    def __init__(self) -> None:
        self.closed = False
        self.ends: list[tuple[int, str]] = []

    def close(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))


class Site:
    """Knows whose sessions there are. `away`: it goes after the first one that it is asked about;
    `unsayable`: those that it says nothing about."""

    def __init__(self, **owners: str | None) -> None:
        self.owners = owners
        self.asked: list[list[str]] = []
        self.away = False
        self.unsayable: set[str] = set()

    async def __call__(self, keys: Sequence[str]) -> dict[str, str | None]:
        self.asked.append(sorted(keys))
        known = [key for key in keys if key not in self.unsayable]
        if self.away:
            known = known[: 1 if len(self.asked) == 1 else 0]
        return {key: self.owners.get(key) for key in known}


async def test_those_that_count_no_more_are_closed() -> None:
    """Rule 7."""
    site = Site(kim="42", sam="7")
    watch, lines = SessionWatch(site), [Line() for _ in range(4)]
    for line, key, user in zip(
        lines, ("kim", "kim", "sam", "ann"), ("42", "42", "8", "9"), strict=True
    ):
        watch.watch(line, key, user)
    await watch.look()
    assert site.asked == [["ann", "kim", "sam"]], "once for both of Kim's sockets"
    assert [len(line.ends) for line in lines] == [0, 0, 1, 1]
    assert lines[2].ends == [(4003, "the session has ended: sign in again")]
    site.owners["kim"] = None
    await watch.look()
    assert [len(line.ends) for line in lines] == [1, 1, 1, 1]
    await watch.look()
    assert len(site.asked) == 2, "nobody is left to ask about"


async def test_who_has_gone_or_has_another_proof_is_not_asked_about() -> None:
    site = Site()
    watch, gone, refreshed, dropped = SessionWatch(site), Line(), Line(), Line()
    for line in (gone, refreshed, dropped):
        watch.watch(line, f"of {id(line)}", "42")
    gone.closed = True
    watch.forget(refreshed)
    watch.forget(refreshed)
    del line, dropped
    gc.collect()
    await watch.look()
    assert site.asked == [] and gone.ends == refreshed.ends == []


async def test_what_cannot_be_asked_now_closes_nobody_and_ends_the_look() -> None:
    """Rule 7: a cache that is away is no session that has ended."""
    site = Site()
    site.away = True
    watch, lines = SessionWatch(site), [Line() for _ in range(4 * SLICE)]
    for number, line in enumerate(lines):
        site.owners[str(number)] = "42"
        watch.watch(line, str(number), "42")
    await watch.look()
    assert [len(some) for some in site.asked] == [SLICE, SLICE]
    assert not any(line.ends for line in lines)
    site.away = False
    await watch.look()
    assert [len(some) for some in site.asked[2:]] == [SLICE] * 4


async def test_one_that_cannot_be_asked_about_keeps_no_other_from_its_end() -> None:
    """Rule 7: a backend of the site's may raise for one user for ever."""
    site = Site()
    watch, lines = SessionWatch(site), [Line() for _ in range(3 * SLICE)]
    for number, line in enumerate(lines):
        watch.watch(line, str(number), "42")
    site.unsayable = {str(number) for number in range(0, 3 * SLICE, 3)}
    await watch.look()
    assert [len(line.ends) for line in lines] == [0, 1, 1] * SLICE


async def test_a_look_that_fails_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session_watch, "EVERY", 0.01)
    line, tried = Line(), 0

    async def owners(keys: Sequence[str]) -> dict[str, str | None]:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise RuntimeError("a backend of the site failed")
        return dict.fromkeys(keys)

    watch = SessionWatch(owners)
    watch.watch(line, "k", "42")
    running = asyncio.ensure_future(watch.run())
    await until(lambda: bool(line.ends))
    running.cancel()
    (record,) = [one for one in caplog.records if one.name == "sockets.auth.session_watch"]
    assert record.levelno == logging.ERROR and tried == 2
