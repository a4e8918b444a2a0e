"""A conversion job as it is kept, as its owner sees it, and as a worker is told of it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

State = Literal["queued", "working", "done", "failed", "cancelled", "removed"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is asked to do: the data of its task."""

    job: str
    format: str
    side: int | None = None
    quality: int | None = None
    language: str = "en"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says it has made: the result of its task. The files are in the folder."""

    source_format: str
    source_width: int
    source_height: int
    width: int
    height: int
    note: str = ""
    worker: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One conversion. Sizes are bytes or pixels, times epoch seconds.

    `ref`: the uploading tab's own name for it. `language`: of what its owner is told about it.
    `task`: the gateway's task that works on it, or did so last. `attempts`: tasks that ended
    without a result and were not handed back in order. `setback`: why it is queued again.
    `retryable`: whether its owner may start it anew.
    """

    id: str
    user: str
    name: str
    format: str
    created: float
    expires: float
    source_bytes: int
    side: int | None = None
    quality: int | None = None
    state: State = "queued"
    rev: int = 1
    ref: str = ""
    language: str = "en"
    task: str = ""
    attempts: int = 0
    setback: Literal["", "lost", "released"] = ""
    source_format: str = ""
    source_width: int = 0
    source_height: int = 0
    width: int = 0
    height: int = 0
    result_bytes: int = 0
    worker: str = ""
    note: str = ""
    error: str = ""
    retryable: bool = False

    def view(self) -> dict[str, Any]:
        """What its owner may see, as JSON types. Every member is always there."""
        hidden = ("user", "attempts", "language")
        return {n: getattr(self, n) for n in self.__struct_fields__ if n not in hidden}

    def order(self) -> dict[str, Any]:
        """The data of its task."""
        order = Order(
            job=self.id,
            format=self.format,
            side=self.side,
            quality=self.quality,
            language=self.language,
        )
        return dict(msgspec.structs.asdict(order))
