"""Secrets and keys out of text. No message shows one, and only hashes of API keys are kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from sockets.variables.faults import Items, Wrong
from sockets.variables.values import LABEL, LABEL_RULE, parse_words

_MOST: Final = 16  # keys of one kind: each token may have to be tried with all of them
_MAKE_ONE: Final = "for example from: openssl rand -hex 32"


def parse_secret(name: str, text: str, at_least: int) -> str:
    """Read a secret of `at_least` bytes."""
    if (size := len(text.encode())) < at_least:
        fault = f"{size} bytes are too short to be safe"
        raise Wrong(name, fault, f"give {at_least} or more, {_MAKE_ONE}")
    return text


def parse_labelled_secrets(name: str, text: str, at_least: int) -> tuple[tuple[str, str], ...]:
    """Read a comma list of `id:secret`, at most 16, for keys that are rotated."""
    found: dict[str, str] = {}
    faults = Items()
    for number, item in enumerate(text.split(","), start=1):
        with faults.each():
            label, secret = _labelled_secret(name, number, item, at_least)
            if label in found:
                raise Wrong(name, f"the id {label!r} is there twice", "give each key its own")
            found[label] = secret
    faults.refuse()
    return _few(name, tuple(found.items()))


def _labelled_secret(name: str, number: int, item: str, at_least: int) -> tuple[str, str]:
    label, colon, secret = (part.strip() for part in item.strip().partition(":"))
    if not colon or LABEL.fullmatch(label) is None:
        remedy = f"write id:secret,id:secret; ids: {LABEL_RULE}"
        raise Wrong(name, f"item {number} has no proper id", remedy)
    if (size := len(secret.encode())) < at_least:
        fault = f"the secret of {label!r} has {size} bytes, too few to be safe"
        raise Wrong(name, fault, f"give {at_least} or more, {_MAKE_ONE}")
    return label, secret


def parse_labelled_files(name: str, text: str, base: Path) -> tuple[tuple[str, str], ...]:
    """Read a comma list of `id:path` or `path`, at most 16. Returns (id or "", content) of each."""
    found: list[tuple[str, str]] = []
    faults = Items()
    for item in parse_words(name, text):
        label, colon, path = item.partition(":")
        if not colon or LABEL.fullmatch(label) is None:
            label, path = "", item
        file = base / Path(path.strip()).expanduser()
        with faults.each():
            try:
                found.append((label, file.read_text("utf-8")))
            except (OSError, UnicodeDecodeError):
                raise Wrong(name, f"{path!r} cannot be read", "name a file in PEM") from None
    faults.refuse()
    return _few(name, tuple(found))


def _few(name: str, keys: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if len(keys) > _MOST:
        raise Wrong(name, f"{len(keys)} keys are too many", f"keep at most {_MOST}")
    return keys


def parse_keys(name: str, text: str) -> dict[str, str]:
    """Read a comma list of `name:secret`. Returns {name: SHA-256 of the secret in hex}.

    The secret itself is not kept: neither a settings page nor a traceback can show it.
    """
    keys: dict[str, str] = {}
    faults = Items()
    for number, item in enumerate(text.split(","), start=1):
        with faults.each():
            label, digest = _key(name, number, item)
            if label in keys:
                raise Wrong(name, f"the name {label!r} is there twice", "give each key its own")
            if digest in keys.values():
                fault = f"{label!r} has the secret of another key"
                raise Wrong(name, fault, "give each key its own, so that one can be withdrawn")
            keys[label] = digest
    faults.refuse()
    return keys


def _key(name: str, number: int, item: str) -> tuple[str, str]:
    form = "write name:secret,name:secret"
    label, colon, secret = (part.strip() for part in item.strip().partition(":"))
    if not colon:
        raise Wrong(name, f"item {number} has no colon", form)
    if LABEL.fullmatch(label) is None:
        raise Wrong(name, f"item {number} has no proper name", f"use {LABEL_RULE}")
    if not secret:
        raise Wrong(name, f"the secret of {label!r} is empty", form)
    return label, hashlib.sha256(secret.encode()).hexdigest()
