"""Carrying a call of the Python API to who can do it: the node of this process, or Redis."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from django.core.exceptions import SynchronousOnlyOperation

from sockets.api import outbox
from sockets.api.calls import CALLS, Call, call_id
from sockets.api.elsewhere import elsewhere
from sockets.api.remote import remote, remote_core
from sockets.base.ids import new_id
from sockets.exceptions import GatewayUnavailable, GatewayUnreachable
from sockets.node.core import Core
from sockets.node.current import current_node
from sockets.node.threads import require_fair_loop, runs_a_loop

CALL_TIMEOUT = 5.0
"""Seconds that a call waits for the loop of another thread."""

P = ParamSpec("P")
T = TypeVar("T")


async def at_node(
    call: Callable[[Core], Coroutine[Any, Any, T]], patience: float | None = None
) -> T:
    """Await `call` where it belongs. Raises GatewayUnreachable, GatewayUnavailable; RuntimeError on
    an event loop that greenlets cannot have."""
    node = current_node()
    if node is None and outbox.in_use():
        return await call(outbox.CORE)
    here = remote_core() if node is None else node
    if here is not None and here.loop is asyncio.get_running_loop():
        return await call(here)
    require_fair_loop()
    # The call begins with a copy of this context: it uses the id that an error would name.
    id = call_id.get() or new_id()
    before = call_id.set(id)
    try:
        if node is None:
            future = await asyncio.to_thread(_begin, node, call)  # starting a remote blocks
        else:
            future = _begin(node, call)
    finally:
        call_id.reset(before)
    seconds = CALL_TIMEOUT if patience is None else patience
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
    except TimeoutError:
        raise _no_answer(id, seconds) from None


def begin(
    call: Callable[[Core], Coroutine[Any, Any, T]],
) -> concurrent.futures.Future[T]:
    """Start `call` where it belongs, and wait for nothing. It awaits functions of the API alone.
    Raises GatewayUnreachable, GatewayUnavailable."""
    node = current_node()
    if node is None and elsewhere() is not None:
        return _beside(call)
    return _begin(node, call)


def _beside(
    call: Callable[[Core], Coroutine[Any, Any, T]],
) -> concurrent.futures.Future[T]:
    """Run `call` on a loop of its own, in a thread of its own: what it awaits finds its way."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(asyncio.run(call(outbox.CORE)))
        except BaseException as error:
            future.set_exception(error)

    context = copy_context()
    threading.Thread(target=context.run, args=(run,), name="gateway-call", daemon=True).start()
    return future


def _begin(
    node: Core | None, call: Callable[[Core], Coroutine[Any, Any, T]]
) -> concurrent.futures.Future[T]:
    """Start `call` where it belongs; the loop's task begins with a copy of the caller's context."""
    if node is None:
        return remote().call(call)
    if node.loop.is_closed():
        raise GatewayUnreachable
    return asyncio.run_coroutine_threadsafe(call(node), node.loop)


def _no_answer(id: str, patience: float) -> GatewayUnavailable:
    text = f"the gateway did not answer in {patience:g} s"
    return GatewayUnavailable(text, outcome="unknown", id=id)


def register(twin: Callable[..., Any], patience: Callable[..., float]) -> Call:
    """Let an async function of the API be called from other processes. Returns how."""
    call = Call(twin.__name__.removeprefix("a"), twin, patience)
    CALLS[call.name] = call
    return call


Native = Callable[..., T]
"""Does in the caller's thread what its twin does: takes SyncBackends and the twin's arguments."""


def sync_face(
    twin: Callable[P, Coroutine[Any, Any, T]],
    native: Native[T] | None = None,
    *,
    patience: Callable[P, float] = lambda *_, **__: CALL_TIMEOUT,
) -> Callable[P, T]:
    """Return the sync face of an async function: no event loop is made for a call.

    In the gateway's process its node does it; in another one `native` does, straight to Redis,
    or else the loop that all such calls share. `patience`: seconds to wait for that, by arguments.
    A twin that has `put` gives its arguments a plain form: that is done in the caller's thread.
    """
    name = register(twin, patience).name
    takes, put = signature(twin), getattr(twin, "put", None)
    plain: Callable[..., Coroutine[Any, Any, T]] = getattr(twin, "plain", twin)
    sends = name.startswith(("notify", "assign"))

    @wraps(twin)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if runs_a_loop():
            raise SynchronousOnlyOperation(
                f"{name}() blocks, and this thread runs an event loop: "
                f"use `await {twin.__name__}(…)`"
            )
        if put is None:
            bound = takes.bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
        else:
            given = put(*args, **kwargs)
        node = current_node()
        id = str(kwargs.get("task_id") or (new_id() if sends else ""))
        if node is None and (way := elsewhere()) is not None:
            done: T = way.call(CALLS[name], given, id)
            return done
        if native is not None and node is None:
            return native(remote().sync, **given)
        before = call_id.set(id or None)
        try:
            future = _begin(node, lambda _: plain(**given))
        finally:
            call_id.reset(before)
        try:
            return future.result(seconds := patience(*args, **kwargs))
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise _no_answer(id, seconds) from None

    call.__name__ = call.__qualname__ = name
    return call
