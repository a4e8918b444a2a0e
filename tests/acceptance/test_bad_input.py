"""Whatever a peer sends: a clear error, no lost session, no traceback."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.gateway import Gateway, wait_for
from tests.support.peers import RawClient, client, http_get, masked, refused, upgrade

PONG = b'{"type":"pong"}'


def raw(gateway: Gateway, user: str = "raw") -> RawClient:
    peer = RawClient(gateway.client_port, f"/?user_id={user}")
    assert peer.status == 101
    assert json.loads(peer.read_frame()[1])["type"] == "welcome"
    return peer


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ("nonsense", "bad_json"),
        ('{"type":"send","event":"e","data":' + "[" * 10_000 + "]" * 10_000 + "}", "bad_message"),
        ('{"type":"send","event":"e","data":"party \\ud83c"}', "bad_message"),
        ("[" * 20_000, "bad_message"),
        ("[]", "bad_message"),
        ("null", "bad_message"),
        ("7", "bad_message"),
        ("{}", "bad_message"),
        ('{"type":7}', "bad_message"),
        ('{"type":"send","event":7}', "bad_message"),
        ('{"type":"send","event":""}', "bad_message"),
        ('{"type":"ack","epoch":"e","offset":-1}', "bad_message"),
        ('{"type":"ack","epoch":"e","offset":1e400}', "bad_message"),
        ('{"type":"send","event":"e","ref":{}}', "bad_message"),
        ('{"type":"notify","user":"u","event":"e"}', "unknown_type"),
        ('{"type":"welcome"}', "unknown_type"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_session_lives(
    shared_gateway: Gateway, text: str, code: str
) -> None:
    tab = await client(shared_gateway, "bad-frames")
    await tab.connection.send(text)
    answer = await tab.receive()
    assert answer["type"] == "reply" and answer["ok"] is False
    assert answer["error"]["code"] == code, answer
    assert answer["error"]["message"]
    assert (await tab.ask(type="sessions"))["ok"]


async def test_sixteen_bad_frames_in_a_row_are_enough(shared_gateway: Gateway) -> None:
    tab = await client(shared_gateway, "garbage")
    for _ in range(15):
        await tab.connection.send("x")
        await tab.receive()
    assert (await tab.ask(type="sessions"))["ok"], "a good frame starts the count anew"
    for _ in range(16):
        await tab.connection.send("x")
    assert await tab.closed() == (4500, "16 bad frames in a row")


async def test_binary_frames_are_answered(shared_gateway: Gateway) -> None:
    tab = await client(shared_gateway, "binary")
    await tab.connection.send(b"\x00\xff")
    assert (await tab.receive())["error"]["code"] == "binary_not_supported"
    assert (await tab.ask(type="sessions"))["ok"]


def test_an_oversize_frame_gets_1009(shared_gateway: Gateway) -> None:
    with raw(shared_gateway) as peer:
        peer.send_frame(b"x" * 65_537)
        assert peer.read_until_close()[0] == 1009


def test_whoever_goes_on_after_an_oversize_frame_still_hears_why(shared_gateway: Gateway) -> None:
    with raw(shared_gateway) as peer:
        for _ in range(3):
            peer.socket.sendall(masked(b"x" * 65_537) * 2 + b"\x81\x02hi")
            time.sleep(0.05)  # so that each is read by itself
        assert peer.read_until_close()[0] == 1009


def test_a_frame_that_announces_a_gigabyte_gets_1009(shared_gateway: Gateway) -> None:
    with raw(shared_gateway) as peer:
        head = masked(b"")[:1] + bytes((0x80 | 127,)) + (2**30).to_bytes(8, "big")
        peer.socket.sendall(head + b"\0" * 4)
        assert peer.read_until_close()[0] == 1009


def test_fragments_are_limited_together(shared_gateway: Gateway) -> None:
    fragment = b"x" * 40_000
    first = bytearray(masked(fragment))
    first[0] &= 0x7F  # not final
    with raw(shared_gateway) as peer:
        peer.socket.sendall(bytes(first) + masked(fragment, opcode=0))
        assert peer.read_until_close()[0] == 1009


def test_bad_utf8_gets_1007(shared_gateway: Gateway) -> None:
    with raw(shared_gateway) as peer:
        peer.send_frame(b'{"type":"\xff\xfe"}')
        assert peer.read_until_close()[0] == 1007


def test_an_unmasked_frame_gets_1002(shared_gateway: Gateway) -> None:
    with raw(shared_gateway) as peer:
        peer.socket.sendall(b"\x81\x02hi")
        assert peer.read_until_close()[0] == 1002


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return masked(code.to_bytes(2, "big") + reason, opcode=8)


MALFORMED_CLOSES = {
    **{f"code {code}": (close_frame(code), 1002) for code in (0, 999, 1004, 1005, 1006, 1015)},
    **{f"code {code}": (close_frame(code), 1002) for code in (1016, 2000, 2999, 5000, 65_535)},
    "a code nobody has, with a reason": (close_frame(999, b"bye"), 1002),
    "one byte": (masked(b"\x03", opcode=8), 1002),
    "a reason that is not UTF-8": (close_frame(1000, b"\xff\xfe"), 1007),
    "a reason cut within a character": (close_frame(4000, "한".encode()[:2]), 1007),
    "a reason with half a pair": (close_frame(1000, b"\xed\xa0\xbd"), 1007),
    "a fragment": (b"\x08" + close_frame(1000)[1:], 1002),
    "a reserved bit": (b"\xc8" + close_frame(1000)[1:], 1002),
    "unmasked": (b"\x88\x02\x03\xe8", 1002),
    "126 bytes": (close_frame(1000, b"x" * 124), 1002),
}


@pytest.mark.parametrize(("frame", "code"), MALFORMED_CLOSES.values(), ids=MALFORMED_CLOSES)
@pytest.mark.parametrize("then", [b"", PONG, b"x" * 20_000], ids=["", "goes on", "floods"])
def test_a_malformed_close_is_answered_and_not_reset(
    shared_gateway: Gateway, frame: bytes, code: int, then: bytes
) -> None:
    with raw(shared_gateway) as peer:
        peer.socket.sendall(frame + (masked(then) * 20 if then else b""))
        assert peer.read_until_close()[0] == code
        assert peer.socket.recv(1) == b"", "an orderly end"


def test_a_proper_close_is_answered_by_its_like(shared_gateway: Gateway) -> None:
    for code in (1000, 1001, 1003, 3000, 4999):
        with raw(shared_gateway) as peer:
            peer.socket.sendall(close_frame(code, "안녕".encode()))
            assert peer.read_until_close()[0] in (code, 1000)
            assert peer.socket.recv(1) == b""
    with raw(shared_gateway) as peer:
        peer.send_frame(b"", opcode=8)
        assert peer.read_frame()[0] == 8
        assert peer.socket.recv(1) == b""


async def test_the_row_of_a_malformed_close_says_what_it_was(shared_gateway: Gateway) -> None:
    with raw(shared_gateway, "broken-close") as peer:
        peer.socket.sendall(close_frame(999))
        assert peer.read_until_close()[0] == 1002
    ended = "user = 'broken-close' and disconnected_at is not null"
    (row,) = wait_for(lambda: shared_gateway.rows(ended), "the row")
    assert row["close_code"] == 1002


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", 4501),
        ("user_id=", 4500),
        ("user_id=" + "x" * 1025, 4500),
        ("user_id=%ff%fe", 4500),
        ("user_id=a&userId=b", 4500),
        ("user_id=a&client_id=1234", 4500),
        ("user_id=a&client_id=" + "Z" * 26, 4500),
        ("user_id=a&epoch=x", 4500),
        ("user_id=a&epoch=x&offset=-1", 4500),
        ("user_id=a&epoch=x&offset=" + "9" * 40, 4500),
        ("user_id=a&epoch=x&offset=%D9%A1", 4500),
        ("&".join(f"a{n}=1" for n in range(200)), 4500),
    ],
)
async def test_a_bad_handshake_is_told_by_close_code(
    shared_gateway: Gateway, query: str, code: int
) -> None:
    closed = await refused(f"ws://127.0.0.1:{shared_gateway.client_port}/?{query}")
    assert closed[0] == code and closed[1]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost",
        "http://localhost:1",
        "https://localhost:{port}",
        "http://localhost:{port}.evil.example",
        "http://user@localhost:{port}",
        "file://",
        "",
    ],
)
def test_foreign_origins_are_refused_before_the_handshake(
    shared_gateway: Gateway, origin: str
) -> None:
    # What is no origin at all is autobahn's bad request.
    status = status_for(shared_gateway.client_port, origin.format(port=shared_gateway.client_port))
    assert status in (400, 403)


@pytest.mark.parametrize(
    "more", ["Origin: http://localhost:{port}\r\n", "Origin: null\r\n"], ids=["twice", "null"]
)
def test_two_origins_are_refused(shared_gateway: Gateway, more: str) -> None:
    port = shared_gateway.client_port
    own = f"http://localhost:{port}"
    assert status_for(port, own) == 101
    assert status_for(port, own, more.format(port=port)) in (400, 403)


def test_an_endless_origin_is_refused(shared_gateway: Gateway) -> None:
    assert status_for(shared_gateway.client_port, "https://" + "a" * 65_536) in (0, 431)
    assert status_for(shared_gateway.client_port, "https://" + "a" * 8_000) == 403
    assert "Traceback" not in shared_gateway.log()


def test_an_origin_of_nowhere_is_refused_and_audited(shared_gateway: Gateway) -> None:
    """That of sandboxed frames, and of pages from files."""
    assert status_for(shared_gateway.client_port, "null") == 403
    assert "'origin': 'null'" in shared_gateway.log()


def test_a_refused_origin_is_in_the_audit_log(shared_gateway: Gateway) -> None:
    assert status_for(shared_gateway.client_port, "https://audited.example/" + "x" * 500) == 403
    (line,) = [text for text in shared_gateway.log().splitlines() if "audited.example" in text]
    assert "gateway.audit" in line and "403" in line
    assert "x" * 170 in line and "x" * 201 not in line


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST"])
def test_the_own_origin_is_served(shared_gateway: Gateway, host: str) -> None:
    port = shared_gateway.client_port
    assert status_for(port, f"http://{host}:{port}") == 101


async def test_a_worker_with_an_origin_is_refused(shared_gateway: Gateway) -> None:
    url = shared_gateway.worker_url()
    assert (await refused(url, origin=f"http://localhost:{shared_gateway.worker_port}"))[0] == 4502


@pytest.mark.parametrize("offer", ["gateway%2Ev1", "\xff\xfe", "gateway.bearer.\xff"])
def test_strange_subprotocols_are_just_not_known(shared_gateway: Gateway, offer: str) -> None:
    """Stock daphne: 500 and a traceback, or an accepted socket whose handshake never ends."""
    head = (
        "GET /?user_id=offer HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {offer}\r\n\r\n"
    )
    address = ("127.0.0.1", shared_gateway.client_port)
    with socket.create_connection(address, timeout=10) as peer:
        peer.sendall(head.encode("latin-1"))
        assert peer.recv(4096).startswith(b"HTTP/1.1 101 ")
    assert "Traceback" not in shared_gateway.log()


def test_a_socket_on_no_route_is_refused(shared_gateway: Gateway) -> None:
    public, private = shared_gateway.client_port, shared_gateway.worker_port
    for port, path in ((public, "/nowhere"), (private, "/nowhere"), (public, "/ws/worker/")):
        with RawClient(port, path) as peer:
            assert peer.status == 403


def status_for(port: int, origin: str, more: str = "") -> int:
    """The HTTP status of a WebSocket handshake with this Origin; 0: the server just hung up."""
    return upgrade(port, header=f"Origin: {origin}\r\n{more}".removesuffix("\r\n")).status


PUBLIC_404 = [
    "/admin/",
    "/admin/login/",
    "/static/admin/css/base.css",
    "/static/admin/js/theme.js",
    "/metrics",
    "/readyz",
    "/api/v1/nodes",
    "/ws/worker/",
    "/demo/",
    "/../admin/",
    "/%2e%2e/admin/",
    "/.env",
]


@pytest.mark.parametrize("path", PUBLIC_404)
def test_the_public_surface_has_nothing_of_the_private_one(
    shared_gateway: Gateway, path: str
) -> None:
    assert http_get(shared_gateway.client_port, path)[0] == 404


def test_the_private_surface_has_the_admin_and_its_static_files(shared_gateway: Gateway) -> None:
    for path in ("/admin/login/", "/static/admin/css/base.css", "/metrics", "/readyz", "/healthz"):
        status, body = http_get(shared_gateway.worker_port, path)
        assert (status, bool(body)) == (200, True), path


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_huge_body_to_a_404_is_cut_before_it_is_stored(
    shared_gateway: Gateway, declared: bool
) -> None:
    """100 MB against a limit of 64 KB: answered 413, and next to nothing of it is read."""
    total, sent = 100 * 2**20, 0
    before = shared_gateway.rss()
    with socket.create_connection(("127.0.0.1", shared_gateway.client_port), timeout=10) as peer:
        length = f"Content-Length: {total}" if declared else "Transfer-Encoding: chunked"
        peer.sendall(f"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
        block = b"x" * 65_536
        chunk = block if declared else b"%x\r\n%s\r\n" % (len(block), block)
        answer = b""
        peer.setblocking(False)
        try:
            while sent < total:
                with suppress(BlockingIOError):
                    sent += peer.send(chunk)
                try:
                    answer += peer.recv(65_536)
                except BlockingIOError:
                    continue
                if answer:
                    break
        except ConnectionError:  # it has hung up; what it said before is there
            with suppress(OSError):
                answer += peer.recv(65_536)
        assert not spooled(shared_gateway)
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
    assert sent < 20 * 2**20
    assert shared_gateway.rss() - before < 8 * 2**20


def spooled(gateway: Gateway) -> list[str]:
    """Large temporary files that it has open; they may have no name."""
    found = []
    for entry in Path(f"/proc/{gateway.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            target = os.readlink(entry)
            if os.path.dirname(target) == tempfile.gettempdir() and entry.stat().st_size > 2**20:
                found.append(target)
    return found


def test_what_follows_a_refused_body_does_not_take_its_answer_away(
    shared_gateway: Gateway,
) -> None:
    with socket.create_connection(("127.0.0.1", shared_gateway.client_port), timeout=10) as peer:
        peer.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.sendall(b"%x\r\n%s\r\n" % (100_000, b"x" * 100_000) + b"this is no chunk\r\n" * 9_000)
        for _ in range(3):  # whoever writes before it reads meets no reset
            time.sleep(0.1)  # the refusal has gone out meanwhile
            peer.sendall(b"nor is this\r\n")
        assert peer.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_declared_huge_body_is_refused_before_a_byte_of_it(shared_gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", shared_gateway.client_port), timeout=10) as peer:
        peer.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n")
        assert peer.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_body_within_the_limit_is_a_plain_404(shared_gateway: Gateway) -> None:
    port = shared_gateway.client_port
    assert http_get(port, "/nowhere", method="POST", body=b"x" * 60_000)[0] == 404
    assert http_get(port, "/healthz") == (200, b'{"status": "ok"}')


def test_forged_path_and_proxy_headers_change_nothing(shared_gateway: Gateway) -> None:
    forged = {"Daphne-Root-Path": "/x", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Port": "4001"}
    port = shared_gateway.client_port
    assert http_get(port, "/healthz", headers=forged)[0] == 200
    assert http_get(port, "/admin/", headers=forged)[0] == 404
