"""Who is measured: how each is installed, started, spoken to and published to.

A contestant is one process that serves WebSockets and hears of publications through Redis. What
it says and wants to hear is in `dialect`, as templates of the load generator.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import jwt

from bench.peers.load import USER
from bench.peers.publishing import DATA, command, heard
from tests.support.gateway import JWT_SECRET, ROOT

HERE = Path(__file__).parent
SOCKET = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
REQUEST = {"event": "job.cancel", "data": {**DATA, "stamp": "<stamp>"}}
"""What a client sends."""


class NotInstalled(Exception):
    """Something that a contestant needs is not on this machine."""


def handshake(path: str, *headers: str) -> bytes:
    """Return the request that opens a socket, as a browser makes it."""
    browser = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0 Safari/537.36"
    lines = [f"GET {path} HTTP/1.1", "Host: gateway.example.com", browser, *headers]
    lines += ["Connection: Upgrade", "Upgrade: websocket", "Accept-Encoding: gzip, deflate"]
    return "".join(f"{line}\r\n" for line in lines).encode() + SOCKET + b"\r\n"


def as_json(value: object) -> bytes:
    """Return JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


class Contestant(ABC):
    """One of those who are measured."""

    name: str
    title: str
    kinds: Sequence[str] = ("message",)
    """The ways in which it is told of a message for one user."""
    dialect: Mapping[str, bytes]
    period = 20.0
    """Seconds after which an idle service has done all that it does by the clock."""
    ack = b""
    """What a client says, at most once a second, when it has processed durable messages."""
    _heard: dict[str, bytes] | None = None

    def install(self, cache: Path) -> None:  # noqa: B027  # most of Python need nothing
        """Install what it needs below `cache`, where that was not done yet. Raises NotInstalled,
        and CalledProcessError with what the package manager says."""

    @abstractmethod
    def environment(self, folder: Path, redis_url: str, port: int) -> dict[str, str]:
        """Return its environment; `folder` is its own and empty."""

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """Return how it is started. It shall listen on this port of 127.0.0.1."""

    @property
    def working_folder(self) -> Path:
        """Where it is started."""
        return ROOT

    @abstractmethod
    def publications(self, redis_port: int, environment: Mapping[str, str]) -> dict[str, bytes]:
        """Return the templates of `kinds` and of `broadcast`. Called while it runs."""

    def templates(self, redis_port: int, environment: Mapping[str, str]) -> dict[str, bytes]:
        """Return what `publications` returned when it was asked first: that takes seconds."""
        self._heard = self._heard or self.publications(redis_port, environment)
        return self._heard

    def tokens(self, users: int) -> list[str]:
        """Return what each user proves it is with."""
        return []


def _plain_environment(redis_url: str, port: int) -> dict[str, str]:
    home = os.environ.get("HOME", "/")
    return {"PATH": os.environ["PATH"], "HOME": home, "REDIS_URL": redis_url, "PORT": str(port)}


