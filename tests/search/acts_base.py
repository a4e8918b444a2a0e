"""What all acts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.search.audience import Tab
    from tests.search.stage import Stage

Note = Callable[[str, str], None]
"""Takes the kind and the text of a violation."""


class Base:
    """Knows whom the faults happen to."""

    def __init__(self, stage: Stage, tabs: list[Tab], note: Note) -> None:
        self._stage = stage
        self._tabs = tabs
        self._note = note
