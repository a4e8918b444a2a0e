"""What presence costs in Redis: `python -m bench.presence`.

The backend itself on one Valkey, with its own calls and no sockets: CPU of this process and of
Valkey (user + system, from /proc) for 10,000 sessions. Beside it, in the same run, the least that
leases could cost: one `SET key value PX lease` a session, in pipelines of the same length. Take the
ratios: what is paid for fencing, states, replacing and events.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from bench.delivery import cpu
from sockets.base.ids import new_id
from sockets.presence.base import Limit
from sockets.presence.redis import RedisPresence
from sockets.presence.scripts import PresenceCalls
from sockets.redis import BATCH, Keys, close, connect
from sockets.streams.known import Known
from sockets.streams.redis import RedisStreams, StreamCalls
from sockets.types import Kind, SessionInfo
from tests.support.valkey import Server

SESSIONS = int(os.environ.get("SESSIONS", "10000"))
LEASE = 300.0


async def none() -> float:
    return 0.0


def infos(users: int) -> list[SessionInfo]:
    return [
        SessionInfo(
            new_id(),
            Kind.CLIENT,
            f"user-{n % users}",
            new_id(),
            "a",
            time.time(),
            "10.0.0.1:50000",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36",
        )
        for n in range(SESSIONS)
    ]


class Meter:
    """Says what a piece of work cost, a session."""

    def __init__(self, server: Server) -> None:
        assert server.process is not None
        self._pid = server.process.pid

    async def __call__(self, what: str, work: Callable[[], Awaitable[object]], count: int) -> None:
        mine, theirs, began = time.process_time(), cpu(self._pid), time.perf_counter()
        await work()
        took = time.perf_counter() - began
        mine, theirs = time.process_time() - mine, cpu(self._pid) - theirs
        print(
            f"{what:36} {count:6}: node {mine * 1e3:5.0f} ms, Valkey {theirs * 1e3:4.0f} ms; one: "
            f"{mine / count * 1e6:4.0f} + {theirs / count * 1e6:3.0f} us; {count / took:6.0f}/s"
        )


async def main() -> None:
    server = Server()
    client = connect(server.url)
    meter = Meter(server)
    try:
        for users, named in ((SESSIONS, "one a user"), (SESSIONS // 2, "two a user")):
            await measure(client, meter, infos(users), named)
    finally:
        await close(client)
        server.stop()


async def measure(client: object, meter: Meter, many: list[SessionInfo], named: str) -> None:
    keys = Keys(f"b{new_id()}")
    calls = PresenceCalls(keys, lease=LEASE, grace=10.0, limit=Limit())
    presence = RedisPresence(client, calls, warm=none)  # type: ignore[arg-type]
    streams = RedisStreams(
        client,  # type: ignore[arg-type]
        StreamCalls(
            keys,
            size=1000,
            ttl=3600,
            record_ttl=3600,
            idempotency_ttl=60,
            durable=False,
        ),
    )
    users = list(dict.fromkeys(info.user for info in many))
    print(f"{len(many)} sessions, {named}")

    async def floor() -> None:
        for start in range(0, len(many), BATCH):
            pipe = client.pipeline(transaction=False)  # type: ignore[attr-defined]
            for info in many[start : start + BATCH]:
                pipe.set(f"floor:{info.id}", "1", px=30_000)
            await pipe.execute()

    async def opened() -> None:
        limit = asyncio.Semaphore(16)

        async def one(info: SessionInfo) -> None:
            async with limit:
                effects = (await presence.register(info, "a:1")).effects
                if effects.changes:
                    await presence.announced(effects.changes)

        await asyncio.gather(*map(one, many))

    async def asked() -> None:
        for user in users[:2000]:
            await presence.is_online(user)

    async def closed() -> None:
        limit = asyncio.Semaphore(16)

        async def one(info: SessionInfo) -> None:
            async with limit:
                await presence.release(info, "a:1")

        await asyncio.gather(*map(one, many))

    await meter("open: register, tell, note it", opened, len(many))
    await meter("the floor: SET … PX", floor, len(many))
    await meter("renewal", lambda: presence.renew(many, "a:1"), len(many))
    heads = {user: Known(head) for user, head in (await streams.heads(users)).items()}
    comparing = "comparing the streams, beside it"
    await meter(comparing, lambda: streams.heads(users, heads), len(users))
    await meter("is_online, one after the other", asked, min(2000, len(users)))
    await meter("presence of all in one question", lambda: presence.look_at(users), len(users))
    await meter("close: release", closed, len(many))
    await meter("settle: everybody in grace", lambda: presence.settle(users, "a:1"), len(users))


if __name__ == "__main__":
    asyncio.run(main())
