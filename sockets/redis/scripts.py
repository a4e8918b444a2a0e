"""Lua scripts: one call is one step, that happens whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from redis import Redis as SyncRedis
from redis import RedisCluster as SyncRedisCluster
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import NoScriptError, ReadOnlyError, TimeoutError

from sockets.redis.errors import FAILURES, perhaps_done

T = TypeVar("T")

BATCH = 500
"""Calls in one round trip."""

AT_ONCE = 50
"""Users in one call of a script that looks at many: the server does nothing else meanwhile."""

SILENT = 5.0
"""Seconds for which a shard that said nothing is not waited for by the next batch as well."""


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items, BATCH at a time."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


Call = tuple[Sequence[str], Sequence[Any]]
"""The keys and the arguments of one call of a script."""


def _lua(package: str, *names: str) -> Iterator[str]:
    folder = files(package) / "lua"
    return ((folder / f"{name}.lua").read_text("utf-8") for name in names)


class Script:
    """A Lua script of a package; sent whole only to a server that does not know it.

    Where it is refused after it has written something, its error begins with PARTLY; but not one
    that is only `asks`, of which nobody wants to know whether it was done.
    """

    def __init__(self, package: str, *names: str, asks: bool = False) -> None:
        body = "\n".join(_lua(package, *names))
        self._text = body if asks else self.guarded(body)
        self._sha = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    @staticmethod
    def guarded(body: str) -> str:
        """Return a script that does what `body` does; its errors show whether it had written."""
        guard, end = _lua("sockets.redis", "guard", "guard_end")
        return "\n".join((guard, body, end))

    async def run(self, client: Redis, call: Call) -> Any:
        """Run the script once. Raises what redis-py raises, as all of these do."""
        keys, args = call
        try:
            return await client.evalsha(self._sha, len(keys), *keys, *args)  # type: ignore[misc]
        except NoScriptError:
            return await client.eval(self._text, len(keys), *keys, *args)  # type: ignore[misc]

    def run_sync(self, client: SyncRedis, call: Call) -> Any:
        """Do as `run`, for threads."""
        keys, args = call
        try:
            return client.evalsha(self._sha, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self._text, len(keys), *keys, *args)

    async def run_each(self, client: Redis, calls: Sequence[Call]) -> list[Any]:
        """Do as `run_many`, with the errors that it would raise in the place of their answers."""
        try:
            if not is_cluster(client):
                return await self._answers(client, calls)
        except FAILURES as error:
            return [error] * len(calls)
        answers: list[Any] = []
        failed = _silent_of(client)  # a shard that is away is waited for once
        for call in calls:
            shard = _shard(client, call)
            if shard not in failed:
                try:
                    answers.append(await self.run(client, call))
                    continue
                except FAILURES as error:
                    failed[shard] = error
                    _note_silence(client, shard, error)
            answers.append(failed[shard])
        return answers

    def run_each_sync(self, client: SyncRedis, calls: Sequence[Call]) -> list[Any]:
        """Do as `run_each`, for threads."""
        try:
            if not is_cluster(client):
                return self._answers_sync(client, calls)
        except FAILURES as error:
            return [error] * len(calls)
        answers: list[Any] = []
        failed = _silent_of(client)
        for call in calls:
            shard = _shard(client, call)
            if shard not in failed:
                try:
                    answers.append(self.run_sync(client, call))
                    continue
                except FAILURES as error:
                    failed[shard] = error
                    _note_silence(client, shard, error)
            answers.append(failed[shard])
        return answers

    async def run_many(self, client: Redis, calls: Sequence[Call]) -> list[Any]:
        """Many calls in one round trip, each a step of its own; on a Cluster one by one.

        Raises the first error, and notes it where other calls were done.
        """
        if is_cluster(client):
            # Not side by side: redis-py's client loses connections then.
            answers: list[Any] = []
            for call in calls:
                with _after(answers):
                    answers.append(await self.run(client, call))
            return answers
        return _raised(await self._answers(client, calls))

    async def _answers(self, client: Redis, calls: Sequence[Call]) -> list[Any]:
        """The answers of one server, and errors in their places."""
        answers = await self._queued(client, calls).execute(raise_on_error=False)
        if _unknown(answers):
            # Some may have been done: their repetition is known by its id.
            await client.script_load(self._text)
            answers = await self._queued(client, calls).execute(raise_on_error=False)
        if refused := _refused_by_replica(answers):
            again = [calls[index] for index in refused]
            with _after(_done(answers)):
                found = await self._queued(client, again).execute(raise_on_error=False)
            _put(answers, refused, found)
        return list(answers)

    def run_many_sync(self, client: SyncRedis, calls: Sequence[Call]) -> list[Any]:
        """Do as `run_many`, for threads."""
        if is_cluster(client):
            answers: list[Any] = []
            for call in calls:
                with _after(answers):
                    answers.append(self.run_sync(client, call))
            return answers
        return _raised(self._answers_sync(client, calls))

    def _answers_sync(self, client: SyncRedis, calls: Sequence[Call]) -> list[Any]:
        answers = self._queued(client, calls).execute(raise_on_error=False)
        if _unknown(answers):
            client.script_load(self._text)
            answers = self._queued(client, calls).execute(raise_on_error=False)
        if refused := _refused_by_replica(answers):
            again = [calls[index] for index in refused]
            with _after(_done(answers)):
                found = self._queued(client, again).execute(raise_on_error=False)
            _put(answers, refused, found)
        return list(answers)

    def _queued(self, client: Any, calls: Sequence[Call]) -> Any:
        pipe = client.pipeline(transaction=False)
        for keys, args in calls:
            pipe.evalsha(self._sha, len(keys), *keys, *args)
        return pipe


def is_cluster(client: object) -> bool:
    """Return whether keys of a client are on several servers, so that no script has all of them."""
    return isinstance(client, RedisCluster | SyncRedisCluster)


def _shard(client: Any, call: Call) -> object:
    """Return the name of the server that a call to a Cluster goes to; None: not known now."""
    try:
        return client.get_node_from_key(call[0][0]).name
    except (*FAILURES, AttributeError):
        return None


_silent: WeakKeyDictionary[Any, dict[object, tuple[float, Exception]]] = WeakKeyDictionary()
"""By client: the shards that said nothing, until when that counts, and how they did it."""


def _silent_of(client: Any) -> dict[object, Exception]:
    now = time.monotonic()
    known = list(_silent.get(client, {}).items())
    return {shard: error for shard, (until, error) in known if now < until}


def _note_silence(client: Any, shard: object, error: Exception) -> None:
    """Note that a shard did not answer; one that refuses costs no time, and is asked again."""
    if isinstance(error, TimeoutError) and shard is not None:
        _silent.setdefault(client, {})[shard] = time.monotonic() + SILENT, error


def _unknown(answers: Sequence[Any]) -> bool:
    return any(isinstance(answer, NoScriptError) for answer in answers)


def _refused_by_replica(answers: Sequence[Any]) -> list[int]:
    return [index for index, answer in enumerate(answers) if isinstance(answer, ReadOnlyError)]


def _put(answers: list[Any], places: Sequence[int], found: Sequence[Any]) -> None:
    for index, answer in zip(places, found, strict=True):
        answers[index] = answer


def _done(answers: Sequence[Any]) -> list[Any]:
    return [answer for answer in answers if not isinstance(answer, Exception)]


@contextmanager
def _after(done: Sequence[Any]) -> Iterator[None]:
    """Note of a failure in here that it was not all: the calls of `done` came before it."""
    try:
        yield
    except FAILURES:
        if done:
            perhaps_done()
        raise


def _raised(answers: Sequence[Any]) -> list[Any]:
    with _after(_done(answers)):
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
    return list(answers)
