"""Calls from every place that Django code runs in: loops, threads, no gateway at all."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from sockets import api
from sockets.api import carry as calls
from sockets.exceptions import (
    GatewayUnavailable,
    GatewayUnreachable,
    InvalidMessage,
)
from sockets.node.node import Node
from tests.support.doubles import (
    outbox_of,
    running_node,
)
from tests.unit.api.conftest import ARGUMENTS, TWINS, accepting_worker, client


@pytest.mark.parametrize("name", TWINS)
async def test_on_the_thread_of_a_loop_it_names_the_twin(node: Node, name: str) -> None:
    with pytest.raises(SynchronousOnlyOperation) as caught:
        getattr(api, name)(*ARGUMENTS[name])
    assert f"{name}() blocks" in str(caught.value) and f"await a{name}(" in str(caught.value)


@pytest.mark.parametrize("name", TWINS)
async def test_in_a_thread_it_does_what_the_twin_does(node: Node, name: str) -> None:
    await client(node)
    await accepting_worker(node)
    asynchronous = await getattr(api, f"a{name}")(*ARGUMENTS[name])
    synchronous = await asyncio.to_thread(getattr(api, name), *ARGUMENTS[name])
    if name in ("is_online", "sessions_of", "stream_position"):
        assert synchronous == asynchronous
    assert type(synchronous) is type(asynchronous)


async def test_asgirefs_bridges_work_both_ways(node: Node) -> None:
    one = await client(node)
    await sync_to_async(api.notify_user)("42", "from a view")

    def view() -> None:
        async_to_sync(api.anotify_user)("42", "from async_to_sync")

    await asyncio.to_thread(view)
    assert outbox_of(one).events == ["from a view", "from async_to_sync"]


async def test_threads_at_once_all_arrive(node: Node) -> None:
    one = await client(node)
    calls = [asyncio.to_thread(api.notify_user, "42", f"e{n}") for n in range(20)]
    receipts = await asyncio.gather(*calls)
    assert sorted(receipt.offset or 0 for receipt in receipts) == list(range(1, 21))
    assert [frame["offset"] for frame in outbox_of(one).frames] == list(range(1, 21))


async def test_the_async_form_on_another_loop(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await client(node)
    threads: list[threading.Thread] = []
    append = node.streams.append

    async def noting(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return await append(*args)

    monkeypatch.setattr(node.streams, "append", noting)

    def elsewhere() -> Any:
        return asyncio.run(api.anotify_user("42", "e", {"n": 1}))

    receipt = await asyncio.to_thread(elsewhere)
    assert receipt.offset == 1 and outbox_of(one).events == ["e"]
    assert threads == [threading.current_thread()], "the node's own loop did it"


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_the_caller_did_wrong_comes_back_to_it(node: Node, elsewhere: bool) -> None:
    def call() -> None:
        if elsewhere:
            asyncio.run(api.anotify_user("", "e"))
        else:
            api.notify_user("", "e")

    with pytest.raises(InvalidMessage, match="user id"):
        await asyncio.to_thread(call)


@pytest.mark.usefixtures("no_node")
def test_without_a_gateway_the_remedy_is_told_and_nothing_is_left() -> None:
    with warnings.catch_warnings(record=True) as unawaited:
        warnings.simplefilter("always")
        for name in TWINS:
            sync, twin = getattr(api, name), getattr(api, f"a{name}")
            with pytest.raises(GatewayUnreachable, match="REDIS_URL"):
                sync(*ARGUMENTS[name])
            with pytest.raises(GatewayUnreachable, match="REDIS_URL"):
                asyncio.run(twin(*ARGUMENTS[name]))
        gc.collect()
    assert [str(one.message) for one in unawaited] == []


def test_a_gateway_that_does_not_answer_leaves_it_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its loop is busy (here: not running). What was asked may yet happen, so the id is told."""
    monkeypatch.setattr(calls, "CALL_TIMEOUT", 0.05)
    loop = asyncio.new_event_loop()
    node = running_node(monkeypatch, tmp_path)
    loop.run_until_complete(node.__aenter__())
    try:
        with pytest.raises(GatewayUnavailable) as caught:
            api.notify_user("42", "e")
        assert caught.value.outcome == "unknown"
        assert caught.value.id, "protocol.md: repeating with that id as idempotency_key is safe"
    finally:
        loop.run_until_complete(node.__aexit__(None, None, None))
        loop.close()


async def test_the_async_form_tells_the_id_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    append, late = node.streams.append, asyncio.Event()
    written: list[str] = []

    async def slow(user: str, entry: Any) -> Any:
        written.append(entry.id)
        await late.wait()
        return await append(user, entry)

    monkeypatch.setattr(node.streams, "append", slow)
    monkeypatch.setattr(calls, "CALL_TIMEOUT", 0.05)
    with pytest.raises(GatewayUnavailable) as caught:
        await asyncio.to_thread(asyncio.run, api.anotify_user("42", "e"))
    late.set()
    assert (caught.value.outcome, [caught.value.id]) == ("unknown", written)


async def test_many_users_of_an_unknown_outcome_can_be_repeated(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id that the error names must be the one that was written, for every user it reached."""
    append = node.streams.append
    late = asyncio.Event()

    async def slow(user: str, entry: Any) -> Any:
        if user == "late":
            await late.wait()
        return await append(user, entry)

    monkeypatch.setattr(node.streams, "append", slow)
    monkeypatch.setattr(calls, "CALL_TIMEOUT", 0.05)
    with pytest.raises(GatewayUnavailable) as caught:
        await asyncio.to_thread(api.notify_users, ["early", "late"], "e")
    late.set()
    again = await api.anotify_users(["early", "late"], "e", idempotency_key=caught.value.id)
    assert [receipt.offset for receipt in again] == [1, 1]
    assert again[0].duplicate
