"""The folders of a start, and the secret that a development machine makes for itself."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sockets.variables.faults import Wrong


def no_folder(folder: Path, name: str = "DATA_DIR") -> Iterator[Wrong]:
    """Yield why the folder cannot be used; writes nothing."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        yield Wrong(name, f"{str(there)!r} is no folder", "name another folder")
    elif there != folder and not os.access(there, os.W_OK | os.X_OK):
        why = f"{str(folder)!r} cannot be made: this user may not write in {str(there)!r}"
        yield Wrong(name, why, "make it, or name another folder")


def make_folder(folder: Path, name: str = "DATA_DIR") -> None:
    """Make the folder, for the owner alone, unless it is there; Wrong if that fails."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Wrong(
            name, f"{str(folder)!r} cannot be made ({error.strerror})", "name another folder"
        ) from error


def kept_secret(file: Path) -> str:
    """Return the secret in `file`; the first caller makes it (mode 0600), all get the same.

    Several processes may start at once, so a whole file appears under its name or none.
    """
    make_folder(file.parent)
    try:
        secret = _read_or_make(file)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise Wrong(
            "SECRET_KEY",
            f"it is not set, and {str(file)!r} can be neither made nor read ({why})",
            "set it, or mend that file and the rights to DATA_DIR",
        ) from error
    if not secret:
        raise Wrong("SECRET_KEY", f"{str(file)!r} is empty", "delete that file, or set it")
    return secret


def _read_or_make(file: Path) -> str:
    if not file.exists():
        handle, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # mode 0600
        try:
            with os.fdopen(handle, "w") as output:
                output.write(secrets.token_urlsafe(48))
            os.link(draft, file)
        except FileExistsError:
            pass  # another process was first, and its secret counts
        finally:
            os.unlink(draft)
    return file.read_text().strip()
