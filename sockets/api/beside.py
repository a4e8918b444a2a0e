"""The gateway beside this process, in development: `node.json` in DATA_DIR says how to call it.

`manage.py serve` writes the file in memory mode, for `runserver`, commands and shells of the same
user on the same machine. Its key is made for that run and kept nowhere else. Never in production.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from sockets.conf import Conf
from sockets.exceptions import GatewayUnreachable

FILE: Final = "node.json"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Beside(Struct):
    """A gateway on this machine. `url`: where its API begins."""

    url: str
    key: str
    pid: int
    client_socket_url: str
    worker_socket_url: str


def file_of(conf: Conf) -> Path:
    """Return where it is."""
    return conf.data_dir / FILE


def write(conf: Conf, found: Beside) -> Path:
    """Write the file, for this user alone; the whole of it or nothing. Returns where it is."""
    file = file_of(conf)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as output:
        output.write(msgspec.json.encode(found))
    draft.replace(file)
    return file


def read(conf: Conf) -> Beside:
    """Return the gateway beside this process. Raises GatewayUnreachable, with the remedy."""
    file = file_of(conf)
    try:
        # Not blocking: somebody may have put a named pipe there.
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as content:
            seen = os.fstat(content.fileno())
            if seen.st_uid != os.getuid() or seen.st_mode & _OTHERS:
                raise GatewayUnreachable(
                    f"{str(file)!r} is not this user's alone, and would be believed: remove it, "
                    "and start `python manage.py serve` as this user"
                )
            found = msgspec.json.decode(content.read(100_000), type=Beside)
    except FileNotFoundError:
        raise GatewayUnreachable from None
    except (OSError, msgspec.MsgspecError) as error:
        raise GatewayUnreachable(
            f"{str(file)!r} cannot be read ({error}): start `python manage.py serve` again"
        ) from None
    if not _lives(found.pid):
        raise GatewayUnreachable
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # another user's, by chance with the same number
    return True
