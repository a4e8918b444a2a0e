"""Schedules: the seed alone decides, a file gives the same again, nothing impossible is drawn."""

from __future__ import annotations

import json

import pytest

from tests.search.acts import Acts
from tests.search.faults import ALL, EXCLUSIVE, RULES
from tests.search.schedule import Schedule, draw, possible, targets

EVERYTHING = frozenset({"faketime", "prlimit", "tmpfs"})
SEEDS = range(300)


@pytest.mark.parametrize("seed", [0, 1, 17, 2**31])
def test_the_same_seed_gives_the_same_schedule(seed: int) -> None:
    assert draw(seed, EVERYTHING) == draw(seed, EVERYTHING)


def test_seeds_differ() -> None:
    assert len({draw(seed, EVERYTHING) for seed in SEEDS}) == len(SEEDS)


def test_what_is_written_is_read_again() -> None:
    for seed in SEEDS:
        schedule = draw(seed, EVERYTHING)
        assert Schedule.from_json(schedule.to_json()) == schedule


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"form": 0}, "form"),
        ({"setting": {}}, "not a schedule"),
        ({"faults": [{"kind": "cut"}]}, "not a schedule"),
        ({"faults": [{**vars(draw(1, EVERYTHING).faults[0]), "kind": "earthquake"}]}, "earthquake"),
    ],
)
def test_another_file_is_refused(change: dict[str, object], text: str) -> None:
    found = json.loads(draw(1, EVERYTHING).to_json()) | change
    with pytest.raises(ValueError, match=text):
        Schedule.from_json(json.dumps(found))


def test_each_kind_is_drawn_and_each_can_be_done() -> None:
    drawn = {fault.kind for seed in SEEDS for fault in draw(seed, EVERYTHING).faults}
    assert drawn == RULES.keys()
    for kind in RULES:
        assert callable(getattr(Acts, kind.replace("-", "_")))


def test_nothing_is_drawn_that_cannot_be() -> None:
    for seed in SEEDS:
        schedule = draw(seed, frozenset())
        kinds = possible(schedule.setting, frozenset())
        for step in schedule.steps:
            for fault in step:
                rule = kinds[fault.kind]
                assert 0 <= fault.target < targets(schedule.setting, rule.target)
                assert rule.seconds[0] <= fault.seconds <= rule.seconds[1]
            hit = [RULES[fault.kind].target for fault in step]
            assert all(hit.count(sort) <= EXCLUSIVE[sort] for sort in hit)


def test_only_some_kinds() -> None:
    for seed in SEEDS:
        schedule = draw(seed, EVERYTHING, only=frozenset({"oom", "flush"}), store="one", steps=3)
        assert {fault.kind for fault in schedule.faults} <= {"oom", "flush"}
        assert (schedule.setting.store, len(schedule.steps)) == ("one", 3)
    with pytest.raises(ValueError, match="no kind of fault is left"):
        draw(1, EVERYTHING, only=frozenset({"fail-over"}), store="one")


def test_every_store_has_faults_of_its_own() -> None:
    assert {store for rule in RULES.values() for store in rule.stores} == ALL
    assert {draw(seed, EVERYTHING).setting.store for seed in SEEDS} == ALL
