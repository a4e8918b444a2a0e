"""Webhooks against a real HTTP server that answers, stalls, refuses, goes and comes back."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from sockets import __version__
from sockets.base.ids import parse_ulid
from sockets.events import webhooks
from sockets.events.webhooks import BATCH, Webhooks, _Batch
from sockets.signatures import verify
from tests.support.api_server import (
    NEVER,
    SECRET,
    ApiServer,
    Request,
    Sender,
    api_server,
    drip,
    hang_up,
    silence,
    status,
)
from tests.support.doubles import until
from tests.support.patience import PATIENCE


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with api_server() as running:
        yield running


@pytest.fixture
async def make(server: ApiServer) -> AsyncIterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def sender(*numbers: int, start: bool = True, **given: Any) -> Sender:
        new = Sender(server, **given)
        made.append(new)
        new.put(*numbers)
        if start:
            new.start()
        return new

    yield sender
    for each in made:
        await each.subject.finish(0)


Make = Callable[..., Sender]


class Moments:
    """In the place of the module `time`."""

    def __init__(self, moments: Any) -> None:
        self._moments = moments

    def time(self) -> float:
        return float(next(self._moments))

    def monotonic(self) -> float:
        return 0.0


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def dropped() -> float:
    return sample("gateway_dropped_total", what="webhook")


def outcomes(outcome: str) -> float:
    return sample("gateway_webhooks_total", outcome=outcome)


class TestRequest:
    async def test_what_is_sent(self, server: ApiServer, make: Make) -> None:
        before = outcomes("sent")
        sender = make(1, 2)
        await sender.until_settled(2)
        assert sender.settled == {1: True, 2: True}
        [request] = server.requests
        assert request.line == "POST /gateway/events HTTP/1.1"
        assert request.events[0] == {"id": 1, "type": "user_online", "user": "hidden"}
        assert request.ids == [1, 2]
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"] == f"gateway/{__version__}"
        assert parse_ulid(request.headers["gateway-delivery"])
        assert verify(SECRET, request.headers["gateway-signature"], request.body)
        assert outcomes("sent") == before + 2
        assert sample("gateway_webhooks_pending") == 0

    async def test_one_connection_serves_all_batches(self, server: ApiServer, make: Make) -> None:
        server.answer = status(200, "Set-Cookie: a=b; Path=/", body=b"x" * 1000)
        sender = make(*range(3 * BATCH))
        await sender.until_settled(3 * BATCH)
        sender.put(1000)
        await sender.until_settled(3 * BATCH + 1)
        assert [len(request.events) for request in server.requests] == [BATCH, BATCH, BATCH, 1]
        assert server.ids == [*range(3 * BATCH), 1000]
        assert len({request.headers["gateway-delivery"] for request in server.requests}) == 4
        assert server.connections == 1
        assert not any("cookie" in request.headers for request in server.requests)

    async def test_events_of_one_interval_are_one_batch(
        self, server: ApiServer, make: Make
    ) -> None:
        sender = make(1, interval=0.1)
        await asyncio.sleep(0)
        sender.put(2)
        await sender.until_settled(2)
        assert [request.ids for request in server.requests] == [[1, 2]]

    async def test_a_full_batch_does_not_wait(self, server: ApiServer, make: Make) -> None:
        sender = make(*range(BATCH), interval=NEVER)
        await sender.until_settled(BATCH)
        assert [len(request.events) for request in server.requests] == [BATCH]

    async def test_the_environments_proxy_is_not_asked(
        self, server: ApiServer, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        sender = make(1)
        await sender.until_settled(1)
        assert server.ids == [1]


class TestQueue:
    async def test_the_oldest_goes_when_it_is_full(self, server: ApiServer, make: Make) -> None:
        before = dropped()
        sender = make(1, 2, 3, 4, 5, queue_size=3, start=False)
        assert sender.settled == {1: False, 2: False}
        assert (dropped(), sender.subject.dropped) == (before + 2, 2)
        assert sample("gateway_webhooks_pending") == 3
        sender.start()
        await sender.until_settled(5)
        assert server.ids == [3, 4, 5]

    async def test_what_is_no_json_is_dropped(self, server: ApiServer, make: Make) -> None:
        before = dropped()
        sender = make()
        settled: list[bool] = []
        knot: dict[str, Any] = {}
        knot["knot"] = knot
        for event in ({"a": object()}, {"a": "\ud800"}, {"a": {(): 1}}, knot):
            sender.subject.put(event, settled.append)
        sender.subject.put({"a": object()})
        assert settled == [True] * 4, "for good: put again it would be no better"
        assert dropped() == before + 5
        sender.put(1)
        await sender.until_settled(1)
        assert server.ids == [1]

    async def test_an_event_is_what_it_was_when_it_was_put(
        self, server: ApiServer, make: Make
    ) -> None:
        sender = make()
        event = {"id": 1}
        sender.subject.put(event)
        event["id"] = 2
        await until(lambda: bool(server.requests))
        assert server.ids == [1]

    @pytest.mark.parametrize("queue_size", [1, 10])
    async def test_a_caller_that_fails_stops_nobody(
        self, make: Make, queue_size: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(taken: bool) -> None:
            raise RuntimeError(f"taken: {taken}")

        sender = make(start=False, queue_size=queue_size)
        sender.subject.put({"id": 0}, fail)
        sender.put(1)
        sender.start()
        await sender.until_settled(1)
        assert sender.settled == {1: True}
        assert f"taken: {queue_size > 1}" in caplog.text

    def test_without_a_secret_nothing_is_signed(self) -> None:
        with pytest.raises(ValueError, match="WEBHOOK_SECRET"):
            Webhooks(url="http://h", secret="", queue_size=1, interval=0, timeout=1)


class TestRetry:
    @pytest.mark.parametrize(
        "code", [500, 502, 503, 599, 408, 425, 429, 401, 403, 404, 405, 301, 302, 307, 308]
    )
    async def test_the_same_batch_again(self, server: ApiServer, make: Make, code: int) -> None:
        failed, lost = outcomes("failed"), dropped()
        server.answers = [status(code, "Location: /elsewhere")] * 3
        sender = make(1, 2)
        await until(lambda: len(server.requests) >= 2)
        sender.put(3)
        await sender.until_settled(3)
        assert sender.settled == {1: True, 2: True, 3: True}
        assert [request.ids for request in server.requests] == [*[[1, 2]] * 4, [3]]
        assert len({request.headers["gateway-delivery"] for request in server.requests}) == 2
        assert {request.line for request in server.requests} == {"POST /gateway/events HTTP/1.1"}
        assert (outcomes("failed"), dropped()) == (failed + 3, lost)

    async def test_each_attempt_is_signed_anew(
        self, server: ApiServer, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moments = iter([1000.9, 2000.9])
        monkeypatch.setattr(webhooks, "time", Moments(moments))
        server.answers = [status(500)]
        sender = make(1)
        await sender.until_settled(1)
        for request, now in zip(server.requests, (1000, 2000), strict=True):
            header = request.headers["gateway-signature"]
            assert verify(SECRET, header, request.body, now=now, tolerance=0)

    @pytest.mark.parametrize(
        "answer", [silence, hang_up, drip(b""), drip(b"HTTP/1.1 200 OK\r\nX: ")]
    )
    async def test_no_answer(self, server: ApiServer, make: Make, answer: Any) -> None:
        server.answers = [answer] * 6
        sender = make(1, timeout=0.15)
        await sender.until_settled(1)
        assert sender.settled == {1: True}
        # Once more where this process was kept from a core for as long as an answer may take.
        assert set(server.ids) == {1} and len(server.ids) >= 7

    @pytest.mark.parametrize("code", [200, 500])
    async def test_a_status_counts_though_the_body_drips(
        self, server: ApiServer, make: Make, code: int
    ) -> None:
        server.answers = [drip(b"HTTP/1.1 %d As told\r\nContent-Length: 9999\r\n\r\n" % code)]
        sender = make(1, timeout=1)
        await sender.until_settled(1)
        sender.put(2)
        await sender.until_settled(2)
        assert server.ids == ([1, 2] if code == 200 else [1, 1, 2])

    async def test_a_huge_answer_is_cut(self, server: ApiServer, make: Make) -> None:
        server.answers = [status(200, body=b"x" * (50 << 20))]
        sender = make(1)
        await sender.until_settled(1)
        await until(lambda: server.cut == 1)
        sender.put(2)
        await sender.until_settled(2)
        assert (server.ids, server.connections) == ([1, 2], 2)


class TestRefusal:
    @pytest.mark.parametrize("code", [400, 409, 410, 413, 422])
    async def test_one_event(
        self, server: ApiServer, make: Make, code: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = (outcomes("refused"), dropped(), outcomes("failed"))
        server.answers = [status(code)]
        sender = make(1)
        await sender.until_settled(1)
        sender.put(2)
        await sender.until_settled(2)
        assert sender.settled == {1: True, 2: True}, "for good: whoever put it must not do so again"
        assert server.ids == [1, 2]
        now = (outcomes("refused"), dropped(), outcomes("failed"))
        assert now == (before[0] + 1, before[1] + 1, before[2])
        assert f"HTTP {code}" in caplog.text
        assert "type 'user_online', id 1" in caplog.text
        assert "hidden" not in caplog.text

    @pytest.mark.parametrize("bad", [{1}, {10}, {4, 5}, set(range(1, 11))])
    async def test_only_what_is_refused_is_lost(
        self, server: ApiServer, make: Make, bad: set[int]
    ) -> None:
        taken: list[int] = []

        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            fine = not bad & set(request.ids)
            taken.extend(request.ids if fine else ())
            await status(200 if fine else 410)(request, writer)

        server.answer = answer
        sender = make(*range(1, 11))
        await sender.until_settled(10)
        assert sender.settled == dict.fromkeys(range(1, 11), True)
        assert taken == [number for number in range(1, 11) if number not in bad]
        deliveries = [request.headers["gateway-delivery"] for request in server.requests]
        assert len(set(deliveries)) == len(deliveries) <= 19


class TestPoison:
    """An event that the API server cannot stand: a stranger chose its user agent."""

    @pytest.mark.parametrize("bad", [{1}, {5}, {10}, {4, 5}, set(range(1, 11))])
    @pytest.mark.parametrize("code", [500, 501, 599])
    async def test_it_ends_and_the_others_arrive(
        self, server: ApiServer, make: Make, bad: set[int], code: int
    ) -> None:
        taken: list[int] = []

        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            fine = not bad & set(request.ids)
            taken.extend(request.ids if fine else ())
            await status(200 if fine else code)(request, writer)

        server.answer = answer
        sender = make(*range(1, 11))
        await until(lambda: len(server.requests) >= 1)
        sender.put(11)  # behind it
        await sender.until_settled(11)
        assert set(taken) == set(range(1, 12)) - bad
        assert sender.settled == dict.fromkeys(range(1, 12), True)
        assert taken == sorted(taken)

    async def test_one_bad_instance_of_many_costs_no_event(
        self, server: ApiServer, make: Make
    ) -> None:
        """Every second request is answered 500, whatever is in it."""

        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            await status(500 if len(server.requests) % 2 else 200)(request, writer)

        server.answer = status(500)
        sender = make(*range(1, 6))
        await until(lambda: len(server.requests) >= 12, 20)  # they are alone by now
        server.answer = answer
        sender.put(*range(6, 20))
        await sender.until_settled(19)
        assert dropped_by(sender) == 0
        assert set(server.ids) == set(range(1, 20))

    async def test_those_that_stepped_aside_count_as_those_that_wait(
        self, server: ApiServer, make: Make
    ) -> None:
        sender = make(1, 2, start=False, queue_size=3)
        aside = [_Batch([sender.subject._queue.popleft()]) for _ in range(2)]
        sender.subject._aside = aside
        sender.put(3, 4)
        assert sender.settled == {1: False}, "the oldest goes"
        assert sender.subject.pending == 3 and dropped_by(sender) == 1

    async def test_while_nothing_else_is_taken_nothing_is_lost(
        self, server: ApiServer, make: Make
    ) -> None:
        """Its database is away: that is no event's fault, however long."""
        server.answer = status(500)
        sender = make(1, 2, 3)
        await until(lambda: len(server.requests) >= 1)
        sender.put(4, 5)
        await until(lambda: len(server.requests) >= 60, 20)
        assert sender.settled == {}
        server.requests.clear()
        server.answer = status(200)
        await sender.until_settled(5)
        assert sorted(set(server.ids)) == [1, 2, 3, 4, 5] and dropped_by(sender) == 0

    @pytest.mark.parametrize("code", [502, 503, 504])
    async def test_a_server_that_is_away_makes_no_halves(
        self, server: ApiServer, make: Make, code: int
    ) -> None:
        server.answer = status(code)
        make(1, 2)
        await until(lambda: len(server.requests) >= 20, 20)
        assert {tuple(request.ids) for request in server.requests} == {(1, 2)}


