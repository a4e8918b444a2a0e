"""What is wrong with variables: a line for each fault, and all faults of a list together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sockets.conf import Fault, WrongSettings


class Wrong(WrongSettings):
    """One variable has a wrong value. `also`: other variables without which it would be right."""

    def __init__(self, name: str, fault: str, remedy: str, *, also: Iterable[str] = ()) -> None:
        super().__init__(Fault((name, *also), f"{name}: {fault}; {remedy}"))


class Items:
    """Collects the faults of a list's items, so that one error names them all."""

    def __init__(self) -> None:
        self._wrong: list[WrongSettings] = []

    @contextmanager
    def each(self) -> Iterator[None]:
        """Go round the work on one item, and keep its fault."""
        try:
            yield
        except WrongSettings as error:
            self._wrong.append(error)

    def refuse(self) -> None:
        """Raise the faults of the items, if there were any."""
        if len(self._wrong) == 1:
            raise self._wrong[0]
        if self._wrong:
            raise WrongSettings(*(fault for one in self._wrong for fault in one.faults))
