"""Places for those who wait for the same thing, of which one address gets only a share.

Whatever is done on behalf of strangers (a question to the API server, a look into the database of
sessions, a request) can be done only so often at once. Without shares one stranger who is slow
would take it away from all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sockets.exceptions import TryAgainLater


class Places:
    """`most` places in all, `share` of them for one address. An address "" is not known, and has
    no share of its own."""

    def __init__(self, most: int, share: int) -> None:
        self._most = most
        self._share = share
        self._taken = 0
        self._by_address: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken

    def take(self, address: str) -> bool:
        """Take a place. Returns whether there was one; then `give_back` must follow."""
        if self._taken >= self._most:
            return False
        if address and self._by_address[address] >= self._share:
            return False
        self._taken += 1
        self._by_address[address] += 1
        return True

    def give_back(self, address: str) -> None:
        """Give back a place of this address."""
        self._taken -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    @contextmanager
    def hold(self, address: str, refusal: str) -> Iterator[None]:
        """Hold a place. Raises TryAgainLater with this text where there is none."""
        if not self.take(address):
            raise TryAgainLater(refusal)
        try:
            yield
        finally:
            self.give_back(address)
