"""Two nodes that do nothing by themselves, on one state, and sessions of theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from sockets.conf import Conf
from sockets.delivery.hub import LocalSession
from sockets.node.node import Node
from sockets.sessions.lifecycle import Sessions
from tests.support.doubles import (
    WELCOME,
    MovedClock,
    RecordingRecorder,
    StillNode,
    local_session,
    still_node,
)


@dataclass
class Pair:
    """`here` is asked; `there` answers too."""

    here: StillNode
    there: Node

    @property
    def clock(self) -> MovedClock:
        return self.here.clock

    async def open_there(self, user: str = "42", **given: Any) -> LocalSession:
        return await opened(self.there.sessions, user, node="there", **given)


async def opened(sessions: Sessions, user: str, **given: Any) -> LocalSession:
    session = local_session(user, **given)
    done = await sessions.open_client(session, None)
    await sessions.welcome(session, done, WELCOME)
    return session


@pytest.fixture
async def here() -> StillNode:
    return await still_node()


@pytest.fixture
async def pair(here: StillNode) -> AsyncIterator[Pair]:
    there = Node(
        replace(here.conf, node_name="there"),
        state=here.state,
        clock=here.clock,
        wall=here.clock,
        recorder=RecordingRecorder(),
    )
    await there.bus.listen()
    await there.registration.begin()
    yield Pair(here, there)


def conf(**given: Any) -> Conf:
    return Conf(node_name="here", **given)
