"""What a publication is on the wire to Redis: heard from a contestant's own publisher.

The load generator publishes itself, so that all contestants get their load from the same code, at
the same pace, with a time in it that was taken when the bytes left. What it sends is, byte for
byte, what the contestant's own publisher (for us: `notify_user` in a process of its own) sent to
Redis when it was asked once, with another user, stamp and message id in their places. What the
publisher itself costs is in no figure: it is not the service that is measured.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.peers.load import ID, STAMP, USER
from bench.peers.machine import die_with_us
from tests.support.gateway import wait_for

DATA = {"stamp": STAMP, "percent": 42, "note": "x" * 100}
"""What every publication carries, and every request: about 180 bytes of JSON."""

OF_CONNECTIONS = {b"AUTH", b"CLIENT", b"HELLO", b"INFO", b"PING", b"SELECT"}
"""Commands that a client library sends by itself."""


class NotHeard(Exception):
    """The publisher sent nothing that can be sent again for others."""


def command(*words: str) -> bytes:
    """Return a command as Redis reads it."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(one), one) for one in parts)


def commands(sent: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the bytes of each command in what a client sent."""
    at = 0
    while at < len(sent):
        start, count = at, int(sent[at + 1 : (at := sent.index(b"\r\n", at) + 2)])
        name = b""
        for _ in range(count):
            length = int(sent[at + 1 : (at := sent.index(b"\r\n", at) + 2)])
            name = name or sent[at : at + length].upper()
            at += length + 2
        yield name, sent[start:at]


def template(sent: bytes) -> bytes:
    """Return what is sent again for each publication. Raises NotHeard."""
    kept = b"".join(text for name, text in commands(sent) if name not in OF_CONNECTIONS)
    if STAMP.encode() not in kept:
        raise NotHeard(f"the publisher sent no stamp to Redis: {sent[:500]!r}")
    if found := re.search(rb'"id":"([0-9A-Z]{26})"', kept):
        kept = kept.replace(found[1], ID.encode())
    return kept


def heard(
    program: Sequence[str],
    kinds: Sequence[str],
    redis_port: int,
    environment: Mapping[str, str],
    folder: Path,
) -> dict[str, bytes]:
    """Return the template of each kind, as the publisher `program` sends it. Raises NotHeard."""
    with (
        _ear(redis_port) as (port, sent),
        _running(program, port, environment, folder) as publisher,
    ):

        def publish(kind: str, user: str) -> bytes:
            sent.clear()
            publisher.stdin.write(json.dumps({"kind": kind, "user": user, "data": DATA}) + "\n")
            publisher.stdin.flush()
            if not publisher.stdout.readline():
                raise NotHeard(f"{' '.join(program)} ended: see what it wrote above")
            # Some publishers only begin to send when they say that it is done.
            wait_for(lambda: STAMP.encode() in sent, "the publisher to publish", 5)
            return bytes(sent)

        templates = {}
        for kind in kinds:
            # The first one loads scripts. The second is another user's, of whom the publisher
            # knows nothing yet: what it knows of one must not be said of all.
            publish(kind, "u999997")
            templates[kind] = template(publish(kind, USER))
        return templates


@contextmanager
def _running(
    program: Sequence[str], port: int, environment: Mapping[str, str], folder: Path
) -> Iterator[Any]:
    publisher = subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**environment, "REDIS_URL": f"redis://127.0.0.1:{port}/0"},
        cwd=folder,
        text=True,
        preexec_fn=die_with_us,
    )
    try:
        yield publisher
    finally:
        publisher.kill()
        publisher.communicate()


@contextmanager
def _ear(redis_port: int) -> Iterator[tuple[int, bytearray]]:
    """Listen between a client and Redis; yields the port, and what clients have sent."""
    sent = bytearray()

    def carry(source: socket.socket, target: socket.socket, note: bool) -> None:
        with suppress(OSError), source:
            while more := source.recv(65536):
                if note:
                    sent.extend(more)
                target.sendall(more)
            target.shutdown(socket.SHUT_WR)

    def accept(door: socket.socket) -> None:
        with suppress(OSError):  # the door is closed
            while True:
                client, _ = door.accept()
                server = socket.create_connection(("127.0.0.1", redis_port))
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=accept, args=(door,), daemon=True).start()
        yield door.getsockname()[1], sent
        door.shutdown(socket.SHUT_RDWR)
