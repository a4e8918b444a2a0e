"""HTTP that can be read in two ways, kept connections, and the limit of open files."""

from __future__ import annotations

import json
import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.test_limits import is_cut
from tests.support.gateway import API_KEY, SHORT, Gateway, running, wait_for
from tests.support.patience import PATIENCE
from tests.support.peers import client, http_get, upgrade

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
HANDSHAKE = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)


def answers(port: int, *parts: bytes, source: str = "") -> list[int]:
    """The statuses of all answers on one connection, until the server ends it."""
    found = b""
    with socket.create_connection(
        ("127.0.0.1", port), timeout=10, source_address=(source, 0)
    ) as peer:
        for part in parts:
            peer.sendall(part)
        while data := peer.recv(65_536):
            found += data
    return [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:]] or [
        int(part[:3]) for part in found.split(b"HTTP/1.0 ")[1:]
    ]


AMBIGUOUS = {
    "two hosts": GET + b"Host: localhost\r\n\r\n",
    "two other hosts": GET + b"HOST: evil.example\r\n\r\n",
    "identity": GET + b"Transfer-Encoding: identity\r\n\r\n",
    "gzip": GET + b"Transfer-Encoding: gzip\r\n\r\n",
    "gzip, chunked": GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": GET + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two encodings": GET + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "chunked and more": GET + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "in quotes": GET + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "xchunked": GET + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no encoding": GET + b"Transfer-Encoding:\r\n\r\n",
    "encoding and length": GET
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "encoding by HTTP/1.0": GET.replace(b"1.1", b"1.0")
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": GET + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": GET + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": GET + b"Content-Length: +3\r\n\r\nabc",
    "a length of 19 digits": GET + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n",
    "a length of 4,301 digits": GET + b"Content-Length: " + b"1" * 4_301 + b"\r\n\r\n",
    "a length of zeros": GET + b"Content-Length: " + b"0" * 5_000 + b"\r\n\r\n",
    "a chunk of 1,000 digits": GET + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 1_100 + b"\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "no host but the target's": b"GET http://localhost/healthz HTTP/1.1\r\n\r\n",
    "no host but another target's": b"GET http://evil.example/healthz HTTP/1.1\r\n\r\n",
    "a handshake without a host": b"GET /?user_id=1 HTTP/1.1\r\n"
    + HANDSHAKE.replace(b"Host: localhost\r\n", b"")
    + b"\r\n",
    "a handshake with a body": b"GET /?user_id=1 HTTP/1.1\r\n"
    + HANDSHAKE
    + b"Content-Length: 5\r\n\r\nhello",
    "a handshake in chunks": b"GET /?user_id=1 HTTP/1.1\r\n"
    + HANDSHAKE
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a handshake in a list": b"GET /?user_id=1 HTTP/1.1\r\n"
    + HANDSHAKE.replace(b"websocket", b"h2c, WebSocket")
    + b"Content-Length: 5\r\n\r\nhello",
    "a handshake by HTTP/1.0": b"GET /?user_id=1 HTTP/1.0\r\n" + HANDSHAKE + b"\r\n",
}


@pytest.mark.parametrize("request_", AMBIGUOUS.values(), ids=AMBIGUOUS)
@pytest.mark.parametrize("private", [False, True])
def test_what_can_be_read_in_two_ways_is_refused(
    shared_gateway: Gateway, request_: bytes, private: bool
) -> None:
    """And what comes behind it, a request to who reads it the other way, is not looked at."""
    port = shared_gateway.worker_port if private else shared_gateway.client_port
    before, log = shared_gateway.turned_away("malformed"), len(shared_gateway.log())
    assert answers(port, request_ + GET + b"Connection: close\r\n\r\n") == [400]
    assert shared_gateway.turned_away("malformed") == before + 1
    assert "Traceback" not in shared_gateway.log()[log:]


@pytest.mark.parametrize(
    "given",
    [
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n",
        GET + b"\r\n",
        GET + b"Content-Length: 0\r\n\r\n",
        GET + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        GET + b"Content-Length: 00003\r\n\r\nabc",
        GET + b"Upgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
    ],
    ids=ascii,
)
def test_what_is_clear_is_answered(shared_gateway: Gateway, given: bytes) -> None:
    given = given.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    assert answers(shared_gateway.client_port, given) == [200]
    assert answers(shared_gateway.worker_port, given) == [200]


