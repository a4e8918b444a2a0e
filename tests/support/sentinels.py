"""A sentinel that says what a test wants, and counts who asks."""

from __future__ import annotations

import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, Self


class FakeSentinel(ThreadingTCPServer):
    """Names a primary of the service `m`. `up` false: it hangs up on everybody; `silent`: it takes
    connections, and answers nothing."""

    daemon_threads = True

    def __init__(self, primary: int, epoch: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port: int = self.server_address[1]
        self.primary, self.epoch, self.up = primary, epoch, True
        self.silent = False
        self.asked = self.connections = 0
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()

    def state(self) -> bytes:
        """Return what it says of all its services, which is one."""
        state: dict[str, object] = {
            "name": "m",
            "ip": "127.0.0.1",
            "port": self.primary,
            "flags": "master",
            "num-other-sentinels": 1,
            "config-epoch": self.epoch,
        }
        words = [str(word).encode() for pair in state.items() for word in pair]
        packed = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        return b"*1\r\n*%d\r\n%s" % (len(words), packed)


class _Handler(StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        self.server.connections += 1
        while self.server.up and (line := self.rfile.readline()):
            words = [self._word() for _ in range(int(line[1:]))]
            if not self.server.up:
                break
            if self.server.silent:
                continue
            asks = words[0].upper() == b"SENTINEL"
            self.server.asked += asks
            self.wfile.write(self.server.state() if asks else b"+OK\r\n")

    def _word(self) -> bytes:
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:-2]


def url_of(*sentinels: FakeSentinel) -> str:
    hosts = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
    return f"redis+sentinel://{hosts}/0?service=m"
