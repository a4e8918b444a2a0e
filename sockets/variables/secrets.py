"""What guards the secrets of a start: unsafe production settings, and development's own key."""

from __future__ import annotations

import os
import re
import secrets as random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sockets.conf import Fault
from sockets.types import Surface
from sockets.variables.env import Env
from sockets.variables.faults import Wrong

_AT_LEAST = 32  # bytes
_DIFFERENT = 8  # characters; 32 random hexadecimal digits have more
_PLACEHOLDER = re.compile(
    r"(?i)change.?me|replace.?me|insecure|passw|your.?(secret|key)|example|a-long-random"
)
_REMEDY = "make one: openssl rand -hex 32"
_SINGLE = ("SECRET_KEY", "JWT_SECRET", "WEBHOOK_SECRET")
_LISTS = ("JWT_SECRETS", "WORKER_KEYS", "API_KEYS")


def unsafe_in_production(
    *, auth: tuple[str, ...], origins: tuple[str, ...], surface: Surface, debug: bool, demo: bool
) -> Iterator[Wrong]:
    """The settings that must not face the world."""
    if "insecure" in auth:
        yield Wrong("AUTH", "insecure lets everybody be anybody", "use AUTH=jwt in production")
    if "*" in origins:
        yield Wrong("CLIENT_ORIGIN", "* lets every page connect", "list the pages' origins")
    if surface is Surface.BOTH:
        yield Wrong("SURFACE", "both shows the admin to the world", "choose public or private")
    if debug:
        yield Wrong("DEBUG", "it shows the inside of errors", "unset it in production")
    if demo:
        yield Wrong("DEMO", "the demo hands out identities", "unset it in production")


def weak(env: Env) -> Iterator[Wrong | Fault]:
    """The secrets that are short, guessable, or have two uses.

    Keys are looked at as they were given: what is kept of them is a hash.
    """
    used: dict[str, str] = {}
    for name, whose, secret in _given(env):
        use = name.removesuffix("S")  # JWT_SECRET and JWT_SECRETS are one
        other = used.setdefault(secret, use)
        if (size := len(secret.encode())) < _AT_LEAST:
            yield Wrong(name, f"{whose} has {size} of the {_AT_LEAST} bytes it needs", _REMEDY)
        elif len(set(secret)) < _DIFFERENT or _PLACEHOLDER.search(secret):
            yield _certain(Wrong(name, f"{whose} can be guessed", _REMEDY))
        elif other != use:
            both = f"{whose} is that of {other}: who has one has both"
            yield _certain(Wrong(name, both, _REMEDY))


def _certain(wrong: Wrong) -> Fault:
    """To be told whatever else is wrong with the variable: no reader looks for this."""
    return replace(wrong.faults[0], names=())


def _given(env: Env) -> Iterator[tuple[str, str, str]]:
    """(variable, whose secret it is, the secret) of all that are set."""
    for name in _SINGLE:
        if secret := env.given(name):
            yield name, "it", secret
    for name in _LISTS:
        for item in (env.given(name) or "").split(","):
            label, colon, secret = (part.strip() for part in item.partition(":"))
            if colon:
                yield name, f"the secret of {label!r}", secret


def no_folder(folder: Path, name: str = "DATA_DIR") -> Iterator[Wrong]:
    """Why the folder cannot be used; writes nothing."""
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


def kept(file: Path) -> str:
    """The secret in `file`; the first caller makes it (mode 0600), all get the same.

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
                output.write(random.token_urlsafe(48))
            os.link(draft, file)
        except FileExistsError:
            pass  # another process was first, and its secret counts
        finally:
            os.unlink(draft)
    return file.read_text().strip()
