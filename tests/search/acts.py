"""How each fault is done, and undone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from tests.search.acts_nodes import NodeActs
from tests.search.acts_redis import RedisActs
from tests.search.schedule import Fault


class Acts(RedisActs, NodeActs):
    """A method for each kind in `faults.RULES`."""

    def act(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        """The fault, for as long as this is entered."""
        name = fault.kind.replace("-", "_")
        found: Callable[[Fault], AbstractAsyncContextManager[None]] = getattr(self, name)
        return found(fault)
