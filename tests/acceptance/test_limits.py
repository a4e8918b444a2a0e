"""Limits with real sockets: whoever goes beyond them is told, and hurts nobody else."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.doubles import until_told
from tests.support.gateway import API_KEY, SHORT, Gateway, running, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import (
    RawClient,
    client,
    client_at,
    http_get,
    masked,
    refused,
    upgrade,
    worker,
)

LIMITS = SHORT | {
    "CLIENT_RATE": "5",
    "CLIENT_BURST": "10",
    "WORKER_RATE": "1000",
    "WORKER_BURST": "2000",
}


async def test_a_flood_is_told_then_ended_and_others_are_served(tmp_path: Path) -> None:
    with running(tmp_path / "data", **LIMITS) as gateway:
        flood, quiet, helper = (
            await client(gateway, "flood"),
            await client(gateway, "quiet"),
            await worker(gateway),
        )
        for number in range(40):
            await flood.send(type="sessions", ref=number)
        answers = [await flood.receive() for _ in range(40)]
        refused = [answer for answer in answers if not answer["ok"]]
        assert [answer["ref"] for answer in answers] == list(range(40)), "each by its own ref"
        assert {answer["error"]["code"] for answer in refused} == {"rate_limited"}
        assert len(refused) >= 20 and "wait" in refused[0]["error"]["message"]
        for number in range(300):
            await flood.send(type="sessions", ref=number)
        assert (await flood.closed())[0] == 4506
        # The worker has a limit of its own, the quiet client has not noticed.
        for _ in range(300):
            assert (await helper.ask(type="notify", user="quiet", event="e"))["ok"]
        assert (await quiet.receive())["offset"] == 1
        assert (await quiet.ask(type="sessions"))["ok"]
        metrics = http_get(gateway.worker_port, "/metrics")[1].decode()
        assert 'gateway_rate_limited_total{kind="client"}' in metrics
        assert 'gateway_rate_limited_total{kind="worker"} 0.0' in metrics
        assert 'gateway_disconnects_total{code="4506",kind="client"} 1.0' in metrics
    assert "Traceback" not in gateway.log()


async def address_of(gateway: Gateway, *forwarded: str) -> str:
    """What presence shows of a client that says this of itself."""
    headers = [("X-Forwarded-For", value) for value in forwarded]
    headers += [("X-Real-IP", "6.6.6.6"), ("Forwarded", "for=6.6.6.6")]
    peer = await client_at(gateway.client_url(user_id="42"), additional_headers=headers)
    key = {"Authorization": f"Bearer {API_KEY}"}
    base = f"http://127.0.0.1:{gateway.worker_port}/api/v1"
    async with httpx.AsyncClient(base_url=base, headers=key) as http:
        (session,) = (await http.get("/users/42")).json()["sessions"]
        await peer.close()

        async def gone() -> bool:
            return not (await http.get("/users/42")).json()["sessions"]

        await until_told(gone)
    return str(session["address"])


async def test_forwarding_headers_are_believed_of_proxies_only(tmp_path: Path) -> None:
    with running(tmp_path / "none", **SHORT) as gateway:
        assert (await address_of(gateway, "1.2.3.4")).startswith("127.0.0.1:")
    trusting = SHORT | {"TRUSTED_PROXIES": "127.0.0.0/8, 10.0.0.0/8"}
    with running(tmp_path / "some", **trusting) as gateway:
        assert await address_of(gateway, "6.6.6.6, 1.2.3.4, 10.0.0.7") == "1.2.3.4"
        assert await address_of(gateway, "6.6.6.6", "1.2.3.4") == "1.2.3.4"
        assert (await address_of(gateway, "nonsense")).startswith("127.0.0.1:")
        bad = {"Authorization": "Bearer x", "X-Forwarded-For": "1.2.3.9"}
        await refused(gateway.client_url(), additional_headers=bad)
        assert "'address': '1.2.3.9'" in gateway.log()


# --- who comes too often


def test_handshakes_of_one_address(tmp_path: Path) -> None:
    limits = SHORT | {"CONNECT_RATE": "0.2", "CONNECT_BURST": "5"}
    with running(tmp_path / "data", **limits) as gateway:
        port, worker_port = gateway.client_port, gateway.worker_port
        answers = [upgrade(port) for _ in range(12)]
        assert [answer.status for answer in answers[:5]] == [101] * 5
        assert {answer.status for answer in answers[6:]} == {503}
        assert answers[-1].headers["retry-after"] == "5"
        assert upgrade(port, source="127.0.0.9").status == 101, "another one has not noticed"
        assert upgrade(worker_port, "/ws/worker/").status == 101, "nor have the workers"
        assert http_get(port, "/healthz")[0] == 200
        assert gateway.turned_away("address_rate") >= 6
        wait_for(lambda: upgrade(port).status == 101, "it may come back")
        assert "Traceback" not in gateway.log()


def test_handshakes_of_a_node(tmp_path: Path) -> None:
    limits = SHORT | {"NODE_CONNECT_RATE": "0.1", "NODE_CONNECT_BURST": "5"}
    with running(tmp_path / "data", **limits) as gateway:
        port = gateway.client_port
        found = [upgrade(port, source=f"127.0.0.{n}").status for n in range(1, 13)]
        assert found[:5] == [101] * 5 and set(found[6:]) == {503}
        assert gateway.turned_away("node_rate") >= 6


def test_behind_a_proxy_each_client_has_its_own_rate(tmp_path: Path) -> None:
    limits = SHORT | {"CONNECT_RATE": "0.1", "CONNECT_BURST": "2"}
    with running(tmp_path / "some", **limits, TRUSTED_PROXIES="1") as gateway:
        for host in ("1.2.3.4", "1.2.3.5"):
            header = f"X-Forwarded-For: 6.6.6.6, {host}"
            found = [upgrade(gateway.client_port, header=header).status for _ in range(3)]
            assert found == [101, 101, 503]
        assert "TRUSTED_PROXIES" not in gateway.log()
    with running(tmp_path / "none", **limits) as gateway:
        for host in ("1.2.3.4", "1.2.3.5"):
            upgrade(gateway.client_port, header=f"X-Forwarded-For: {host}")
        assert gateway.log().count("set TRUSTED_PROXIES") == 1, "the remedy, once"


async def test_sessions_of_one_address(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT, SESSIONS_PER_ADDRESS="3") as gateway:
        tabs = [await client(gateway, f"u{n}") for n in range(3)]
        full = (1013, "too many sessions from this address")
        assert await refused(gateway.client_url(user_id="u4")) == full
        for _ in range(5):
            await worker(gateway)
        await tabs[0].close()

        async def has_space() -> bool:
            try:
                await client(gateway, "u4")
            except ConnectionClosed as error:
                assert error.rcvd is not None and error.rcvd.code == 1013
                return False
            return True

        await until_told(has_space)  # its place is free a moment after it is closed
        assert await refused(gateway.client_url(user_id="u5")) == full


@pytest.mark.parametrize(
    ("mine", "more", "other"),
    [
        ("192.0.2.7", "192.0.2.7:80", "192.0.2.8"),
        pytest.param(
            *("2001:db8:1:2::1", "[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:3::1"),
            marks=pytest.mark.soak,
        ),
    ],
)
async def test_sessions_of_one_address_behind_a_proxy(
    tmp_path: Path, mine: str, more: str, other: str
) -> None:
    limits = SHORT | {"SESSIONS_PER_ADDRESS": "2", "TRUSTED_PROXIES": "1"}
    with running(tmp_path / "data", **limits) as gateway:
        for n, host in enumerate((mine, more)):
            header = {"X-Forwarded-For": host}
            await client_at(gateway.client_url(user_id=f"u{n}"), additional_headers=header)
        full = (1013, "too many sessions from this address")
        header = {"X-Forwarded-For": mine}
        url = gateway.client_url(user_id="u3")
        assert await refused(url, additional_headers=header) == full
        assert (await client_at(url, additional_headers={"X-Forwarded-For": other})).welcome


async def test_the_sessions_of_a_user_have_a_rate_together(tmp_path: Path) -> None:
    limits = SHORT | {"CLIENT_RATE": "1000", "USER_RATE": "1", "USER_BURST": "30"}
    with running(tmp_path / "data", **limits) as gateway:
        tabs = [await client(gateway, "42") for _ in range(4)]
        other = await client(gateway, "7")
        answers = [await tab.ask(type="sessions") for _ in range(15) for tab in tabs]
        refused = [answer for answer in answers if not answer["ok"]]
        assert 20 <= len(refused) <= 30
        assert {answer["error"]["code"] for answer in refused} == {"rate_limited"}
        for _ in range(20):
            assert (await other.ask(type="sessions"))["ok"]


async def test_workers_attached_to_one_user(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT, WORKERS_PER_USER="2") as gateway:
        peers = [await worker(gateway) for _ in range(3)]
        answers = [await peer.ask(type="attach", user="42") for peer in peers]
        assert [answer["ok"] for answer in answers] == [True, True, False]
        assert answers[2]["error"]["message"] == "2 workers are attached to this user"
        assert (await peers[2].ask(type="attach", user="7"))["ok"]
        assert (await peers[0].ask(type="detach", user="42"))["ok"]
        assert (await peers[2].ask(type="attach", user="42"))["ok"]


@pytest.mark.parametrize(
    "opcode", [9, pytest.param(10, marks=pytest.mark.soak)], ids=["pings", "pongs"]
)
def test_a_flood_of_control_frames_ends(tmp_path: Path, opcode: int) -> None:
    with running(tmp_path / "data", **LIMITS) as gateway:
        path = "/?user_id=42"
        with RawClient(gateway.client_port, path) as steady:
            for _ in range(10):
                steady.send_frame(b"x", opcode)
            with RawClient(gateway.client_port, path) as flood:
                flood.socket.sendall(masked(b"x", opcode) * 200)
                assert flood.read_until_close() == (4506, "too many pings")
            steady.send_frame(b'{"type":"sessions","ref":7}')
            frames: list[Any] = []
            while not any(b'"ref":7' in frame for frame in frames):
                frames.append(steady.read_frame()[1])


# --- who does not say what it wants


@contextmanager
def connected(port: int, first: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=15) as peer:
        peer.sendall(first)
        yield peer


def is_cut(peer: socket.socket, within: float) -> bool:
    """Whether the server ends it in this time."""
    peer.settimeout(within)
    try:
        while peer.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that waits two seconds for a request."""
    path = tmp_path_factory.mktemp("hasty")
    with running(path, **SHORT, HANDSHAKE_TIMEOUT="2") as gateway:
        yield gateway
        assert "Traceback" not in gateway.log()


