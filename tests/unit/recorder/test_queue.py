"""What waits for the database: what was told last wins, whatever is put back."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sockets.recorder.queue import Close, Entry, Queue
from tests.unit.recorder.conftest import NOW, info, session_id

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "write", "write 1", "fail"]),
        st.integers(0, 3),
    ),
    max_size=40,
)


@given(_STEPS)
def test_the_last_word_is_what_is_written(steps: list[tuple[str, int]]) -> None:
    """Any order of notes, batches and failed batches ends in the state that was told last."""
    queue = Queue(100)
    told: dict[str, int | None] = {}
    table: dict[str, int | None] = {}

    def write(entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.info is not None or entry.id in table:
                table[entry.id] = entry.close.code if entry.close else None

    for step, (action, number) in enumerate(steps):
        name = session_id(number)
        match action:
            case "open":
                queue.opened(info(number))
                told[name] = None
            case "close":
                queue.closed(name, Close(NOW, step, ""))
                if name in told:
                    told[name] = step
            case "fail":
                taken = queue.take(2)
                queue.opened(info(3))
                told[session_id(3)] = None
                write(taken[:1])
                queue.put_back(taken[1:])
            case _:
                write(queue.take(1 if action == "write 1" else 100))
                queue.done()
    write(queue.take(100))
    queue.done()
    assert table == told
    assert (queue.pending, queue.dropped) == (0, 0)
