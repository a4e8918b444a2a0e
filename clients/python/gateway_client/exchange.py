"""One request and its repetitions, without any I/O: what to send, how long to wait, what to raise.

A call (`calls.py`) is a generator that yields requests and takes responses. `steps` adds the
repetitions that are safe. Whoever runs it does the I/O: `client.py`, once in threads and once on an
event loop.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from gateway_client import errors
from gateway_client.errors import GatewayError, TooManyRequests, Unavailable
from gateway_client.models import PoolLoad, WrongMember

T = TypeVar("T")

RECEIPTS = 290.0
"""Seconds for which the gateway knows an idempotency key (5 minutes), less a margin."""


@dataclass(frozen=True)
class Request:
    """One HTTP request. `path`: under `/api/v1/`, percent-encoded.

    `repeatable`: doing it twice has the effect and the answer of doing it once. `patience`: seconds
    that the gateway may need beyond what an answer usually takes.
    """

    method: str
    path: str
    body: bytes | None = None
    params: Mapping[str, str | int | list[str]] = field(default_factory=dict)
    idempotency_key: str | None = None
    repeatable: bool = True
    patience: float = 0.0


@dataclass(frozen=True)
class Response:
    """What came back. `headers`: with names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Call = Generator[Request, Response, T]
"""What a call asks for, and at last its result."""

Steps = Generator["Request | float", "Response | Unavailable | None", T]
"""The same with repetitions: a number is seconds to wait, an Unavailable a fault of the line."""


@dataclass(frozen=True)
class Retries:
    """How often, and after which pauses. `most`: repetitions of one request; 0 for none.

    `longest`: seconds; where the gateway asks for more, the error is raised instead.
    """

    most: int = 2
    first: float = 0.2
    longest: float = 30.0
    clock: Callable[[], float] = time.monotonic

    def pause(self, number: int, request: Request, error: GatewayError, began: float) -> float:
        """Return how long to wait before the repetition `number` (1, 2 …). Raises the error."""
        safe = error.outcome == "nothing" or request.repeatable
        if number > self.most or not safe or isinstance(error, errors.UnexpectedAnswer):
            raise error
        backoff: float = self.first * 2**number * random.uniform(0.5, 1.0)
        pause = (error.retry_after or 0.0) + backoff
        if pause > self.longest or self.clock() - began + pause > RECEIPTS:
            raise error
        return pause


def steps(call: Call[T], retries: Retries) -> Steps[T]:
    """Do a call, its requests repeated where that is safe."""
    try:
        request = next(call)
        while True:
            try:
                response = yield from _answered(request, retries)
            except GatewayError as error:
                request = call.throw(error)
            else:
                request = call.send(response)
    except StopIteration as end:
        result: T = end.value
        return result


def _answered(request: Request, retries: Retries) -> Steps[Response]:
    """Return the response that is no error. Raises GatewayError."""
    began, number = retries.clock(), 0
    while True:
        try:
            answer = yield request
            if isinstance(answer, Response) and answer.status < 300:
                return answer
            raise error_of(answer) if isinstance(answer, Response) else answer or AssertionError
        except (Unavailable, TooManyRequests) as error:
            number += 1
            pause = retries.pause(number, request, error, began)
        yield pause


class _Problem(msgspec.Struct):
    """RFC 9457. Members beyond `detail` come with the codes that they are for."""

    detail: str = ""
    code: str = ""
    outcome: str = ""
    retry_after: float | None = None
    errors: tuple[WrongMember, ...] = ()
    pools: tuple[PoolLoad, ...] = ()


_BY_STATUS: dict[int, type[GatewayError]] = {
    400: errors.InvalidRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.InvalidRequest,
    409: errors.TaskIdTaken,
    413: errors.TooLarge,
    422: errors.InvalidRequest,
    429: errors.TooManyRequests,
    431: errors.InvalidRequest,
}


def error_of(response: Response) -> GatewayError:
    """Return the error that a response of 300 or more stands for."""
    retry_after = _seconds(response.headers.get("retry-after", ""))
    try:
        problem = msgspec.json.decode(response.body, type=_Problem)
    except (ValueError, RecursionError):
        text = f"HTTP {response.status}, and no answer of the gateway's: check the URL"
        kind = _BY_STATUS.get(response.status, errors.UnexpectedAnswer)
        if response.status in (502, 503, 504):  # of a proxy before it
            text, kind = f"HTTP {response.status} from before the gateway", Unavailable
        outcome: errors.Outcome = "unknown" if issubclass(kind, Unavailable) else "nothing"
        return kind(text, outcome=outcome, retry_after=retry_after)
    return _of_problem(response.status, problem, retry_after)


def _of_problem(status: int, problem: _Problem, retry_after: float | None) -> GatewayError:
    kind = _BY_STATUS.get(status, Unavailable)
    if problem.code == "no_worker_available":
        kind = errors.NoWorkerAvailable
    if kind is errors.TaskIdTaken and problem.code != "task_id_taken":
        kind = errors.TaskNotRunning
    known = status == 503 and problem.outcome != "unknown"
    error = kind(
        problem.detail or f"HTTP {status} {problem.code}",
        outcome="nothing" if known or kind is not Unavailable else "unknown",
        code=problem.code,
        retry_after=problem.retry_after if problem.retry_after is not None else retry_after,
    )
    if isinstance(error, errors.InvalidRequest):
        error.errors = problem.errors
    if isinstance(error, errors.NoWorkerAvailable):
        error.pools = problem.pools
    return error


def _seconds(header: str) -> float | None:
    """Return what Retry-After says in seconds; None for a date, which nobody here sends."""
    return float(header) if header.isascii() and header.isdigit() and len(header) < 10 else None