def test_a_handshake_without_a_body_is_welcome(shared_gateway: Gateway) -> None:
    assert upgrade(shared_gateway.client_port, header="Content-Length: 0").status == 101


PARAMETERS = (
    *("/healthz;a=1", "/healthz;", "/;/healthz", "/admin/;a=1", "/admin/login/;x"),
    *("/admin;/login/", "/static/admin/css/base.css;x", "/api/v1/nodes;v=1"),
    *("/api/v1/users/42;x=1", "/demo/;x"),
)


@pytest.mark.parametrize("path", PARAMETERS)
def test_paths_have_no_parameters(shared_gateway: Gateway, path: str) -> None:
    key = {"Authorization": f"Bearer {API_KEY}"}
    for port in (shared_gateway.client_port, shared_gateway.worker_port):
        assert http_get(port, path, headers=key)[0] == 404
        assert http_get(port, f"{path}?a;b", headers=key)[0] == 404


@pytest.mark.parametrize("path", ["/;a=1", "/;"])
def test_handshakes_have_no_parameters_either(shared_gateway: Gateway, path: str) -> None:
    for target in (path, f"{path}?user_id=kim", f"http://localhost{path}?user_id=kim"):
        given = f"GET {target} HTTP/1.1\r\n".encode() + HANDSHAKE + b"\r\n"
        assert answers(shared_gateway.client_port, given) == [404]
        assert answers(shared_gateway.worker_port, given) == [404]


def test_a_semicolon_elsewhere_is_a_character(shared_gateway: Gateway) -> None:
    key = {"Authorization": f"Bearer {API_KEY}"}
    assert http_get(shared_gateway.client_port, "/healthz?a=1;b=2")[0] == 200
    status, body = http_get(shared_gateway.worker_port, "/api/v1/users/a%3Bb", headers=key)
    assert status == 200 and b'"a;b"' in body.replace(b" ", b"")


DIGITS = "9" * 5_000


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/api/v1/users/42/messages?offset={DIGITS}", {}),
        (f"/api/v1/users/42/messages?limit={DIGITS}", {}),
        (f"/api/v1/sessions?limit={DIGITS}", {}),
        (f"/api/v1/sessions?limit=-{DIGITS}", {}),
        ("/metrics", {"Accept": f"application/openmetrics-text;version={DIGITS}"}),
        ("/metrics", {"Accept": "text/plain;version=x.y;q=z"}),
        ("/static/admin/css/base.css", {"Range": f"bytes={DIGITS}-{DIGITS}"}),
        ("/static/admin/css/base.css", {"If-Modified-Since": DIGITS}),
        (f"/admin/sockets/session/?p={DIGITS}", {}),
        ("/healthz", {"X-Forwarded-For": f"192.0.2.1:{DIGITS}"}),
        ("/healthz", {"Host": f"localhost:{DIGITS}"}),
    ],
    ids=lambda given: str(given)[:40],
)
def test_no_number_is_too_long_to_be_answered(
    shared_gateway: Gateway, path: str, headers: dict[str, str]
) -> None:
    log = len(shared_gateway.log())
    key = {"Authorization": f"Bearer {API_KEY}"}
    status, _ = http_get(shared_gateway.worker_port, path, headers=key | headers)
    assert status < 500
    assert "Traceback" not in shared_gateway.log()[log:]


@pytest.mark.parametrize(
    "header", [f"Sec-WebSocket-Version: {DIGITS}", f"Origin: http://localhost:{DIGITS}"]
)
def test_nor_in_a_handshake(shared_gateway: Gateway, header: str) -> None:
    log = len(shared_gateway.log())
    given = upgrade(shared_gateway.client_port, header=header)
    assert 400 <= given.status < 500 and "Traceback" not in shared_gateway.log()[log:]


def test_what_a_handshake_quotes_has_an_end(shared_gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", shared_gateway.client_port), timeout=10) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n" + HANDSHAKE.replace(b"13", DIGITS.encode()) + b"\r\n")
        assert len(peer.recv(65_536)) < 300


