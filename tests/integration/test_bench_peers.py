"""The benchmark beside the Node service, in small: what is right is counted as right, and what is
wrong is found."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.peers.__main__ import CACHE
from bench.peers.contestants import Contestant, Ours, Ws
from bench.peers.load import STAMP, USER, NoCompiler, compiled, pieces
from bench.peers.machine import cores, cpu, memory, on
from bench.peers.publishing import command
from bench.peers.running import SINCE_START, Running, running, wrong
from tests.support.gateway import wait_for
from tests.support.patience import PATIENCE

CLIENTS, WINDOW = 50, 16


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The load generator; its warnings are errors."""
    try:
        return compiled(tmp_path_factory.mktemp("load"))
    except NoCompiler as error:
        pytest.skip(str(error))


def installed(contestant: Contestant) -> Contestant:
    if isinstance(contestant, Ws) and not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("the Node service needs node and npm")
    try:
        contestant.install(CACHE)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"its packages cannot be installed here: {error}")
    return contestant


@pytest.fixture
def run(program: Path) -> Iterator[Running]:
    """The Node service with its clients."""
    with running(installed(Ws()), program, per_user=2) as run:
        run.do(f"open {CLIENTS} {WINDOW}")
        yield run


@pytest.mark.parametrize("contestant", [Ours(), Ws()], ids=["ours", "ws"])
def test_every_delivery_is_right(contestant: Contestant, program: Path) -> None:
    with running(installed(contestant), program, per_user=2) as run:
        used = run.do(f"open {CLIENTS} {WINDOW}")
        assert used.answer["done"] == CLIENTS and used.node > 0 and used.redis > 0
        for kind in contestant.kinds:
            answer = run.do(f"publish {kind} user 100 100").answer
            assert answer["expected"] == answer["received"] == 200
            assert 0 < answer["p50"] <= answer["p99"] and 0.9 < answer["seconds"] < 5
        run.load.ask("number beside 100")
        answer = run.do(f"publish {contestant.kinds[0]} user 100 200").answer
        beside = answer["expected"] - 200
        assert answer["received"] == answer["expected"] and beside in range(
            2 * CLIENTS, 9 * CLIENTS, CLIENTS
        )
        run.load.ask("number beside 0")
        assert run.do("publish broadcast all 5 0").answer["received"] == 5 * CLIENTS
        assert run.do(f"echo 200 {WINDOW}").answer["received"] == 200
        assert run.do(f"close {CLIENTS}").answer["done"] == CLIENTS
        assert run.memory() > 1000
        assert not wrong(run.tally), run.tally
        whole = 200 * len(contestant.kinds) + 200 + beside + 5 * CLIENTS + 200
        assert run.tally["received"] == whole


def told(run: Running, publication: bytes, **expected: int) -> None:
    """Send something that is wrong in some way: the generator must count what is expected."""
    before = run.do("stats").answer
    run.load.ask("number patience 2")
    run.load.ask(f"set bad {pieces(publication)}")
    answer = run.do("publish bad user 50 0").answer

    def counted() -> dict[str, int]:
        after = run.do("stats").answer
        since = {name: after[name] - before[name] for name in SINCE_START}
        # What comes once more when its command is done already is a stray one.
        since["doubled"] += since.pop("stray")
        return {"received": answer["received"], "lost": answer["lost"], **since}

    whole = dict.fromkeys(("received", "lost", "doubled", "misdirected", "dropped"), 0) | expected
    wait_for(lambda: counted() == whole, f"{whole}", PATIENCE)


def frame(stamp: str) -> str:
    return f'{{"type":"message","data":"{stamp}"}}'


def test_what_is_wrong_is_found(run: Running) -> None:
    right = command("PUBLISH", f"user:{USER}", frame(STAMP))
    to_one = command("PUBLISH", "user:u000003", frame(STAMP))
    to_nobody = command("PUBLISH", "user:nobody", frame(STAMP))
    told(run, right, received=100)
    assert not wrong(run.tally)
    told(run, right + right, received=100, doubled=100)
    told(run, to_nobody, lost=100)
    # 48 of these 50 are other users', and reach both clients of one.
    told(run, to_one, received=4, lost=96, misdirected=96)
    assert wrong(run.tally)


def test_a_client_that_is_closed_is_counted(run: Running) -> None:
    run.service.kill()
    wait_for(lambda: run.load.ask("stats")["dropped"] == CLIENTS, "the clients to be lost")


@pytest.mark.skipif(len(cores()[1] - cores()[0]) < 1, reason="needs two cores")
def test_the_service_has_a_core_of_its_own() -> None:
    """Whoever measures it is at the others by then, with Redis and the load."""
    seen = []
    for _ in range(2):
        with on(cores()[1]):
            seen.append((cores(), os.sched_getaffinity(0)))
            with on(cores()[0]):
                seen.append((cores(), os.sched_getaffinity(0)))
    service, others = cores()
    assert len(service) == 1 and not service & others
    assert seen == [(cores(), others), (cores(), service)] * 2


def test_a_process_is_seen(run: Running) -> None:
    assert cpu(run.service.pid) > 0
    assert memory(run.service.pid) > 1000
