"""All that is kept of a user is removed; each step may be repeated, and so may the whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sockets.codes import CloseCode
from sockets.deliveries import Forgotten
from sockets.ledger.base import Ledger
from sockets.presence.base import Presence
from sockets.sessions.control import Control
from sockets.streams.base import Streams

REASON = "what was kept of this user is removed"


class Forgetting:
    """Belongs to one event loop.

    `clear`: has all nodes forget what operators were shown of a user.
    `settling`: seconds until the nodes have written the rows of sessions that are closed now.
    """

    def __init__(
        self,
        *,
        presence: Presence,
        streams: Streams,
        ledger: Ledger,
        control: Control,
        clear: Callable[[str], Awaitable[None]],
        settling: float,
    ) -> None:
        self._presence = presence
        self._streams = streams
        self._ledger = ledger
        self._control = control
        self._clear = clear
        self._settling = settling

    async def forget(self, user: str, progress: dict[str, int] | None = None) -> Forgotten:
        """Close the user's sessions, then remove what is kept. Raises GatewayUnavailable: what was
        done until then stays done, and repeating it does the rest.

        Whoever connects again meanwhile begins afresh. `progress`: is told what is done, by the
        names of Forgotten.
        """
        code = CloseCode.DISCONNECTED
        done: dict[str, int] = {} if progress is None else progress
        ended = (await self._presence.end(user, code, REASON)).ended
        before = await self._presence.now()  # who comes from now on is somebody new
        closed = await self._control.close(ended, code, REASON)
        done |= {"closed": closed.closed, "unconfirmed": closed.unconfirmed}
        await self._clear(user)
        done["messages"] = await self._streams.erase(user)
        done["clients"] = await self._ledger.erase(user, before)
        erased = await self._presence.erase(user)
        # Also rows of sessions that ended by themselves, or at a call before, may be on their way.
        await asyncio.sleep(self._settling)
        done["rows"] = await self._control.remove_rows(user, before)
        return Forgotten(**done, state=erased.state, blocked=erased.blocked, revoked=erased.revoked)