def test_keys_and_escape_codes_stay_out_of_the_log(tmp_path: Path) -> None:
    key = "gw_abcdefgh_" + "x" * 43
    with running(tmp_path / "data", **SHORT, DEBUG="true", LOG_LEVEL="debug") as gateway:
        for given in (
            key,
            f"Basic {key}",
            f"bearer{key}",
            f"Token {key}",
            "secret-of-the-environment\x1b[31m",
            "x\x1b[31m" * 1_000,
        ):
            before = len(gateway.log())
            for path in ("/api/v1/nodes", "/api/v1/users/42", "/metrics", "/healthz", "/nowhere"):
                for port in (gateway.worker_port, gateway.client_port):
                    http_get(port, path, headers={"Authorization": given})
            for port in (gateway.worker_port, gateway.client_port):
                upgrade(port, header=f"Authorization: {given}\r\nUser-Agent: \x1b[2J")
            written = gateway.log()[before:]
            assert "xxxx" not in written and "secret-of" not in written
            assert "\x1b" not in written and len(written) < 4_000, written


def kept(port: int, source: str = "127.0.0.1", more: bytes = b"") -> socket.socket:
    """A connection that was useful once."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
    peer.sendall(GET + b"\r\n" + more)
    data = b""
    while not data.endswith(b"\r\n0\r\n\r\n"):  # or its end would begin the next answer
        data += (some := peer.recv(65_536))
        assert some, data
    assert data.startswith(b"HTTP/1.1 200 ")
    return peer


def test_of_kept_connections_the_longest_idle_goes(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT, MAX_IDLE="8") as gateway, ExitStack() as stack:
        port = gateway.client_port
        mine = [stack.enter_context(kept(port)) for _ in range(2)]
        theirs = [stack.enter_context(kept(port, "127.0.0.2")) for _ in range(4)]
        assert all(is_cut(peer, PATIENCE) for peer in theirs[:2])
        assert not any(is_cut(peer, 0.3) for peer in theirs[2:])
        assert [is_cut(peer, 0.1) for peer in mine] == [False, False], "they have a share each"
        mine[0].settimeout(10)
        mine[0].sendall(GET[:20])  # under way: it is not idle
        half = stack.enter_context(kept(port, more=GET[:20]))  # came with the one before
        others = [stack.enter_context(kept(port, f"127.0.0.{n}")) for n in range(3, 12)]
        assert is_cut(mine[1], PATIENCE), "now it is the oldest of all"
        assert any(is_cut(peer, 0.3) for peer in [*theirs, *others])
        mine[0].settimeout(10)
        for peer in (mine[0], half):
            peer.settimeout(10)
            peer.sendall(GET[20:] + b"\r\n")
            assert peer.recv(65_536).startswith(b"HTTP/1.1 200 ")
        private = [stack.enter_context(kept(gateway.worker_port)) for _ in range(7)]
        assert not any(is_cut(peer, 0.05) for peer in private), "a backend keeps as many as fit"
        assert gateway.turned_away("idle") >= 4


@pytest.mark.parametrize("trusted", ["1", "127.0.0.0/8"])
def test_a_proxy_may_keep_as_many_as_fit(tmp_path: Path, trusted: str) -> None:
    limits = SHORT | {"MAX_IDLE": "8", "TRUSTED_PROXIES": trusted}
    with running(tmp_path / "data", **limits) as gateway, ExitStack() as stack:
        peers = [stack.enter_context(kept(gateway.client_port)) for _ in range(9)]
        assert is_cut(peers[0], PATIENCE), "one more than fits"
        assert not any(is_cut(peer, 0.1) for peer in peers[1:])


def highest_descriptor(gateway: Gateway) -> int:
    return max(int(path.name) for path in Path(f"/proc/{gateway.pid}/fd").iterdir())


def test_a_query_of_very_many_members_is_one_refusal_and_no_traceback(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SHORT, DEBUG="true", LOG_LEVEL="debug") as gateway:
        for port in (gateway.worker_port, gateway.client_port):
            for host in ("127.0.0.1", "a.stranger"):
                before = len(gateway.log())
                path = f"/api/v1/x?{'a&' * 1_100}"
                status, _ = http_get(port, path, headers={"Host": host})
                written = gateway.log()[before:]
                assert status == 400 and "Traceback" not in written and len(written) < 4_500


async def test_at_its_limit_of_files_a_node_answers_its_private_port_and_says_so(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "data", **SHORT) as gateway, ExitStack() as stack:
        tab = await client(gateway, "42")
        used = highest_descriptor(gateway)
        limit = used + 60
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (limit, limit))
        port = gateway.client_port
        for _ in range(2 * limit):  # a crowd that opens, and says nothing or a part of something
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            peer.sendall(GET[:20])
        wait_for(lambda: "files open" in gateway.log(), "the log to say so")
        for path in ("/healthz", "/metrics", "/admin/login/"):
            assert http_get(gateway.worker_port, path)[0] == 200
        status, body = http_get(gateway.worker_port, "/readyz")
        assert status == 503 and b"it is at its limit of open files" in body
        assert (await tab.ask(type="sessions"))["ok"], "who is in stays"
        wait_for(lambda: gateway.turned_away("files") > 10, "the crowd to be refused")
        assert gateway.log().count("files open") == 1, "once a minute"
        assert "Traceback" not in gateway.log()
        stack.close()
        wait_for(lambda: upgrade(port).status == 101, "it to heal")


def head_of(port: int, given: bytes) -> bytes:
    """The answer's head."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(given)
        found = b""
        while b"\r\n\r\n" not in found and (data := peer.recv(65_536)):
            found += data
    return found.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/healthz", "localhost", 200),
        ("http://localhost/healthz?x=http://y", "localhost", 200),
        ("HTTP://LOCALHOST:80/healthz", "localhost", 200),
        ("https://localhost:443/healthz", "localhost", 200),
        ("http://localhost:/healthz", "localhost", 200),
        ("http://localhost/healthz", "localhost:", 200),
        ("http://localhost/admin/login/", "localhost", 200),
        ("http://localhost", "localhost", 404),
        ("http://evil.example/admin/login/", "evil.example", 400),
        ("http://localhost/healthz", "evil.example", 400),
        ("http://evil.example/healthz", "localhost", 400),
        ("http://user@localhost/healthz", "localhost", 400),
        ("http:///healthz", "localhost", 400),
        ("ftp://localhost/healthz", "localhost", 400),
        ("localhost:80", "localhost", 400),
    ],
)
def test_an_address_as_target_is_served_as_its_path(
    shared_gateway: Gateway, target: str, host: str, status: int
) -> None:
    given = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    assert answers(shared_gateway.worker_port, given) == [status]