def dropped_by(sender: Sender) -> int:
    return sender.subject.dropped


class TestOutage:
    async def test_gone_and_back(
        self, server: ApiServer, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "sockets.events.webhooks")
        failed = outcomes("failed")
        await server.stop()
        sender = make(1, queue_size=3)
        await until(lambda: outcomes("failed") >= failed + 3)
        sender.put(2, 3, 4, 5)
        assert sender.subject.pending == sample("gateway_webhooks_pending") == 4
        assert sender.settled == {2: False}
        await server.start()
        await sender.until_settled(5)
        assert server.ids == [1, 3, 4, 5]
        away, back = (record.getMessage() for record in caplog.records)
        assert "takes no events: ConnectError" in away
        assert "takes events again" in back
        assert "1 were dropped meanwhile" in back

    @pytest.mark.parametrize(
        ("code", "advice"),
        [(401, "WEBHOOK_SECRET"), (404, "WEBHOOK_PATH"), (405, "no POST"), (302, "redirects")],
    )
    async def test_wrong_settings_are_told_once(
        self,
        server: ApiServer,
        make: Make,
        code: int,
        advice: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        server.answers = [status(503), status(503), *[status(code)] * 3, status(503)]
        sender = make(1)
        await sender.until_settled(1)
        first, second = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
        assert "HTTP 503" in first
        assert f"HTTP {code}" in second
        assert advice in second
        assert SECRET not in caplog.text

    async def test_an_error_from_below_is_survived(
        self, server: ApiServer, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sender = make(1, start=False)
        post = sender.subject._client.stream
        errors = [UnicodeError("idna"), OSError("ssl"), RuntimeError("anyio")]

        def stream(*args: Any, **kwargs: Any) -> Any:
            if errors:
                raise errors.pop()
            return post(*args, **kwargs)

        monkeypatch.setattr(sender.subject._client, "stream", stream)
        sender.start()
        await sender.until_settled(1)
        assert sender.settled == {1: True}


class TestPauses:
    @pytest.fixture
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The pauses that are asked for, at their longest; none is made."""
        asked: list[float] = []

        async def wait(subject: Webhooks, seconds: float) -> bool:
            asked.append(seconds)
            return False

        monkeypatch.setattr(Webhooks, "_wait", wait)
        monkeypatch.setattr(random, "uniform", lambda low, high: high)
        return asked

    async def test_they_double_up_to_a_bound_and_begin_anew(
        self, server: ApiServer, make: Make, pauses: list[float]
    ) -> None:
        server.answers = [*[status(500)] * 6, status(200), status(500)]
        sender = make(1, max_backoff=5)
        await sender.until_settled(1)
        sender.put(2)
        await sender.until_settled(2)
        assert pauses == [0, 0.5, 1, 2, 4, 5, 5, 0, 0.5]

    @pytest.mark.parametrize(
        ("said", "pause"),
        [
            ("3", 3),
            ("0", 0.5),
            ("3600", 60),
            ("9" * 5000, 60),
            ("-3", 0.5),
            ("Wed, 21 Oct 2026 07:28:00 GMT", 0.5),
        ],
    )
    @pytest.mark.parametrize("code", [429, 503])
    async def test_the_server_may_say_how_long(
        self, server: ApiServer, make: Make, pauses: list[float], code: int, said: str, pause: float
    ) -> None:
        server.answers = [status(code, f"Retry-After: {said}")]
        sender = make(1, max_backoff=60)
        await sender.until_settled(1)
        assert pauses == [0, pause]

    async def test_a_very_long_outage(self, server: ApiServer, make: Make, pauses: Any) -> None:
        sender = make(1, start=False, max_backoff=60)
        sender.subject._failures = 100_000
        server.answers = [status(500)]
        sender.start()
        await sender.until_settled(1)
        assert pauses == [0, 60]


class TestFinish:
    @pytest.mark.parametrize("started", [True, False])
    async def test_what_is_left_is_sent(self, server: ApiServer, make: Make, started: bool) -> None:
        numbers = [*range(2 * BATCH + 1)]
        sender = make(*numbers, start=started, interval=30)
        await asyncio.sleep(0)
        assert await sender.subject.finish(20) == 0
        assert server.ids == numbers
        assert set(sender.settled.values()) == {True}

    async def test_run_ends(self, server: ApiServer, make: Make) -> None:
        sender = make()
        await asyncio.sleep(0)
        assert await sender.subject.finish(20) == 0
        assert sender.task is not None
        await sender.task

    @pytest.mark.parametrize("awaited", [True, False])
    async def test_after_a_cancel(self, server: ApiServer, make: Make, awaited: bool) -> None:
        server.answers = [silence]
        sender = make(1)
        await until(lambda: bool(server.requests))
        sender.put(2)
        assert sender.task is not None
        sender.task.cancel()
        if awaited:
            await asyncio.wait({sender.task})
        assert await sender.subject.finish(20) == 0
        assert server.ids == [1, 1, 2]
        first, second, _ = (request.headers["gateway-delivery"] for request in server.requests)
        assert first == second

    async def test_a_long_pause_is_cut_short_and_the_next_are_short(
        self, server: ApiServer, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(random, "uniform", lambda low, high: high)
        server.answers = [status(503), status(503)]
        sender = make(1, start=False, max_backoff=60)
        sender.subject._failures = 100
        sender.start()
        await until(lambda: sender.subject._outage is not None)
        assert await sender.subject.finish(20) == 0
        assert sender.settled == {1: True}

    @pytest.mark.parametrize("answer", [status(500), silence])
    async def test_what_cannot_be_sent_is_counted(
        self, server: ApiServer, make: Make, answer: Any
    ) -> None:
        before = dropped()
        server.answer = answer
        sender = make(1, 2)
        await until(lambda: bool(server.requests))
        sender.put(3)
        async with asyncio.timeout(PATIENCE):
            assert await sender.subject.finish(0.1) == 3
        assert sender.task is not None
        assert sender.task.done()
        assert sender.settled == {1: False, 2: False, 3: False}
        assert dropped() == before + 3
        assert sender.subject._client.is_closed
        assert sample("gateway_webhooks_pending") == 0

    async def test_afterwards_nothing_is_taken(self, server: ApiServer, make: Make) -> None:
        sender = make()
        assert await sender.subject.finish(20) == 0
        sender.put(1)
        assert sender.settled == {1: False}
        assert sender.subject.pending == 0
