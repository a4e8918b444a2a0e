"""The stores that a schedule may have: one server, a Sentinel pair, a Cluster of three."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import closing, suppress
from datetime import datetime
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.search.faults import CLUSTER, SENTINEL
from tests.support.gateway import wait_for
from tests.support.valkey import Sentinel, Server

APP = "app"
PASSWORD = "app-password"
RIGHTS = ("on", f">{PASSWORD}", "~*", "&*", "+@all")
OPTIONS = (
    *("--appendonly", "yes", "--appendfsync", "always"),
    *("--enable-protected-configs", "yes", "--user", APP, *RIGHTS),
)
UNKNOWN = 1.0
"""Seconds that processes get to hear from the sentinels: they ask four times a second, one that has
nothing to do when it has."""

_ENTRY = re.compile(r"\d+:X (\d+ \w+ \d+ [0-9:.]+) [#*] (\+[a-z-]+)")
SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


def admin(server: Server) -> Redis:
    """A client with all rights, whose calls end."""
    return Redis(port=server.port, socket_timeout=5, socket_connect_timeout=5)


def ask(server: Server, *words: Any) -> Any:
    """One command."""
    with closing(admin(server)) as client:
        return client.execute_command(*words)


class Store:
    """`servers`: those that hold data; `sentinel`: who says which of them is the primary.

    `layer`: beside a Cluster, which the channel layer does not run on.
    """

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.sentinel: Sentinel | None = None
        self.layer: Server | None = None
        self.servers: list[Server] = []
        try:
            self._begin(sort)
        except BaseException:
            self.stop()
            raise

    def _begin(self, sort: str) -> None:
        options: tuple[str, ...] = OPTIONS
        if sort == CLUSTER:
            options += ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            options += ("--cluster-require-full-coverage", "no")
        for _ in range({SENTINEL: 2, CLUSTER: 3}.get(sort, 1)):
            self.servers.append(Server(*options))
        if sort == CLUSTER:
            self.layer = Server()
            self._meet()
        elif sort == SENTINEL:
            first, second = self.servers
            ask(second, "REPLICAOF", "127.0.0.1", first.port)
            wait_for(lambda: b"state=online" in first.ask(b"INFO replication"), "the replica")
            self.sentinel = Sentinel(first)
            wait_for(self._knows_replica, "Sentinel to know the replica", 30)

    def _meet(self) -> None:
        for server, (first, last) in zip(self.servers, SLOTS, strict=True):
            ask(server, "CLUSTER", "ADDSLOTSRANGE", first, last)
            ask(server, "CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)
        for server in self.servers:
            wait_for(lambda s=server: b"cluster_state:ok" in s.ask(b"CLUSTER INFO"), "the Cluster")  # type: ignore[misc]

    def _knows_replica(self) -> bool:
        assert self.sentinel is not None
        return b"slave0:" in self.sentinel.ask(b"INFO sentinel") or bool(
            ask(self.sentinel, "SENTINEL", "REPLICAS", "m")
        )

    def variables(self, port: int | None = None) -> dict[str, str]:
        """The settings of a process that uses it; `port`: of a link before the one server."""
        found = {"REDIS_URL": self.url(port)}
        return found | {"LAYER_REDIS_URL": self.layer.url} if self.layer else found

    def url(self, port: int | None = None) -> str:
        """For the gateway; `port`: of a link that stands before the one server."""
        login = f"{APP}:{PASSWORD}@"
        if self.sort == CLUSTER:
            hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
            return f"redis+cluster://{login}{hosts}"
        if self.sentinel is not None:
            return f"redis+sentinel://{login}127.0.0.1:{self.sentinel.port}/0?service=m"
        return f"redis://{login}127.0.0.1:{port or self.servers[0].port}/0"

    def primary(self) -> Server:
        """Of a Sentinel pair, by what Sentinel says now; else the first."""
        if self.sentinel is not None:
            _, port = ask(self.sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m")
            return next(server for server in self.servers if server.port == int(port))
        return self.servers[0]

    def settled(self) -> bool:
        """Whether all agree on who is the primary: the demoted one takes no writes any more."""
        if self.sentinel is None:
            return True
        with suppress(OSError, RedisError):
            return b"state=online" in self.primary().ask(b"INFO replication")
        return False

    def target(self, number: int) -> Server:
        """The server that a fault with this target hits."""
        return self.primary() if self.sentinel is not None else self.servers[number]

    def numbers(self) -> dict[str, set[int]]:
        """By user, the numbers of the messages that are in the streams now."""
        found: dict[str, set[int]] = defaultdict(set)
        for server in self.servers:
            with closing(admin(server)) as client, suppress(RedisError):
                for key in client.scan_iter("gw:{*}:stream", count=1000):
                    user = key.decode().partition("{")[2].rpartition("}")[0]
                    for entry in client.zrange(key, 0, -1):  # type: ignore[union-attr]
                        data = json.loads(entry).get("data")
                        if isinstance(data, dict) and "n" in data:
                            found[user].add(data["n"])
        return found

    def two_primaries(self) -> list[tuple[float, float]]:
        """From when until when two servers took writes and callers could not know; as Sentinel
        wrote it down, by this machine's clock."""
        if self.sentinel is None:
            return []
        promoted, found = None, []
        for line in (self.sentinel.folder / "log").read_text(errors="replace").splitlines():
            if (entry := _ENTRY.match(line)) is None:
                continue
            at = datetime.strptime(entry[1], "%d %b %Y %H:%M:%S.%f").timestamp()
            if entry[2] == "+failover-state-wait-promotion":
                promoted = at
            elif entry[2] == "+switch-master" and promoted is not None:
                found.append((promoted, at + UNKNOWN))
                promoted = None
        return found

    def logs(self) -> dict[str, str]:
        servers: list[Server] = [*self.servers, *([self.sentinel] if self.sentinel else [])]
        return {
            f"redis-{number}.log": (server.folder / "log").read_text(errors="replace")
            for number, server in enumerate(servers)
            if (server.folder / "log").exists()
        }

    def stop(self) -> None:
        for server in (self.sentinel, self.layer, *self.servers):
            if server is not None:
                server.stop()