@pytest.mark.parametrize("private", [False, True])
def test_half_a_request_is_cut(hasty: Gateway, private: bool) -> None:
    port = hasty.worker_port if private else hasty.client_port
    before = hasty.turned_away("slow")
    body = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx"
    with ExitStack() as stack:
        firsts = (b"", b"G", HEAD, HEAD + b"X-A: 1", body)
        peers = [stack.enter_context(connected(port, first)) for first in firsts]
        kept = stack.enter_context(connected(port, HEAD + b"\r\n"))
        assert b"200" in kept.recv(65_536)
        kept.sendall(HEAD)  # again, on a connection that was kept
        assert all(is_cut(peer, 15) for peer in (*peers, kept))
    assert hasty.turned_away("slow") - before == 6


def test_a_byte_now_and_then_is_no_request(hasty: Gateway) -> None:
    with connected(hasty.client_port, HEAD) as peer, pytest.raises(ConnectionError):
        for _ in range(100):
            peer.sendall(b"X-A: 1\r\n")
            time.sleep(0.1)  # what is tested
    with connected(hasty.client_port, HEAD) as peer:
        time.sleep(0.5)  # what is tested
        peer.sendall(b"\r\n")
        assert b"200" in peer.recv(65_536), "slow is not too slow"


async def test_a_socket_is_not_cut_for_the_time_of_its_handshake(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT, HANDSHAKE_TIMEOUT="1") as gateway:
        tab = await client(gateway, "42")
        await asyncio.sleep(3)  # nothing happens
        assert (await tab.ask(type="sessions"))["ok"]


