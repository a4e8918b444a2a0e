"""Redis' errors as ours: what was refused, in our words, and whether it may have been done.

What Redis itself says goes into the log (`detail`), never to a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from weakref import WeakMethod

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from sockets.exceptions import GatewayUnavailable

FAILURES = (RedisError, RedisClusterException, OSError)
"""What a call may raise. redis-py's own root does not have all of them: a Cluster with no node left
is something else."""

PARTLY = "PARTLY"
"""How the error of a script begins that was refused after it had written something."""

AWAY = "Redis cannot be reached"
SILENT = "Redis does not answer"
FULL = "Redis is out of memory"
REPLICA = "Redis is a replica and takes no writes"
DISK = "Redis cannot write to its disk"
RIGHTS = "Redis denies the gateway a right that it needs"
LOADING = "Redis is still loading its data"
NO_PRIMARY = "Redis has lost its primary"
LOGIN = "Redis refuses the password"
CLUSTER = "a part of the Redis Cluster is down"
REFUSED = "Redis refuses a command"

_BY_CODE = {
    "OOM": FULL,
    "READONLY": REPLICA,
    "MISCONF": DISK,
    "NOPERM": RIGHTS,
    "LOADING": LOADING,
    "MASTERDOWN": NO_PRIMARY,
    "NOAUTH": LOGIN,
    "WRONGPASS": LOGIN,
    "CLUSTERDOWN": CLUSTER,
}


class NotConnected(ConnectionError):
    """There was no connection to send the command over."""


class Attempt:
    """What is known of one call of ours, however often redis-py repeated it.

    `perhaps_done`: a command was written whose answer never came, or a part of the call was done.
    """

    __slots__ = ("perhaps_done",)

    def __init__(self) -> None:
        self.perhaps_done = False


_current: ContextVar[Attempt | None] = ContextVar("gateway_redis_attempt", default=None)


def perhaps_done() -> None:
    """Note that the call under way may have been done in part, whatever becomes of the rest."""
    if (attempt := _current.get()) is not None:
        attempt.perhaps_done = True


_listeners: list[WeakMethod[Callable[[], None]]] = []


def listen_to_failures(listener: Callable[[], None]) -> None:
    """Call this bound method, in any thread, whenever a call has failed."""
    _listeners[:] = [known for known in _listeners if known() is not None]
    _listeners.append(WeakMethod(listener))


def words_for(error: BaseException) -> str:
    """Why Redis did not do it: one of the texts above."""
    if isinstance(error, NotConnected):
        return _why_not_connected(error)
    if isinstance(error, BusyLoadingError):
        return LOADING
    if isinstance(error, MasterDownError):
        return NO_PRIMARY
    if isinstance(error, ClusterDownError | RedisClusterException):
        return CLUSTER
    if isinstance(error, AuthenticationError):
        return LOGIN
    if isinstance(error, ResponseError):
        return _words_for_refusal(error)
    return SILENT


def is_of_its_keys(error: object) -> bool:
    """Return whether a call failed for what is in its keys, as where another program wrote there:
    calls for others do not."""
    return (
        isinstance(error, ResponseError)
        and not isinstance(error, ClusterDownError)
        and words_for(error) == REFUSED
    )


def _words_for_refusal(error: ResponseError) -> str:
    text = str(error).removeprefix(PARTLY).lstrip()
    code = getattr(error, "status_code", None) or text.partition(" ")[0]
    if "ACL failure" in text or "has no permissions" in text:
        return RIGHTS  # within a script, older servers say it without its code
    return _BY_CODE.get(code) or _BY_CODE.get(text.partition(" ")[0], REFUSED)


def _why_not_connected(error: NotConnected) -> str:
    cause = error.__cause__
    if isinstance(cause, AuthenticationError | BusyLoadingError | MasterDownError):
        return words_for(cause)
    return AWAY


@contextmanager
def translated(id: str = "", *, writes: bool = False, begun: bool = False) -> Iterator[None]:
    """Raise Redis' errors as GatewayUnavailable.

    `writes`: what is asked changes something. Then the outcome is "unknown" where an answer was
    lost on the way, and `id` is what makes repeating it safe. `begun`: a part of it is done.
    """
    attempt = Attempt()
    attempt.perhaps_done = begun
    before = _current.set(attempt)
    try:
        yield
    except FAILURES as error:
        for known in _listeners:
            if (listener := known()) is not None:
                listener()
        perhaps = attempt.perhaps_done or str(error).startswith(PARTLY)
        raise GatewayUnavailable(
            words_for(error),
            outcome="unknown" if writes and perhaps else "nothing",
            id=id,
            detail=f"{type(error).__name__}: {error}",
        ) from error
    finally:
        _current.reset(before)