class Ours(Contestant):
    """The gateway as in production: tokens, presence, durable positions, metrics, info logging.

    `folder`: a checkout, with its own .venv where it has one. `limits`: of the node's connects as
    they are by default, and not wide open.
    """

    kinds = ("durable", "ephemeral")
    period = 50.0  # pings every 25 s, leases every 10 s
    ack = b'{"type":"ack","epoch":"<epoch>","offset":<offset>}'
    _tables = b""

    def __init__(self, folder: Path = ROOT, name: str = "ours", *, limits: bool = False) -> None:
        self.name, self._folder, self._limits = name, folder, limits
        self.title = "the gateway" if name == "ours" else f"the gateway in {folder.name}"
        own = folder / ".venv" / "bin" / "python"
        self._python = str(own) if own.exists() else sys.executable
        self.dialect = {
            # A client id is a ULID, stable for each client.
            "request": handshake(
                "/?client_id=01M838G66AKP9W9B9A<client><resume>",
                "Sec-WebSocket-Protocol: gateway.v1",
                "Authorization: Bearer <token>",
            ),
            "welcome": b'"type":"welcome"',
            "ping": b'{"type":"ping"',
            "pong": as_json({"type": "pong"}),
            "echo": as_json({"type": "send", "ref": "<stamp>", **REQUEST}),
        }

    def with_default_limits(self) -> Ours:
        """Return the same with the limits of its node's connects in force."""
        same = Ours(self._folder, self.name, limits=True)
        same._tables = self._tables
        return same

    def install(self, cache: Path) -> None:
        """Do what goes before the first start; the tables are made once, and copied."""
        self._tables = self.tables()

    def tables(self) -> bytes:
        """Return a database with all tables, as a file of SQLite."""
        with TemporaryDirectory(prefix="peers-") as folder:
            environment = self.environment(Path(folder), "redis://127.0.0.1:1/0", 0)
            subprocess.run(
                [self._python, "manage.py", "migrate", "--verbosity", "0"],
                cwd=self._folder,
                env=environment,
                check=True,
            )
            return (Path(folder) / "gateway.sqlite3").read_bytes()

    @property
    def working_folder(self) -> Path:
        return self._folder

    def environment(self, folder: Path, redis_url: str, port: int) -> dict[str, str]:
        (folder / "none.env").touch()
        (folder / "static").mkdir()
        if self._tables:
            (folder / "gateway.sqlite3").write_bytes(self._tables)
        wide_open = {"NODE_CONNECT_RATE": "1000000", "NODE_CONNECT_BURST": "1000000"}
        return {
            **_plain_environment(redis_url, port),
            "PYTHONPATH": str(HERE / "ours"),
            "DJANGO_SETTINGS_MODULE": "production",
            "ENV_FILE": str(folder / "none.env"),
            "ENVIRONMENT": "production",
            "SECRET_KEY": sha256(b"bench").hexdigest(),
            "DATA_DIR": str(folder),
            "NODE_NAME": folder.name,
            "AUTH": "jwt",
            "JWT_SECRET": JWT_SECRET,
            "CLIENT_SOCKET_URL": "wss://gateway.example.com",
            "CLIENT_ORIGIN": "https://app.example.com",
            "ALLOWED_HOSTS": "gateway.example.com",
            **({} if self._limits else wide_open),
        }

    def command(self, port: int) -> list[str]:
        ports = [f"--client-port={port}", "--worker-port=0"]
        return [self._python, "manage.py", "serve", *ports]

    def templates(self, redis_port: int, environment: Mapping[str, str]) -> dict[str, bytes]:
        # Asked each time: the publisher brings its scripts to a new Redis.
        return self.publications(redis_port, environment)

    def publications(self, redis_port: int, environment: Mapping[str, str]) -> dict[str, bytes]:
        program = [self._python, str(HERE / "publish.py"), "notify"]
        kinds = [*self.kinds, "broadcast"]
        return heard(program, kinds, redis_port, environment, self._folder)

    def tokens(self, users: int) -> list[str]:
        claims = {"exp": int(time.time()) + 24 * 3600, "name": "Kim"}
        return [
            jwt.encode({"sub": f"u{user:06}", **claims}, JWT_SECRET, "HS256")
            for user in range(users)
        ]


class _OfNode(Contestant):
    """A service in JavaScript, whose packages `npm ci` installs from its lock."""

    def install(self, cache: Path) -> None:
        self._installed = cache / self.name
        if shutil.which("node") is None or shutil.which("npm") is None:
            raise NotInstalled(f"{self.title} needs node 20 or newer, with npm")
        for file in (HERE / self.name).iterdir():
            _copy(file, self._installed)
        _once(["npm", "ci", "--no-audit", "--no-fund"], self._installed, "package-lock.json")

    def environment(self, folder: Path, redis_url: str, port: int) -> dict[str, str]:
        return {**_plain_environment(redis_url, port), "NODE_ENV": "production"}

    @property
    def working_folder(self) -> Path:
        return self._installed

    def command(self, port: int) -> list[str]:
        return ["node", "server.js"]


