"""Rule 22: `node.json`, by which processes of one user find the gateway beside them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sockets.api.beside import Beside, file_of, read, write
from sockets.conf import Conf
from sockets.exceptions import GatewayUnreachable

FOUND = Beside("http://127.0.0.1:4001/api/v1/", "secret", os.getpid(), "ws://c", "ws://w")


@pytest.fixture
def conf(tmp_path: Path) -> Conf:
    return Conf(data_dir=tmp_path / "var")


def test_what_is_written_is_read(conf: Conf) -> None:
    file = write(conf, FOUND)
    assert read(conf) == FOUND
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    write(conf, FOUND)
    assert [one.name for one in file.parent.iterdir()] == ["node.json"], "no draft is left"


def test_without_one_the_remedy_is_told(conf: Conf) -> None:
    with pytest.raises(GatewayUnreachable, match=r"python manage\.py serve"):
        read(conf)


def test_one_of_a_process_that_was_killed_does_not_count(conf: Conf) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write(conf, Beside("http://x/", "k", dead.pid, "", ""))
    with pytest.raises(GatewayUnreachable):
        read(conf)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"url": 5}', b"x" * 200_000])
def test_one_that_cannot_be_read_is_told(conf: Conf, content: bytes) -> None:
    write(conf, FOUND).write_bytes(content)
    with pytest.raises(GatewayUnreachable, match="serve` again"):
        read(conf)


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o660, 0o604])
def test_one_that_others_may_read_or_write_is_not_believed(conf: Conf, mode: int) -> None:
    write(conf, FOUND).chmod(mode)
    with pytest.raises(GatewayUnreachable, match="is not this user's alone"):
        read(conf)


def test_nor_is_one_of_another_user(conf: Conf, monkeypatch: pytest.MonkeyPatch) -> None:
    write(conf, FOUND)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(GatewayUnreachable, match="is not this user's alone"):
        read(conf)


def test_nor_a_link_to_something_else(conf: Conf, tmp_path: Path) -> None:
    file = write(conf, FOUND)
    file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(GatewayUnreachable):
        read(conf)
    assert file_of(conf) == file
