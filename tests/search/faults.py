"""The known faults, and what each of them allows a client to see. All else is a violation."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class May(StrEnum):
    """What may be seen while a fault lasts, and for a while after it."""

    REFUSED = "refused"
    """HTTP 503, `unavailable`, `outcome: nothing`, close code 1013."""
    UNKNOWN = "unknown"
    """`outcome: unknown`, or a call that gets no answer at all."""
    CUT = "cut"
    """A client's socket ends without a close frame, or does not open."""
    CLOSED = "closed"
    """A client is sent elsewhere: 4000, 1001, 1012."""
    SILENT = "silent"
    """A client is closed for its own silence or slowness: 4001, 4002."""
    RESET = "reset"
    """`reset`, `recovered: false`."""
    OFFLINE = "offline"
    """A live user is told as offline."""
    REWOUND = "rewound"
    """What the store knew of presence and tasks is gone: generations, tasks, users of nodes."""
    UNPROVEN = "unproven"
    """1013 for a client of whom the API server is asked who it is."""
    TASK_LOST = "task lost"
    """A running task is lost, or none can be given."""


OUTAGE = frozenset({May.REFUSED, May.UNKNOWN, May.TASK_LOST})
AWAY = frozenset({May.UNKNOWN, May.CUT, May.REFUSED, May.TASK_LOST})
FORGOTTEN = OUTAGE | {May.RESET, May.REWOUND}

ONE, SENTINEL, CLUSTER = "one", "sentinel", "cluster"
ALL = frozenset({ONE, SENTINEL, CLUSTER})


@dataclass(frozen=True)
class Rule:
    """One kind of fault."""

    target: str
    """What is hit, by number: `link`, `node`, `redis`, `client`; or the whole: `api`."""
    seconds: tuple[float, float]
    """How long it lasts, at least and at most."""
    may: frozenset[May]
    back: float = 20.0
    """Seconds after its end within which everything is well again."""
    stores: frozenset[str] = ALL
    needs: frozenset[str] = field(default_factory=frozenset)
    """What a machine must be able to do (`run.abilities`)."""
    weight: int = 2
    """How often it is drawn, against the others."""


RULES: dict[str, Rule] = {
    # --- between a node and Redis
    "cut": Rule("link", (0, 3), OUTAGE, stores=frozenset({ONE}), weight=3),
    "rst": Rule("link", (0, 3), OUTAGE, stores=frozenset({ONE}), weight=4),
    "rst-storm": Rule("link", (1, 3), OUTAGE, stores=frozenset({ONE}), weight=3),
    "delay": Rule("link", (1, 5), OUTAGE, stores=frozenset({ONE})),
    "black-hole": Rule("link", (1, 9), OUTAGE | {May.OFFLINE}, stores=frozenset({ONE})),
    "kill-clients": Rule("redis", (0, 1), OUTAGE),
    # --- Redis
    "freeze-redis": Rule("redis", (1, 8), OUTAGE, stores=frozenset({ONE, CLUSTER})),
    "kill-redis": Rule("redis", (0, 6), OUTAGE, stores=frozenset({ONE, CLUSTER})),
    "rollback": Rule("redis", (1, 4), FORGOTTEN, stores=frozenset({ONE, CLUSTER}), weight=3),
    "rollback-keys": Rule("redis", (1, 4), FORGOTTEN, stores=frozenset({ONE}), weight=3),
    "fail-over": Rule("redis", (1, 3), FORGOTTEN, stores=frozenset({SENTINEL}), weight=5),
    "kill-primary": Rule("redis", (3, 6), FORGOTTEN, stores=frozenset({SENTINEL}), weight=5),
    "freeze-primary": Rule("redis", (1, 5), FORGOTTEN, stores=frozenset({SENTINEL}), weight=4),
    "oom": Rule("redis", (1, 8), OUTAGE),
    "misconf": Rule("redis", (1, 6), OUTAGE, stores=frozenset({ONE, CLUSTER})),
    "misconf-primary": Rule("redis", (1, 6), FORGOTTEN, stores=frozenset({SENTINEL})),
    "no-publish": Rule("redis", (1, 5), frozenset({May.TASK_LOST})),  # the stream is the promise
    "no-hset": Rule("redis", (1, 5), OUTAGE),
    "no-zadd": Rule("redis", (1, 5), OUTAGE),
    "no-evalsha": Rule("redis", (1, 5), OUTAGE),
    "flush": Rule("redis", (0, 0), FORGOTTEN),
    # --- nodes
    "freeze-node": Rule("node", (0.5, 8), AWAY | {May.OFFLINE, May.SILENT, May.CLOSED}),
    "kill-node": Rule("node", (0, 6), AWAY),
    "drain": Rule("node", (0, 4), AWAY | {May.CLOSED}),
    "clock": Rule(
        "node",
        (1, 6),
        frozenset(),
        stores=frozenset({ONE}),
        needs=frozenset({"faketime"}),
        weight=1,
    ),
    "files": Rule("node", (1, 5), AWAY, needs=frozenset({"prlimit"})),
    # --- the database
    "database-locked": Rule("node", (1, 8), frozenset()),
    "database-full": Rule("node", (1, 6), frozenset(), needs=frozenset({"tmpfs"})),
    # --- clients and the API server
    "client-rst": Rule("client", (0, 0), frozenset({May.CUT})),
    "client-move": Rule("client", (0, 0), frozenset({May.CUT})),
    "client-pause": Rule("client", (1, 6), frozenset({May.SILENT, May.CUT})),
    "client-storm": Rule("node", (0, 0), frozenset({May.CUT})),
    "api-errors": Rule("api", (1, 6), frozenset({May.UNPROVEN})),
    "api-redirects": Rule("api", (1, 6), frozenset({May.UNPROVEN}), weight=1),
    "api-silence": Rule("api", (1, 6), frozenset({May.UNPROVEN})),
    "api-hangs-up": Rule("api", (1, 6), frozenset({May.UNPROVEN})),
}

RESTARTS = frozenset({"kill-redis", "rollback", "kill-primary"})
"""Kinds after which a server of durability `usual` may begin new streams."""


def allowed(kind: str, durability: str) -> frozenset[May]:
    """What a fault of this kind allows, where Redis keeps this much."""
    more = {May.RESET} if durability == "usual" and kind in RESTARTS else set()
    return RULES[kind].may | more


UNTIMED = AWAY | {May.OFFLINE, May.SILENT, May.CLOSED}
"""What a false clock allows from the beginning to the end: it slows its process, and now and then
stops it for seconds, so decisions are judged and times are not."""

EXCLUSIVE = {"link": 1, "node": 1, "redis": 1, "api": 1, "client": 3}
"""How many faults of a step may hit targets of a sort at a time."""