def test_the_host_of_a_target_counts_where_there_is_no_other(shared_gateway: Gateway) -> None:
    for host, status in (("localhost", 200), ("evil.example", 400)):
        given = f"GET http://{host}/admin/login/ HTTP/1.0\r\n\r\n".encode()
        assert answers(shared_gateway.worker_port, given) == [status]


@pytest.mark.parametrize(
    "given",
    [
        GET + b"\r\n",
        GET.replace(b"healthz", b"nowhere") + b"\r\n",
        GET + b"Host: other\r\n\r\n",
        GET + b"Content-Length: 999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HANDSHAKE + b"\r\n",
        b"GET /nowhere HTTP/1.1\r\n" + HANDSHAKE + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HANDSHAKE.replace(b"13", b"99") + b"\r\n",
    ],
    ids=ascii,
)
def test_every_answer_has_one_date(shared_gateway: Gateway, given: bytes) -> None:
    for port in (shared_gateway.client_port, shared_gateway.worker_port):
        assert head_of(port, given).lower().count(b"\r\ndate: ") == 1


@pytest.mark.parametrize("more", [b"Host: other\r\n", b"Content-Length: +3\r\n"], ids=ascii)
def test_what_the_server_refuses_of_the_api_is_a_problem_too(
    shared_gateway: Gateway, more: bytes
) -> None:
    call = b"GET /api/v1/nodes HTTP/1.1\r\nHost: localhost\r\n" + more + b"\r\n"
    private, public = shared_gateway.worker_port, shared_gateway.client_port
    assert b"\r\nContent-Type: application/problem+json\r\n" in head_of(private, call)
    assert b"\r\nContent-Type: text/plain" in head_of(public, call)
    assert b"\r\nContent-Type: text/plain" in head_of(private, GET + more + b"\r\n")