def test_who_opens_too_many_cuts_its_own(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT, MAX_PENDING="5") as gateway:
        port = gateway.client_port
        peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        try:
            # None has less than a second for itself; whoever comes then finds space.
            wait_for(
                lambda: (
                    http_get(port, "/healthz")[0] == 200 and gateway.turned_away("crowded") >= 4
                ),
                "the oldest to be cut",
            )
            assert [is_cut(peer, 0.5) for peer in peers] == [True] * 4 + [False] * 4
            assert upgrade(port).status == 101
        finally:
            for peer in peers:
                peer.close()


def test_the_bodies_of_all_connections_have_a_bound(tmp_path: Path) -> None:
    """Nobody needs a key to send one, and each is held in memory."""
    with running(tmp_path / "data", **SHORT, BODY_MEMORY="100000") as gateway:
        head = (
            b"POST /api/v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
        )
        address = ("127.0.0.1", gateway.worker_port)
        with (
            socket.create_connection(address) as first,
            socket.create_connection(address) as second,
        ):
            first.sendall(head + b"x" * 80_000)
            time.sleep(0.5)  # until it has been read, of which nothing can be seen
            second.sendall(head + b"x" * 80_000)
            second.settimeout(5)
            assert second.recv(65_536).startswith(b"HTTP/1.1 503 ")
            first.settimeout(5)
            first.sendall(b"x" * 10_000)
            assert first.recv(65_536).startswith(b"HTTP/1.1 401 ")
        assert gateway.turned_away("body_memory") == 1
        for _ in range(3):  # what is answered or gone is held no more
            with socket.create_connection(address) as after:
                after.settimeout(5)
                after.sendall(head + b"x" * 90_000)
                assert after.recv(65_536).startswith(b"HTTP/1.1 401 ")