class Ws(_OfNode):
    """What the gateway replaces. It knows no tokens and keeps nothing."""

    name, title = "ws", "`ws` + `ioredis`"
    dialect = {
        "request": handshake("/?user_id=<user>"),
        "welcome": b'"welcome"',
        "echo": as_json({"type": "send", "ref": "<stamp>", **REQUEST}),
    }

    def publications(self, redis_port: int, environment: Mapping[str, str]) -> dict[str, bytes]:
        text = json.dumps({"type": "message", "event": "job.progress", "data": DATA})
        return {
            "message": command("PUBLISH", f"user:{USER}", text),
            "broadcast": command("PUBLISH", "broadcast", text),
        }


SOCKET_IO = {
    "request": handshake("/socket.io/?EIO=4&transport=websocket&user_id=<user>"),
    "hello": b"40",
    "ping": b"2",
    "pong": b"3",
    "echo": b'420["send",' + as_json({"ref": "<stamp>", **REQUEST}) + b"]",
}
"""How clients of socket.io speak: Engine.IO 4 round Socket.IO 5."""


class SocketIo(_OfNode):
    """socket.io in Node, with its adapter for Redis."""

    name, title = "socketio", "socket.io + redis-adapter"
    dialect = {**SOCKET_IO, "welcome": b'["welcome"'}

    def publications(self, redis_port: int, environment: Mapping[str, str]) -> dict[str, bytes]:
        program, kinds = ["node", "publish.js"], [*self.kinds, "broadcast"]
        return heard(program, kinds, redis_port, environment, self.working_folder)


class PythonSocketIo(Contestant):
    """python-socketio on uvicorn, with its manager for Redis."""

    name, title = "python_socketio", "python-socketio"
    dialect = {**SOCKET_IO, "welcome": b'40{"sid"'}

    def install(self, cache: Path) -> None:
        folder = cache / self.name
        self._python = str(folder / "bin" / "python")
        _copy(HERE / self.name / "requirements.txt", folder)
        if not Path(self._python).exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [self._python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _once([*pip, "--require-hashes", "-r", "requirements.txt"], folder, "requirements.txt")

    @property
    def working_folder(self) -> Path:
        return HERE / self.name

    def environment(self, folder: Path, redis_url: str, port: int) -> dict[str, str]:
        return _plain_environment(redis_url, port)

    def command(self, port: int) -> list[str]:
        options = ["--port", str(port), "--no-access-log", "--log-level", "warning"]
        return [self._python, "-m", "uvicorn", "server:application", *options]

    def publications(self, redis_port: int, environment: Mapping[str, str]) -> dict[str, bytes]:
        program, kinds = [self._python, "publish.py"], [*self.kinds, "broadcast"]
        return heard(program, kinds, redis_port, environment, self.working_folder)


class Tutorial(Contestant):
    """The tutorial's consumer on daphne and channels-redis' pub/sub layer."""

    name, title = "tutorial", "the tutorial's consumer, stock pub/sub layer"
    dialect = Ws.dialect

    def environment(self, folder: Path, redis_url: str, port: int) -> dict[str, str]:
        return {**_plain_environment(redis_url, port), "LAYER": "pubsub"}

    def command(self, port: int) -> list[str]:
        application = "bench.peers.tutorial:application"
        return [sys.executable, "-m", "daphne", "-v0", f"--port={port}", application]

    def publications(self, redis_port: int, environment: Mapping[str, str]) -> dict[str, bytes]:
        program = [sys.executable, "-m", "bench.peers.publish", "group_send"]
        return heard(program, [*self.kinds, "broadcast"], redis_port, environment, ROOT)


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if file.is_file():
        shutil.copy(file, folder)


def _once(program: Sequence[str], folder: Path, lock: str) -> None:
    """Run an installation, unless it has been run with this lock."""
    digest = sha256((folder / lock).read_bytes()).hexdigest()
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != digest:
        subprocess.run(program, cwd=folder, check=True, stdout=sys.stderr)
        stamp.write_text(digest)