CALL = (
    b"POST /api/v1/messages/batch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\n"
)


def test_422_has_its_name_and_says_where_in_the_body(shared_gateway: Gateway) -> None:
    body = b'{"messages": [{"user": "1", "event": "e"}, {"event": 7, "message": 1}]}'
    for spaces in (b" ", b"   "):
        given = b"%sAuthorization: Bearer%s%s\r\nContent-Length: %d\r\n\r\n%s" % (
            *(CALL, spaces, API_KEY.encode(), len(body), body),
        )
        head = head_of(shared_gateway.worker_port, given)
        assert head.startswith(b"HTTP/1.1 422 Unprocessable Content\r\n")
    key = {"Authorization": f"Bearer   {API_KEY}", "Content-Type": "application/json"}
    status, answer = http_get(
        shared_gateway.worker_port, "/api/v1/messages/batch", method="POST", body=body, headers=key
    )
    assert status == 422
    places = {one["where"] for one in json.loads(answer)["errors"]}
    assert places == {f"body.messages.1.{name}" for name in ("user", "event", "message")}


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/healthz/", "/healthz"),
        ("/readyz/", "/readyz"),
        ("/api/v1/docs/", "/api/v1/docs"),
        ("/api/v1/users/a%2Fb/", "/api/v1/users/a%2Fb"),
        ("/nowhere/", None),
    ],
)
def test_a_slash_too_many_is_told(shared_gateway: Gateway, path: str, meant: str | None) -> None:
    status, body = http_get(shared_gateway.worker_port, path)
    assert status == 404
    assert (f"it is {meant}".encode() in body) if meant else b"it is" not in body


def test_sockets_need_no_slash_at_the_end(shared_gateway: Gateway) -> None:
    assert upgrade(shared_gateway.client_port, "/ws/client?user_id=kim").status == 101
    assert upgrade(shared_gateway.worker_port, "/ws/worker").status == 101


def test_a_socket_at_an_unknown_path_is_told_in_the_log(shared_gateway: Gateway) -> None:
    """Once each, and no longer than a line should be."""
    before = len(shared_gateway.log())
    for port, meant in (
        (shared_gateway.client_port, "'/ or /ws/client'"),
        (shared_gateway.worker_port, "'/ or /ws/worker'"),
    ):
        path = f"/socket-{port}/{'x' * 2_000}"
        assert upgrade(port, f"{path}?token=secret").status == 403
        (line,) = [
            line
            for line in shared_gateway.log()[before:].splitlines()
            if f"/socket-{port}/" in line
        ]
        assert "there is no socket at this path" in line and meant in line and "127.0.0.1" in line
        assert len(line) < 800 and "secret" not in line


def test_operations_have_names_that_make_good_clients(shared_gateway: Gateway) -> None:
    status, body = http_get(shared_gateway.worker_port, "/api/v1/openapi.json")
    found = [one for path in json.loads(body)["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in found]
    assert status == 200 and {"notify_user", "get_task", "list_nodes"} <= set(names)
    assert len(set(names)) == len(names) and all(len(one["tags"]) == 1 for one in found)
    assert not any(name.startswith("sockets") for name in names)


def test_who_waits_for_100_is_not_told_no_and_then_yes(gateway: Gateway) -> None:
    post = b"POST /api/v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n"
    waits = post + b"Expect: 100-continue\r\n\r\n"
    assert answers(gateway.worker_port, waits, b"x" * 100) == [413]


@pytest.mark.parametrize("user", ["%ff", "m%FCller", "a%2F%fe", "%ed%a0%80"])
def test_an_id_that_is_no_utf8_is_nobody_elses(gateway: Gateway, user: str) -> None:
    head = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    path = f"/api/v1/users/{user}/messages"
    status, body = http_get(
        gateway.worker_port, path, method="POST", headers=head, body=b'{"event":"e"}'
    )
    assert (status, json.loads(body)["detail"]) == (422, "the path is no UTF-8")
