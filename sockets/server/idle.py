"""Kept HTTP connections without a request: there is a bound on their number.

Each costs a descriptor for as long as its peer likes. When there is no space for one more, the one
that has been idle longest goes: it has nothing under way, and its peer opens another when it needs
one. A crowd that comes from one address closes its own.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

SHARES = 4
"""One address has at most this part of the places."""


class IdleConnections:
    """Connections without a request, the longest idle first. `most` of them; 0: any number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._share = max(1, most // SHARES)
        self._all: OrderedDict[Any, str] = OrderedDict()
        self._by_address: dict[str, OrderedDict[Any, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, channel: object) -> bool:
        return channel in self._all

    def enter(self, channel: Any, address: str) -> Any:
        """Let the connection wait for another request. Returns the one that has to go for it, taken
        out already, or None.

        `address`: "" is not known, or a proxy's, and has no share.
        """
        if not self._most:
            return None
        self.leave(channel)
        own = self._by_address.setdefault(address, OrderedDict())
        self._all[channel] = address
        own[channel] = None
        if address and len(own) > self._share:
            oldest = next(iter(own))
        elif len(self._all) > self._most:
            oldest = next(iter(self._all))
        else:
            return None
        self.leave(oldest)
        return oldest

    def leave(self, channel: Any) -> None:
        """Take the connection out: it has a request, or is gone."""
        address = self._all.pop(channel, None)
        if address is None:
            return
        own = self._by_address[address]
        del own[channel]
        if not own:
            del self._by_address[address]
