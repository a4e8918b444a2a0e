"""The backend's client of the HTTP API, with two faces: `Client` blocks, `AsyncClient` is awaited.

Both have every call of `calls.py`, under its name and with its arguments.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

import httpx

from gateway_client import calls
from gateway_client.calls import Pages
from gateway_client.errors import Unavailable, Unreachable
from gateway_client.exchange import Call, Request, Response, Retries, Steps, steps

P = ParamSpec("P")
T = TypeVar("T")

_CONNECT = 3.0
"""Seconds until a connection must be there."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class _Set:
    """What both faces are made with.

    `url`: of the private port, as `http://127.0.0.1:4001`; with a path where the API is elsewhere.
    `key`: a secret of a key with the scopes that the calls need. `timeout`: seconds that an answer
    may take. `retries`: how often a request is sent again where that is safe. `connections`: at
    most so many at a time. `transport`: of httpx, for a proxy, certificates of your own or tests.
    """

    _http: Any
    _open: Any

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 10.0,
        retries: int = 2,
        connections: int = 20,
        transport: Any = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url is as http://127.0.0.1:4001, and not {url!r}")
        if parts.username or parts.password or parts.query:
            raise ValueError("url has no user, password or query: the key is an argument")
        if not key.isascii() or not key.strip():
            raise ValueError("key is empty, or no key: make one with manage.py create_key")
        path = parts.path.strip("/") or "api/v1"
        self._base = f"{parts.scheme}://{parts.netloc}/{path}/"
        self._timeout = timeout
        self._retries = Retries(most=retries)
        self._http = self._open(
            headers={"Authorization": f"Bearer {key.strip()}"},
            limits=httpx.Limits(max_connections=connections),
            transport=transport,
            trust_env=False,  # the key goes to no proxy that a variable names
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r})"

    def _sent(self, request: Request) -> dict[str, Any]:
        """Return the arguments that httpx sends a request with."""
        headers = {} if request.body is None else {"Content-Type": "application/json"}
        if request.idempotency_key is not None:
            headers["Idempotency-Key"] = request.idempotency_key
        return {
            "method": request.method,
            "url": self._base + request.path,
            "params": request.params,
            "content": request.body,
            "headers": headers,
            "timeout": httpx.Timeout(
                self._timeout + request.patience, connect=min(_CONNECT, self._timeout)
            ),
        }

    def _fault(self, error: httpx.HTTPError) -> Unavailable:
        """Return what a fault of the line is to a caller."""
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, _NOT_SENT):
            return Unreachable(f"the gateway at {self._base} cannot be reached ({what})")
        return Unavailable(f"the gateway did not answer ({what})", outcome="unknown")


def _received(response: httpx.Response) -> Response:
    return Response(response.status_code, response.headers, response.content)


