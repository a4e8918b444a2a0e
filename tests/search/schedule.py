"""Schedules: what a seed draws, what a file keeps. Nothing here starts a process."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from tests.search.faults import CLUSTER, EXCLUSIVE, ONE, RULES, SENTINEL, Rule

FORM = 1
"""Of the file; another one is refused."""


@dataclass(frozen=True)
class Setting:
    """What the faults happen to."""

    nodes: int
    store: str
    durability: str
    users: int
    tabs: int
    """Sessions of each user."""
    rate: float
    """Messages a second."""
    visitors: int
    """Users who come and go all the time."""


@dataclass(frozen=True)
class Fault:
    """One fault. Steps are done one after the other; after each the promises are checked."""

    step: int
    kind: str
    target: int
    after: float
    """Seconds from the beginning of its step."""
    seconds: float
    amount: float = 0.0
    """0 to 1: how much of it, where a kind has a size (a delay, a step of the clock)."""


@dataclass(frozen=True)
class Schedule:
    """All that a run needs to do the same again, as far as processes do."""

    seed: int
    setting: Setting
    faults: tuple[Fault, ...]

    @property
    def steps(self) -> list[list[Fault]]:
        """The faults of each step that has any."""
        numbers = sorted({fault.step for fault in self.faults})
        return [[fault for fault in self.faults if fault.step == n] for n in numbers]

    def only(self, faults: Iterable[Fault]) -> Self:
        """The same with these faults alone."""
        return replace(self, faults=tuple(faults))

    def to_json(self) -> str:
        return json.dumps({"form": FORM, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """Raises ValueError for what is no schedule of this form."""
        found: dict[str, Any] = json.loads(text)
        if not isinstance(found, dict) or found.get("form") != FORM:
            raise ValueError(f"not a schedule of form {FORM}: draw it anew with its seed")
        try:
            setting, faults = Setting(**found["setting"]), [Fault(**f) for f in found["faults"]]
            unknown = sorted({fault.kind for fault in faults} - RULES.keys())
            if unknown:
                raise ValueError(f"no such faults: {', '.join(unknown)}")
            return cls(int(found["seed"]), setting, tuple(faults))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a schedule: {error}") from error

    @classmethod
    def read(cls, path: Path) -> Schedule:
        return cls.from_json(path.read_text())

    def describe(self) -> list[str]:
        """A line for each step, for people."""
        return [
            f"{number}. " + ", ".join(_say(fault) for fault in step)
            for number, step in enumerate(self.steps, 1)
        ]


def _say(fault: Fault) -> str:
    target = RULES[fault.kind].target
    where = target if target == "api" else f"{target} {fault.target}"
    return f"{fault.kind} ({where}) at {fault.after:.1f} for {fault.seconds:.1f} s"


def possible(
    setting: Setting, abilities: frozenset[str], only: frozenset[str] = frozenset()
) -> dict[str, Rule]:
    """The kinds that can be drawn; `only`: of these."""
    return {
        kind: rule
        for kind, rule in RULES.items()
        if setting.store in rule.stores and rule.needs <= abilities and (not only or kind in only)
    }


def draw(
    seed: int,
    abilities: frozenset[str],
    *,
    steps: int | None = None,
    store: str | None = None,
    only: frozenset[str] = frozenset(),
) -> Schedule:
    """The schedule of this seed. The same arguments give the same one, on every machine.

    `abilities`: what the machine can do; `steps`: how many instead of a drawn number; `only`: no
    other kinds of faults. Raises ValueError where nothing is left to draw from.
    """
    dice = random.Random(f"{FORM}:{seed}")
    stores = [ONE] * 6 + [SENTINEL] * 2 + [CLUSTER]
    drawn = dice.choice(stores)
    setting = Setting(
        nodes=dice.choice((2, 2, 3)),
        store=store or drawn,
        durability=dice.choice(("always", "always", "always", "usual")),
        users=dice.randint(3, 5),
        tabs=dice.randint(2, 3),
        rate=round(dice.uniform(15, 40), 1),
        visitors=dice.randint(2, 4),
    )
    kinds = possible(setting, abilities, only)
    if not kinds:
        raise ValueError(f"no kind of fault is left for a store of sort {setting.store!r}")
    count = dice.randint(4, 7)
    faults: list[Fault] = []
    for step in range(steps or count):
        faults += _step(dice, step, kinds, setting)
    return Schedule(seed, setting, tuple(faults))


def _step(dice: random.Random, step: int, kinds: dict[str, Rule], setting: Setting) -> list[Fault]:
    """One fault or up to three at once, no two of which stop the same thing."""
    drawn: list[Fault] = []
    used: dict[str, int] = {}
    for _ in range(dice.choice((1, 1, 2, 2, 3))):
        (kind,) = dice.choices(list(kinds), [rule.weight for rule in kinds.values()])
        rule = kinds[kind]
        fault = Fault(
            step=step,
            kind=kind,
            target=dice.randrange(targets(setting, rule.target)),
            after=round(dice.uniform(0, 3), 2),
            seconds=round(dice.uniform(*rule.seconds), 2),
            amount=round(dice.random(), 3),
        )
        used[rule.target] = used.get(rule.target, 0) + 1
        if used[rule.target] <= EXCLUSIVE[rule.target]:
            drawn.append(fault)
    return sorted(drawn, key=lambda fault: fault.after)


def targets(setting: Setting, target: str) -> int:
    """How many things of this sort there are."""
    return {
        "node": setting.nodes,
        "link": setting.nodes + 1,  # the last is the backend's
        "redis": {ONE: 1, SENTINEL: 1, CLUSTER: 3}[setting.store],
        "client": setting.users * setting.tabs,
        "api": 1,
    }[target]
