"""What the overview shows while Redis is away: this node's own figures, and what was known last."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

from django.utils.translation import pgettext

from sockets.admin.operations import source, words
from sockets.admin.operations.parts import outside, visible
from sockets.exceptions import GatewayError, GatewayUnavailable
from sockets.reports import NodeReport, Overview, Sample

MOST_NAMED: Final = 20
"""Silent nodes that are named."""

_HOUR: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class Known:
    """An overview, and what has to be said with it. `as_of`: of nodes that could not be asked, by
    name, when what is shown of them was so."""

    overview: Overview
    note: str
    as_of: Mapping[str, float] = field(default_factory=dict)


class Memory:
    """The last overview of all nodes that this process was told. Any thread may ask."""

    def __init__(self) -> None:
        self.last: Overview | None = None
        self._failing_since: float | None = None

    def ask(self, **part: float) -> Known:
        """Return the overview of now, or what is known of it. `part`: which part of its last hour,
        as in the API: `after` a moment, or the `last` so many seconds. Raises GatewayError."""
        try:
            found = source.overview(**part)
        except GatewayUnavailable as error:
            return self._of_before(str(error), part)
        self._failing_since = None
        if found.unreachable:
            return self._of_one(found)
        self.last = replace(found, samples=_joined(self.last, found))
        return Known(found, _silent(found.silent))

    def _of_one(self, found: Overview) -> Known:
        """Return what a node tells of itself, beside what the others were last."""
        (own,) = found.nodes
        before = self.last
        if before is None:
            return Known(found, f"{_away(found)} {_alone(own)} {remedy()}")
        others = [node for node in before.nodes if node.info.name != own.info.name]
        text = pgettext(
            "gateway",
            "All nodes together had %(sessions)s sessions of %(users)s users at %(time)s.",
        )
        together = text % {
            "sessions": words.number(before.sessions),
            "users": words.number(before.users),
            "time": words.at(before.at),
        }
        nodes = sorted([own, *others], key=lambda node: node.info.name)
        return Known(
            replace(found, nodes=nodes),
            f"{_away(found)} {_alone(own)} {together} {remedy()}",
            {node.info.name: before.at for node in others},
        )

    def _of_before(self, problem: str, part: Mapping[str, float]) -> Known:
        if self._failing_since is None:
            self._failing_since = time.time()
        before = self.last
        if before is None:
            raise GatewayUnavailable(problem)
        after = max(part.get("after", 0.0), before.at - part.get("last", inf))
        samples = [one for one in before.samples if one.at > after]
        found = replace(
            before, samples=samples, unreachable=problem, unreachable_since=self._failing_since
        )
        text = pgettext("gateway", "All figures are as of %(time)s.") % {
            "time": words.at(before.at)
        }
        as_of = {node.info.name: before.at for node in before.nodes}
        return Known(found, f"{_away(found)} {text} {remedy()}", as_of)


MEMORY: Final = Memory()


def _joined(before: Overview | None, now: Overview) -> list[Sample]:
    """Return the last hour, of what was known and what is new."""
    first = now.samples[0].at if now.samples else now.at
    known = [] if before is None else before.samples
    older = [one for one in known if now.at - _HOUR < one.at < first]
    return [*older, *now.samples]


def _away(found: Overview) -> str:
    text = pgettext("gateway", "Redis is unreachable since %(time)s (%(problem)s).")
    return text % {
        "time": words.at(found.unreachable_since),
        "problem": visible(found.unreachable),
    }


def _alone(own: NodeReport) -> str:
    text = pgettext("gateway", "These are the figures of node %(node)s alone, as of now.")
    return text % {"node": outside(own.info.name, 64).text}


def remedy() -> str:
    """Return what to do where Redis does not answer."""
    return pgettext("gateway", "See that Redis runs, and that REDIS_URL is reached from here.")


def problem_of(error: GatewayError) -> str:
    """Return what is wrong, and what to do where the error does not say it."""
    if not isinstance(error, GatewayUnavailable):
        return str(error)
    return f"{str(error).rstrip('.')}. {remedy()}"


def silence(nodes: Sequence[str]) -> str:
    """Return a line that names the nodes that did not answer; "" for none."""
    text = pgettext("gateway", "Silent for 2 seconds, and so not on this page: %(nodes)s.")
    return text % {"nodes": names_of(nodes)} if nodes else ""


def _silent(nodes: Sequence[str]) -> str:
    text = pgettext("gateway", "Silent for 2 seconds, and shown as they last were: %(nodes)s.")
    return text % {"nodes": names_of(nodes)} if nodes else ""


def names_of(nodes: Sequence[str]) -> str:
    """Return the names of the first MOST_NAMED nodes."""
    return ", ".join(outside(name).text for name in nodes[:MOST_NAMED])
