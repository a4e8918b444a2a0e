"""What guards the secrets of a start: unsafe production settings, and development's own key."""

from __future__ import annotations

import os
import secrets as random
import tempfile
from pathlib import Path

from gateway.env import Wrong
from sockets.types import Surface


def refuse_in_production(
    *, auth: tuple[str, ...], origins: tuple[str, ...], surface: Surface, debug: bool, demo: bool
) -> None:
    """Raise Wrong for the first setting that must not face the world."""
    if "insecure" in auth:
        raise Wrong("AUTH", "insecure lets everybody be anybody", "use AUTH=jwt in production")
    if "*" in origins:
        raise Wrong("CLIENT_ORIGIN", "* lets every page connect", "list the pages' origins")
    if surface is Surface.BOTH:
        raise Wrong("SURFACE", "both shows the admin to the world", "choose public or private")
    if debug:
        raise Wrong("DEBUG", "it shows the inside of errors", "unset it in production")
    if demo:
        raise Wrong("DEMO", "the demo hands out identities", "unset it in production")


def make_folder(folder: Path) -> None:
    """Make the folder, for the owner alone, unless it is there; Wrong if that fails."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Wrong(
            "DATA_DIR", f"{str(folder)!r} cannot be made ({error.strerror})", "name another folder"
        ) from error


def kept(file: Path) -> str:
    """The secret in `file`; the first caller makes it (mode 0600), all get the same.

    Several processes may start at once, so a whole file appears under its name or none.
    """
    make_folder(file.parent)
    if not file.exists():
        handle, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # mode 0600
        try:
            with os.fdopen(handle, "w") as output:
                output.write(random.token_urlsafe(48))
            os.link(draft, file)
        except FileExistsError:
            pass  # another process was first, and its secret counts
        finally:
            os.unlink(draft)
    secret = file.read_text().strip()
    if not secret:
        raise Wrong("SECRET_KEY", f"{str(file)!r} is empty", "delete that file, or set it")
    return secret
