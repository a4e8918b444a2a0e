"""The worker's declaration, its command and its health file; what it does is in the acceptance
tests and the vectors."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import gateway_client
import sockets
from gateway_client import Task, Worker, health
from gateway_client.__main__ import main
from gateway_client.frames import Frame, decode


@pytest.mark.parametrize(
    "pools",
    [{}, {"a b": 1}, {"": 1}, {"a": 0}, {"a": True}, {"a": "4"}, {"a": 900, "b": 101}],
)
def test_pools(pools: Any) -> None:
    with pytest.raises(ValueError, match=r"pool|at most"):
        Worker(pools=pools)


def test_each_pool_has_its_function_once() -> None:
    worker = Worker(pools={"a": 1, "b": 1})
    with pytest.raises(ValueError, match="none of this worker's: a, b"):
        worker.task("c")
    worker.task("a")(print)
    worker.task("a", event="special")(print)
    with pytest.raises(ValueError, match="already"):
        worker.task("a")
    with pytest.raises(ValueError, match="no function for pool b"):
        worker.run()


def test_how_a_function_can_be_run() -> None:
    worker = Worker(pools={"a": 1})
    for how, told in (("coroutine", "async def"), ("process", "module"), ("fiber", "thread")):
        with pytest.raises(TypeError, match=told):
            worker.task("a", run=how)(lambda task: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("url", "key"), [("http://x", "k"), ("x", "k"), ("ws://x", "")])
def test_url_and_key(url: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKER_KEY", raising=False)
    worker = Worker(url, key, pools={"a": 1})
    worker.task("a")(print)
    with pytest.raises(ValueError, match=r"url|key"):
        worker.run()


async def test_a_place_is_taken_until_the_function_has_ended() -> None:
    """Though nobody waits for its result any more: a thread cannot be interrupted."""
    worker, begun, goes_on = (
        Worker("ws://x", "k", pools={"a": 1}),
        threading.Event(),
        threading.Event(),
    )

    @worker.task("a")
    def stubborn(task: Task) -> None:
        begun.set()
        goes_on.wait(20)

    first, second = (Frame("task", task=name, offer=name, pool="a") for name in ("T1", "T2"))
    assert worker.takes(first) and not worker.takes(second), "accepted counts, confirmed or not"
    worker.start(first)
    await asyncio.to_thread(begun.wait, 20)
    worker.lost("T1", "cancelled")
    await asyncio.sleep(0.05)
    assert worker.held == 1 and not worker.takes(second)
    goes_on.set()
    while worker.held:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)
    assert worker.takes(second)
    worker.dropped(second)
    assert worker.takes(second)
    assert not worker.takes(Frame("task", task="T", pool="of another"))


def test_it_is_released_with_the_gateway() -> None:
    assert gateway_client.__version__ == sockets.__version__


def test_what_is_no_frame_is_skipped() -> None:
    for text in ("", "[1]", "{}", '{"type":1}', "[" * 10_000, b"\xff", '{"type":"task","task":1}'):
        assert decode(text) is None
    frame = decode('{"type":"task","task":"t","data":{"n":1},"more":2}')
    assert frame is not None and frame.data == {"n": 1}


# --- the command


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for command, told in (("worker", "@worker.task("), ("health", "livenessProbe")):
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0 and told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("no_such_module:worker", "there is no module 'no_such_module'"),
        ("json:worker", "json has no Worker named 'worker'"),
        ("json", "json has no Worker named 'worker'"),
        ("json:loads", "json has no Worker named 'loads'"),
    ],
)
def test_what_is_no_worker(target: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worker", target]) == 2
    assert told in capsys.readouterr().err


def test_a_module_that_lacks_something_itself_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_images.py").write_text("import no_such_library\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        main(["worker", "broken_images:worker"])


def test_what_the_command_adjusts() -> None:
    worker = Worker(pools={"a": 1, "b": 2})
    worker.adjust("n" * 200, {"a": 7})
    assert worker.pools == {"a": 7, "b": 2} and worker.name == "n" * 128
    for pools in ({"c": 1}, {"a": 0}, {"a": 1_000}):
        with pytest.raises(ValueError, match=r"pool|at most"):
            worker.adjust("n", pools)
    assert worker.pools == {"a": 7, "b": 2}


def test_wrong_options(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["worker"], ["worker", "a:b", "--grace=-1"], ["worker", "a:b", "--pool=x"]):
        with pytest.raises(SystemExit) as end:
            main(argv)
        assert end.value.code == 2


# --- the health file


def test_health(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "health.json"
    assert "does not run" in health.problem(file)
    worker = Worker("ws://x", "k", pools={"a": 1})
    health._write(file, worker)
    told = json.loads(file.read_text())
    assert (told["state"], told["held"], told["pid"]) == ("away", 0, os.getpid())
    assert health.problem(file) == "the gateway is away"
    assert health.problem(file, away=True) == ""
    assert "hangs" in health.problem(file, away=True, now=told["at"] + 16)
    file.write_text("{}")
    assert "cannot be read" in health.problem(file)
    assert main(["health", str(file)]) == 1
    assert list(tmp_path.iterdir()) == [file]


async def test_a_health_file_that_cannot_be_written_is_told_of_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "EVERY", 0.001)
    caplog.set_level("INFO")
    file = tmp_path / "later" / "health.json"
    keeper = asyncio.create_task(health.keep(file, Worker("ws://x", "k", pools={"a": 1})))

    async def until_there() -> None:
        while not file.exists() or "written again" not in caplog.text:
            if "cannot be written" in caplog.text:
                file.parent.mkdir(exist_ok=True)
            await asyncio.sleep(0.001)

    await asyncio.wait_for(until_there(), 10)
    assert caplog.text.count("cannot be written") == 1 and not keeper.done()
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    assert not file.exists()
