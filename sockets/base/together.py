"""One step for many: whoever comes while one is under way is in the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Together(Generic[T]):
    """Carries out `step` for those who wait, `most` at a time. Belongs to one event loop.

    A crowd costs a few calls then, and one that comes alone waits no longer for it. What the step
    raises, all who were in it get.
    """

    def __init__(self, step: Callable[[Sequence[T]], Awaitable[None]], most: int) -> None:
        self._step = step
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether no step is under way, or about to be."""
        return self._running is None

    async def do(self, item: T) -> None:
        """Wait until the step is done for this one. It is done for who is cancelled, too."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
            self._running.add_done_callback(self._on_end)
        await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                some = self._waiting[: self._most]
                del self._waiting[: self._most]
                await self._do(some)
        finally:
            self._let_go()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if self._running is task:  # it was cancelled before it had begun
            self._let_go()

    def _let_go(self) -> None:
        self._running = None
        for _, done in self._waiting:  # some are left where this was cancelled
            done.cancel()
        self._waiting.clear()

    async def _do(self, some: Sequence[tuple[T, asyncio.Future[None]]]) -> None:
        try:
            await self._step([item for item, _ in some])
        except Exception as error:
            for _, done in some:
                if not done.done():
                    done.set_exception(error)
        except BaseException:  # cancelled, or this process ends
            for _, done in some:
                done.cancel()
            raise
        else:
            for _, done in some:
                if not done.done():
                    done.set_result(None)
