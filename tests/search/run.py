"""Runs one schedule on real processes, and gives what it has seen."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sockets.cluster.registry import CLAIM_TTL
from tests.search import jobs
from tests.search.acts import Acts
from tests.search.audience import Tab, Visitor
from tests.search.faults import RULES, UNTIMED, May, allowed
from tests.search.oracle import Violation, is_told, judge, not_alternating
from tests.search.record import Record, Window
from tests.search.schedule import Fault, Schedule
from tests.search.senders import Door, Senders
from tests.search.stage import GRACE, LEASE, TASK_TIMEOUT, Stage
from tests.support.api_server import Request

REACH = 15.0
"""Seconds that a message may take to reach a session that is there, with nothing in its way."""
SETTLE = 40.0
"""Seconds that Sentinel gets to turn a demoted primary into a replica."""
ANNOUNCE = 45.0
"""Seconds until the end of a task is told: time-out, grace, and half a minute for a dead node's."""
LATE = frozenset(
    {
        "a message does not arrive in time",
        "a node does not become ready again",
        "messages are not taken again",
        "not welcomed at the start",
        "sessions do not come back",
    }
)
"""Notes that are about nothing but time."""
CALM = 1.0
"""Seconds without a fault between two steps."""


@dataclass
class Result:
    """Of one run."""

    violations: list[Violation]
    record: Record
    figures: dict[str, int] = field(default_factory=dict)


