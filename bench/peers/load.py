"""The load generator: compiled, started, asked. What it understands is at the top of load.c."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from bench.peers.machine import die_with_us

SOURCE = Path(__file__).with_name("load.c")
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")

USER = "u999998"
"""A user in what a publisher was heard to send: the generator puts the real one in its place."""

STAMP = "stamp:9999:999998:99999998:00000000000099999998"
"""A stamp there, of the length that all have."""

ID = "01M99999999999999999999998"
"""A message's own id there."""

MARKS = {
    **{USER: "USER", STAMP: "STAMP", ID: "ID"},
    **{f"<{word.lower()}>": word for word in ("USER", "CLIENT", "TOKEN", "RESUME")},
    **{f"<{word.lower()}>": word for word in ("STAMP", "EPOCH", "OFFSET")},
}
"""What stands for a value in a template, and the generator's word for it."""

_MARK = re.compile(b"(" + b"|".join(re.escape(mark.encode()) for mark in MARKS) + b")")


class NoCompiler(Exception):
    """There is no C compiler."""

    def __str__(self) -> str:
        return (
            "the load generator is written in C, and there is no compiler: install one "
            "(Debian, Ubuntu: apt-get install gcc libc6-dev) or name yours with CC=/path/to/cc"
        )


class LoadFailed(Exception):
    """The generator ended, or did not answer in time."""


def compiled(folder: Path) -> Path:
    """Return the program, made where that was not done yet. Raises NoCompiler, and
    CalledProcessError with what the compiler says."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    program = folder / f"load-{digest}"
    if not program.exists():
        compiler = shutil.which(os.environ.get("CC") or "cc")
        if compiler is None:
            raise NoCompiler
        folder.mkdir(parents=True, exist_ok=True)
        half_done = folder / f"load-{os.getpid()}"
        subprocess.run([compiler, *FLAGS, "-o", str(half_done), str(SOURCE)], check=True)
        half_done.rename(program)
    return program


def pieces(template: bytes) -> str:
    """Return a template in the words of the generator: hex, and the names of values."""
    words = {mark.encode(): word for mark, word in MARKS.items()}
    parts = [part for part in _MARK.split(template) if part]
    return " ".join(words[part] if part in words else part.hex() for part in parts)


class Load:
    """The generator, as a process that answers. Ends with its `with` block."""

    def __init__(self, program: Path, templates: Mapping[str, bytes], **numbers: int) -> None:
        self._process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            preexec_fn=die_with_us,
        )
        self._answers = b""
        for name, value in numbers.items():
            self.ask(f"number {name} {value}")
        for name, template in templates.items():
            self.ask(f"set {name} {pieces(template)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, command: str, seconds: float = 20) -> dict[str, Any]:
        """Carry out a command and return what came of it. Raises LoadFailed."""
        self.begin(command)
        return self.answer(command, seconds)

    def acknowledge(self, ack: bytes) -> None:
        """Let clients say this when they have processed durable messages; b"": nothing."""
        self.ask(f"set ack {pieces(ack)}")

    def begin(self, command: str) -> None:
        """Begin a command; `answer` must be called before the next one."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
        except BrokenPipeError:
            raise LoadFailed("the load generator has ended: see what it wrote above") from None

    def answer(self, command: str, seconds: float = 20) -> dict[str, Any]:
        """Wait for what came of the command that was begun. Raises LoadFailed."""
        assert self._process.stdout is not None
        while b"\n" not in self._answers:
            if not select.select([self._process.stdout], [], [], seconds)[0]:
                raise LoadFailed(f"no answer within {seconds:g} s: {command}")
            if not (more := self._process.stdout.read(65536)):
                raise LoadFailed(f"the load generator ended: {command}")
            self._answers += more
        line, self._answers = self._answers.split(b"\n", 1)
        told: dict[str, Any] = json.loads(line)
        return told
