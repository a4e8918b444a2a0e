"""The second process in one place is told which one has it, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sockets.conf import Conf
from sockets.exceptions import AlreadyRunning
from sockets.node.lock import NodeLock, place_among_workers

HOLD = """
import sys
from pathlib import Path
from sockets.conf import Conf
from sockets.node.lock import AlreadyRunning, NodeLock
try:
    NodeLock(Conf(data_dir=Path(sys.argv[1]))).acquire()
except AlreadyRunning as error:
    print("refused:", error, flush=True)
    sys.exit(3)
print("held", flush=True)
lock_is_not_collected = sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lock_of(folder: Path, **settings: str) -> NodeLock:
    return NodeLock(Conf(data_dir=folder, **settings))  # type: ignore[arg-type]


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_second_process_is_told_which_one_runs(tmp_path: Path) -> None:
    lock = lock_of(tmp_path)
    lock.acquire()
    with another_process(tmp_path) as second:
        told = first_line(second)
    lock.release()
    assert told.startswith(f"refused: process {os.getpid()} already runs in memory mode")
    assert str(tmp_path) in told
    assert all(remedy in told for remedy in ("stop it", "REDIS_URL", "DATA_DIR"))


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    with another_process(tmp_path) as holder:
        assert first_line(holder) == "held\n"
        with pytest.raises(AlreadyRunning, match=f"process {holder.pid} "):
            lock_of(tmp_path).acquire()
        holder.kill()
        holder.wait()
        lock = lock_of(tmp_path)
        lock.acquire()
        lock.release()


def test_a_lock_can_be_released_twice_and_taken_again(tmp_path: Path) -> None:
    lock = lock_of(tmp_path / "made" / "here")
    lock.release()
    for _ in range(2):
        lock.acquire()
        with pytest.raises(AlreadyRunning):
            lock_of(tmp_path / "made" / "here").acquire()
        lock.release()
        lock.release()


def test_folders_are_apart(tmp_path: Path) -> None:
    locks = [lock_of(tmp_path / name) for name in "ab"]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()


def test_in_redis_mode_the_place_is_the_name(tmp_path: Path) -> None:
    redis = {"redis_url": "redis://127.0.0.1:1"}
    first, other = [lock_of(tmp_path, node_name=name, **redis) for name in ("a", "b")]
    first.acquire()
    other.acquire()
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} .* node 'a'.* NODE_NAME"):
        lock_of(tmp_path, node_name="a", **redis).acquire()
    first.release()
    other.release()


class TestWorkersOfAnotherServer:
    """Processes with one set of settings: each has the first name that is free here."""

    def test_each_has_a_name_of_its_own(self, tmp_path: Path) -> None:
        conf = Conf(data_dir=tmp_path, node_name="web", redis_url="redis://h")
        places = [place_among_workers(conf) for _ in range(3)]
        assert [own.node_name for own, _ in places] == ["web", "web~2", "web~3"]
        places[1][1].release()
        again, lock = place_among_workers(conf)
        assert again.node_name == "web~2", "the place of the one that ended"
        lock.acquire()  # held already: nothing happens
        with pytest.raises(AlreadyRunning):
            NodeLock(again).acquire()

    def test_there_is_an_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sockets.node.lock.MOST_WORKERS", 2)
        conf = Conf(data_dir=tmp_path, node_name="web", redis_url="redis://h")
        kept = [place_among_workers(conf) for _ in range(2)]
        with pytest.raises(AlreadyRunning, match="NODE_NAME of its own"):
            place_among_workers(conf)
        assert len(kept) == 2

    def test_memory_mode_is_one_process(self, tmp_path: Path) -> None:
        conf = Conf(data_dir=tmp_path)
        own, lock = place_among_workers(conf)
        assert own is conf
        with pytest.raises(AlreadyRunning, match="memory mode is one process"):
            place_among_workers(conf)
        lock.release()
