"""What the churn bench makes of its samples."""

from __future__ import annotations

from bench.churn import HEAD, Sample, growth, row


def at(minute: float, memory: float) -> Sample:
    return Sample(
        minute, memory, descriptors=2_032, tasks=10, keys=1_000, receipts=300, redis_memory=5.0
    )


def test_growth_compares_thirds_and_leaves_out_what_warms_up() -> None:
    samples = [
        at(0, 50),
        at(1, 90),
        *(at(2 + n, 100) for n in range(4)),
        *(at(6 + n, 110) for n in range(4)),
    ]
    found = growth(samples)
    assert found["memory"] == 1.1
    assert {found[name] for name in ("descriptors", "tasks", "keys", "redis_memory")} == {1.0}


def test_a_row_has_the_cells_of_the_head() -> None:
    assert row(at(1.0, 163.84)) == "| 1.0 | 163.8 | 2,032 | 10 | 1,000 | 300 | 5.0 |"
    assert HEAD.count("|") == row(at(1.0, 1)).count("|")