def _blocking(describe: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """Make a method of a call."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._do(steps(describe(*args, **kwargs), self._retries))

    return _named(method, describe)


def _blocking_pages(
    describe: Callable[P, Pages[T]],
) -> Callable[Concatenate[Client, P], Iterator[T]]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._iterate(describe(*args, **kwargs))

    return _named(method, describe)


def _awaited(describe: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._do(steps(describe(*args, **kwargs), self._retries))

    return _named(method, describe)


def _awaited_pages(
    describe: Callable[P, Pages[T]],
) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[T]]:
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._iterate(describe(*args, **kwargs))

    return _named(method, describe)


def _named(method: T, describe: Callable[..., Any]) -> T:
    """Give a method the name, the text and the arguments of its call, for `help` and editors."""
    given = inspect.signature(describe)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    named: Any = method
    named.__name__ = named.__qualname__ = describe.__name__
    named.__doc__ = describe.__doc__
    named.__signature__ = given.replace(
        parameters=[own, *given.parameters.values()], return_annotation=inspect.Signature.empty
    )
    return method


class Client(_Set):
    """The HTTP API for plain code. Threads may share one; make it after a fork.

    `with Client(url, key) as gateway:` closes its connections, and so does `close()`.
    """

    _http: httpx.Client
    _open = httpx.Client

    notify_user = _blocking(calls.notify_user)
    notify_users = _blocking(calls.notify_users)
    notify_batch = _blocking(calls.notify_batch)
    broadcast = _blocking(calls.broadcast)
    stream_position = _blocking(calls.stream_position)
    read_stream = _blocking(calls.read_stream)
    delivery_of = _blocking(calls.delivery_of)
    explain_delivery = _blocking(calls.explain_delivery)
    ledger_of = _blocking(calls.ledger_of)
    presence_of = _blocking(calls.presence_of)
    is_online = _blocking(calls.is_online)
    presence_of_users = _blocking(calls.presence_of_users)
    nodes = _blocking(calls.nodes)
    overview = _blocking(calls.overview)
    find_live_sessions = _blocking(calls.find_live_sessions)
    session_report = _blocking(calls.session_report)
    user_report = _blocking(calls.user_report)
    refusals = _blocking(calls.refusals)
    trace_user = _blocking(calls.trace_user)
    read_trace = _blocking(calls.read_trace)
    end_trace = _blocking(calls.end_trace)
    disconnect_user = _blocking(calls.disconnect_user)
    disconnect_session = _blocking(calls.disconnect_session)
    block_user = _blocking(calls.block_user)
    unblock_user = _blocking(calls.unblock_user)
    revoke = _blocking(calls.revoke)
    forget_user = _blocking(calls.forget_user)
    assign_task = _blocking(calls.assign_task)
    task = _blocking(calls.task)
    cancel_task = _blocking(calls.cancel_task)
    workers = _blocking(calls.workers)
    release_task = _blocking(calls.release_task)
    sessions = _blocking_pages(calls.sessions)
    messages = _blocking_pages(calls.messages)

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _do(self, call: Steps[T]) -> T:
        try:
            step = next(call)
            while True:
                step = call.send(self._take(step))
        except StopIteration as end:
            result: T = end.value
            return result

    def _take(self, step: Request | float) -> Response | Unavailable | None:
        if not isinstance(step, Request):
            time.sleep(step)
            return None
        try:
            return _received(self._http.request(**self._sent(step)))
        except httpx.HTTPError as error:
            return self._fault(error)

    def _iterate(self, pages: Pages[T]) -> Iterator[T]:
        request: Request | None = pages.first
        while request is not None:
            items, request = self._do(steps(pages.page(request), self._retries))
            yield from items


class AsyncClient(_Set):
    """The HTTP API for code on an event loop; one client belongs to one loop.

    `async with AsyncClient(url, key) as gateway:` closes its connections, and so does `aclose()`.
    """

    _http: httpx.AsyncClient
    _open = httpx.AsyncClient

    notify_user = _awaited(calls.notify_user)
    notify_users = _awaited(calls.notify_users)
    notify_batch = _awaited(calls.notify_batch)
    broadcast = _awaited(calls.broadcast)
    stream_position = _awaited(calls.stream_position)
    read_stream = _awaited(calls.read_stream)
    delivery_of = _awaited(calls.delivery_of)
    explain_delivery = _awaited(calls.explain_delivery)
    ledger_of = _awaited(calls.ledger_of)
    presence_of = _awaited(calls.presence_of)
    is_online = _awaited(calls.is_online)
    presence_of_users = _awaited(calls.presence_of_users)
    nodes = _awaited(calls.nodes)
    overview = _awaited(calls.overview)
    find_live_sessions = _awaited(calls.find_live_sessions)
    session_report = _awaited(calls.session_report)
    user_report = _awaited(calls.user_report)
    refusals = _awaited(calls.refusals)
    trace_user = _awaited(calls.trace_user)
    read_trace = _awaited(calls.read_trace)
    end_trace = _awaited(calls.end_trace)
    disconnect_user = _awaited(calls.disconnect_user)
    disconnect_session = _awaited(calls.disconnect_session)
    block_user = _awaited(calls.block_user)
    unblock_user = _awaited(calls.unblock_user)
    revoke = _awaited(calls.revoke)
    forget_user = _awaited(calls.forget_user)
    assign_task = _awaited(calls.assign_task)
    task = _awaited(calls.task)
    cancel_task = _awaited(calls.cancel_task)
    workers = _awaited(calls.workers)
    release_task = _awaited(calls.release_task)
    sessions = _awaited_pages(calls.sessions)
    messages = _awaited_pages(calls.messages)

    async def aclose(self) -> None:
        """End the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _do(self, call: Steps[T]) -> T:
        try:
            step = next(call)
            while True:
                step = call.send(await self._take(step))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _take(self, step: Request | float) -> Response | Unavailable | None:
        if not isinstance(step, Request):
            await asyncio.sleep(step)
            return None
        try:
            return _received(await self._http.request(**self._sent(step)))
        except httpx.HTTPError as error:
            return self._fault(error)

    async def _iterate(self, pages: Pages[T]) -> AsyncIterator[T]:
        request: Request | None = pages.first
        while request is not None:
            items, request = await self._do(steps(pages.page(request), self._retries))
            for item in items:
                yield item