def test_a_large_head_is_told_so(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT, HEADER_SIZE="2048") as gateway:
        port = gateway.client_port
        assert upgrade(port, header=f"X-A: {'a' * 1_000}").status == 101
        line = f"X-A: {'a' * 200}"
        for header in (f"X-A: {'a' * 3_000}", "\r\n".join([line] * 20)):
            assert upgrade(port, header=header).status == 431
        with connected(port, b"GET /" + b"a" * 5_000) as peer:
            assert b" 431 " in peer.recv(65_536)
        many = "\r\n".join(["A: 1"] * 600)
        assert upgrade(gateway.worker_port, "/ws/worker/", header=many).status == 431
        assert gateway.turned_away("header") == 4


async def test_requests_at_once(tmp_path: Path) -> None:
    limits = SHORT | {"MAX_REQUESTS": "2", "TASK_ACCEPT_TIMEOUT": "3", "TASK_ASSIGN_TIMEOUT": "3"}
    with running(tmp_path / "data", **limits) as gateway:
        workers = [await worker(gateway, pools="slow") for _ in range(2)]  # which never accept
        key = {"Authorization": f"Bearer {API_KEY}"}
        base = f"http://127.0.0.1:{gateway.worker_port}"
        body = {"pool": "slow", "event": "e"}
        async with httpx.AsyncClient(
            base_url=base, headers=key, trust_env=False, timeout=30
        ) as http:
            slow = [asyncio.ensure_future(http.post("/api/v1/tasks", json=body)) for _ in range(2)]
            for one in workers:
                assert (await one.receive())["type"] == "task"
            refused = await http.get("/api/v1/nodes")
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.json()["code"] == "http_503"
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await http.get(path)).status_code == 200
            await asyncio.gather(*slow)
            count = 1
            # A request counts until its application has ended, a moment after its answer came.
            async with asyncio.timeout(PATIENCE):
                while (answer := await http.get("/api/v1/nodes")).status_code == 503:
                    count += 1
                    await asyncio.sleep(0.02)
            assert answer.status_code == 200
        assert gateway.turned_away("requests") == count


def test_it_opens_as_many_files_as_it_may_and_says_if_they_are_too_few(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT, MAX_SESSIONS="100000000") as gateway:
        lines = Path(f"/proc/{gateway.pid}/limits").read_text().splitlines()
        (files,) = [line.split()[3:5] for line in lines if line.startswith("Max open files")]
        assert files[0] == files[1], "the soft limit is the hard one"
        assert (
            f"this process may open {files[0]} files, and MAX_SESSIONS=100000000" in gateway.log()
        )
