"""The pages of the operations room that are measured, what is asked, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WEB: Final = "web"
"""The user of Redis whose commands are counted."""

LIVE, USER = "livesession", "gatewayuser"


@dataclass(frozen=True)
class Page:
    """A page. `path`: below the admin's `sockets/`; names in braces are of `web.known`, and `agent`
    is a part of every client's agent, another one each time: nodes keep what they have found."""

    title: str
    path: str


PAGES: Final = (
    Page("overview", "overview/"),
    Page("overview: JSON", "overview/data/"),
    Page("overview: JSON of the last minute", "overview/data/?after={minute_ago}"),
    Page("live sessions, newest first", f"{LIVE}/"),
    Page("live sessions: JSON", f"{LIVE}/data/"),
    Page("live sessions by agent: JSON", f"{LIVE}/data/?agent={{agent}}&order=user"),
    Page("live sessions by health: JSON", f"{LIVE}/data/?agent={{agent}}&health=lagging"),
    Page("live sessions by buffer: JSON", f"{LIVE}/data/?agent={{agent}}&order=-buffered"),
    Page("live sessions of one user: JSON", f"{LIVE}/data/?q={{user}}"),
    Page("one session", f"{LIVE}/{{session}}/change/"),
    Page("one session: JSON", f"{LIVE}/{{session}}/data/"),
    Page("one user", f"{USER}/?user={{user}}"),
    Page("one user: JSON", f"{USER}/data/?user={{user}}"),
    Page("why was this not delivered?", f"{USER}/why/?user={{user}}&what=offset&message=1"),
    Page("history, first page", "session/?state=all"),
    Page("history, a search by id", "session/?q={ended}"),
    Page("refusals", "refusal/"),
    Page("workers and tasks", "worker/"),
)


@dataclass(frozen=True)
class Cost:
    """What one request took: seconds, seconds of CPU of the web process and of all nodes, SQL
    queries, commands to Redis, bytes of the answer."""

    seconds: float
    web: float
    nodes: float
    queries: int
    commands: int
    size: int


@dataclass(frozen=True)
class Wanted:
    """What is to be done. `pids`: of the nodes; `redis`: the port; `rows`: of ended sessions;
    `requests`: for each page, `pause` seconds apart, so that none gets what one before it found;
    `tasks`: assigned before that."""

    pids: list[int]
    redis: int
    user: str
    rows: int
    requests: int
    pause: float
    tasks: int