class Run:
    """`quick`: without visitors, tasks and probes, for a smoke test."""

    def __init__(self, schedule: Schedule, folder: Path, *, quick: bool = False) -> None:
        kinds = {fault.kind for fault in schedule.faults}
        self._schedule = schedule
        self._quick = quick
        self._folder = folder
        self._stage = Stage(
            folder, schedule.setting, clock="clock" in kinds, small="database-full" in kinds
        )
        self._record = Record()
        self._timed = "clock" not in kinds
        if not self._timed:
            self._record.windows.append(Window("a false clock", 0, UNTIMED, back=0, began=0))
        self._dice = random.Random(f"run:{schedule.seed}")
        self._tabs: list[Tab] = []
        self._visitors: list[Visitor] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._late = 0.0

    async def run(self) -> Result:
        """Start, do every step, check after each, stop, judge."""
        feeling = asyncio.create_task(self._feel_the_machine())
        async with self._stage:
            try:
                with jobs.workers(self._stage):
                    await self._play()
            finally:
                await self._end()
                feeling.cancel()
            self._record.ends = jobs.ends(self._stage)
            self._keep_logs()
        return Result(judge(self._record), self._record, self._figures())

    async def _feel_the_machine(self) -> None:
        """How late this process is called: a machine that is too busy breaks bounds of time."""
        while True:
            due = time.monotonic() + 0.1
            await asyncio.sleep(0.1)
            self._late = max(self._late, time.monotonic() - due)

    def _note(self, kind: str, text: str) -> None:
        if self._timed or kind not in LATE:
            self._record.notes.append((time.time(), kind, text))

    async def _play(self) -> None:
        stage, setting = self._stage, self._schedule.setting
        self._people()
        self._senders = Senders(stage, self._record, self._dice)
        self._acts = Acts(stage, self._tabs, self._note)
        if not await self._until(self._all_welcomed, 20):
            self._note("not welcomed at the start", self._absent())
            return
        self._go(self._senders.run())
        if not self._quick:
            self._go(jobs.assign(stage, self._senders.http, self._record, self._dice))
            self._go(jobs.ask(stage, self._senders.http, self._record, self._dice))
            for number in range(setting.nodes):
                self._go(jobs.probe(stage, self._record, number))
        for number, step in enumerate(self._schedule.steps, 1):
            await self._step(step)
            await self._check(f"after step {number}")
        await self._finish()

    def _people(self) -> None:
        setting, nodes = self._schedule.setting, self._stage.nodes
        for user in range(setting.users):
            for n in range(setting.tabs):
                node = (user + n) % setting.nodes
                self._tabs.append(Tab(f"u{user}/{n}", f"u{user}", nodes, node))
        for n in range(0 if self._quick else setting.visitors):
            self._visitors.append(Visitor(f"v{n}", f"v{n}", nodes, n % setting.nodes))
        for visitor in self._visitors[1::2]:
            visitor.heard.proxied = True
        for tab in (*self._tabs, *self._visitors):
            self._record.heard.append(tab.heard)
            self._go(tab.run())

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    # --- faults

    async def _step(self, faults: list[Fault]) -> None:
        await asyncio.gather(*(self._do(fault) for fault in faults))

    async def _do(self, fault: Fault) -> None:
        await asyncio.sleep(fault.after)
        rule = RULES[fault.kind]
        may = allowed(fault.kind, self._schedule.setting.durability)
        window = Window(fault.kind, fault.target, may, rule.back, time.time())
        self._record.windows.append(window)
        try:
            async with self._acts.act(fault):
                await asyncio.sleep(fault.seconds)
        except Exception as error:
            self._note("the search itself failed", f"{fault.kind}: {type(error).__name__}: {error}")
        window.ended = time.time()

    # --- checks

    async def _check(self, when: str) -> None:
        """All is well again, and what is sent now arrives."""
        back = max((w.back for w in self._record.windows), default=20.0)
        await self._look()
        if not await self._until(lambda: asyncio.to_thread(self._stage.store.settled), SETTLE):
            self._note("the search itself failed", f"{when}: Sentinel does not settle")
        deadline = time.time() + back
        if not await self._until(self._all_ready, deadline - time.time()):
            self._note("a node does not become ready again", f"{when}: {await self._readiness()}")
        if not await self._until(self._all_welcomed, deadline - time.time()):
            self._note("sessions do not come back", f"{when}: {self._absent()}")
        users = sorted({tab.user for tab in self._tabs})
        # The backend first: it may know of messages that no other process knows were lost.
        for door in (self._senders.python, self._senders.http):
            await asyncio.gather(*(self._mark(door, user, when, deadline) for user in users))
        await self._look()
        await asyncio.sleep(CALM)

    async def _mark(self, door: Door, user: str, when: str, deadline: float) -> None:
        call = await self._senders.marker(door, user, max(deadline, time.time() + 5))
        if call is None:
            name = type(door).__name__.lower()
            self._note("messages are not taken again", f"{when}: for {user} by {name}")
            return
        tabs = [tab for tab in self._tabs if tab.user == user]

        def reached(tab: Tab) -> bool:
            heard = tab.heard
            return any(n == call.number for _, n in heard.messages[-200:]) or any(
                at >= call.began for at in heard.told
            )

        if not await self._until(lambda: all(map(reached, tabs)), REACH):
            late = ", ".join(tab.heard.name for tab in tabs if not reached(tab))
            self._note("a message does not arrive in time", f"{when}: {call.number} at {late}")

    async def _look(self) -> None:
        """What is in the streams."""
        for user, numbers in (await asyncio.to_thread(self._stage.store.numbers)).items():
            self._record.streams.setdefault(user, set()).update(numbers)

    def _all_welcomed(self) -> bool:
        return all(tab.welcomed for tab in self._tabs)

    def _absent(self) -> str:
        return ", ".join(f"{t.heard.name} at node {t.node}" for t in self._tabs if not t.welcomed)

    async def _readiness(self) -> str:
        told = []
        for number, node in enumerate(self._stage.nodes):
            text = "no answer"
            with suppress(OSError, TimeoutError):
                status, body = await asyncio.to_thread(_readyz, node.worker_port)
                text = f"{status} {body}"
            told.append(f"node {number}: {text}")
        return "; ".join(told)

    async def _all_ready(self) -> bool:
        try:
            for node in self._stage.nodes:
                status, _ = await asyncio.to_thread(_readyz, node.worker_port)
                if status != 200:
                    return False
        except OSError:
            return False
        return True

    async def _until(self, condition: Callable[[], Any], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)

    # --- the end

    async def _finish(self) -> None:
        """Nothing new; what is under way ends; every other visitor goes."""
        for task in self._tasks[len(self._tabs) + len(self._visitors) :]:
            task.cancel()
        await self._senders.settle()
        await self._check("at the end")
        for number, visitor in enumerate(self._visitors):
            visitor.stay = number % 2 == 0
        await self._until(lambda: all(v.welcomed == v.stay for v in self._visitors), 15)
        self._record.truth = {v.user: bool(v.stay) for v in self._visitors}
        self._record.truth |= {tab.user: True for tab in self._tabs}
        # Who claims what a dead life had left, and loses the answer, keeps the others from it.
        await self._until(self._presence_is_told, LEASE + GRACE + CLAIM_TTL + 20)
        # Of tasks that the store has forgotten nobody will ever be told.
        patience = LEASE if self._record.ever(May.REWOUND) else ANNOUNCE
        await self._until(self._tasks_are_told, patience + TASK_TIMEOUT)
        self._hear()
        await self._look()

    def _hear(self) -> None:
        events: dict[tuple[str, str, float], dict[str, Any]] = {}
        for request in self._stage.api.requests:
            for event in _events(request):
                events.setdefault((event["id"], event["type"], event["at"]), event)
        self._record.events = list(events.values())

    def _presence_is_told(self) -> bool:
        self._hear()
        if any(True for _ in not_alternating(self._record)):
            return False
        return all(is_told(self._record, user) for user in self._record.truth)

    def _tasks_are_told(self) -> bool:
        told = {end["id"] for end in jobs.ends(self._stage)}
        return all(job.id in told for job in self._record.jobs if job.status == 201)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                self._note("the search itself failed", f"{type(error).__name__}: {error}")
        if hasattr(self, "_senders"):
            await self._senders.close()

    def _keep_logs(self) -> None:
        for file in sorted(self._folder.glob("*.log")):
            self._record.logs[file.name] = file.read_text(errors="replace")
        self._record.two_primaries = self._stage.store.two_primaries()
        for name, text in self._stage.store.logs().items():
            (self._folder / name).write_text(text)

    def _figures(self) -> dict[str, int]:
        record = self._record
        return {
            "steps": len(self._schedule.steps),
            "faults": sum(window.began > 0 for window in record.windows),
            "sent": len(record.calls),
            "acknowledged": sum(call.acked for call in record.calls.values()),
            "delivered": sum(len(one.messages) for one in record.heard),
            "told lost": sum(len(one.told) for one in record.heard),
            "events": len(record.events),
            "tasks": sum(job.status == 201 for job in record.jobs),
            "probes": len(record.probes),
            "ms late at most": round(self._late * 1000),
        }


def _events(request: Request) -> list[dict[str, Any]]:
    return request.events if request.line.startswith("POST") else []


def _readyz(port: int) -> tuple[int, str]:
    """By the private port: status and body. Raises OSError."""
    import http.client
    from contextlib import closing

    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=3)) as connection:
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")[:300]
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
