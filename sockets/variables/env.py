"""Strict readers of environment variables; only `gateway/settings.py` uses them.

django-environ reads the `.env` file and takes database URLs apart. Its other readers are too kind
for an operator's typing errors: "banana" is False, "" is no default, a password that starts with
"$" is taken as the name of another variable. Here a value is either right or a `Wrong` that names
the variable, the fault and the remedy on one line, and that never shows a secret.

An operator should hear of everything that is wrong in one start. A `patient` Env therefore notes
what is wrong, reads that variable as if it were unset, and goes on; `refuse` raises what there is.

A variable that is set but empty counts as unset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit
from zoneinfo import available_timezones

import environ

from sockets.auth.origins import is_nowhere, parse_rule
from sockets.base.client_address import Trusted, parse_trusted
from sockets.conf import Fault, WrongSettings
from sockets.redis import SentinelGroup
from sockets.variables import dotenv
from sockets.variables.faults import LABEL, LABEL_RULE, Items, Wrong, key, labelled_secret

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_SHOWN = 200  # characters of a wrong value


P = ParamSpec("P")
T = TypeVar("T")


def _reader(
    read: Callable[Concatenate[Env, str, P], T],
) -> Callable[Concatenate[Env, str, P], T]:
    """A patient Env notes what the reader raises, and reads once more: the variable is unset."""

    @wraps(read)
    def patient(self: Env, name: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(self, name, *args, **kwargs)
        except WrongSettings as error:
            if not self.patient or name in self.wrong:
                raise
            self.note(*error.faults)
            self.wrong.add(name)
            return read(self, name, *args, **kwargs)

    return patient


class Env:
    """The variables of one start: what the process was given, then what the file adds.

    `names` collects every variable that was asked for; the tests hold the documents to it.
    `patient`: faults are noted and not raised. `wrong`: the variables that could not be read.
    """

    def __init__(
        self, given: Mapping[str, str], file: Path | None = None, *, patient: bool = False
    ) -> None:
        class Source(environ.Env):
            ENVIRON = dict(given)  # type: ignore[assignment]  # a copy: os.environ stays as it is

        self.patient = patient
        self.wrong: set[str] = set()
        self._faults: list[Fault] = []
        if file is not None:
            faults = Items()
            assignments: list[str] = []
            for line in dotenv.lines(_text_of(file)):
                with faults.each():
                    if isinstance(line, dotenv.WrongLine):
                        raise Wrong(f"{file.name}, line {line.number}", line.fault, line.remedy)
                    quote = '"' if line.escaped else "'"
                    assignments.append(f"{line.name}={quote}{line.value}{quote}")
            try:
                faults.refuse()
            except WrongSettings as error:
                if not patient:
                    raise
                self.note(*error.faults)
            Source.read_env(StringIO("\n".join(assignments)))
        self._values: Mapping[str, str] = Source.ENVIRON
        self.names: set[str] = set()

    def raw(self, name: str) -> str | None:
        """The value without surrounding white space, or None if unset or empty."""
        self.names.add(name)
        return None if name in self.wrong else self.given(name)

    def given(self, name: str) -> str | None:
        """The same of a value that may be wrong."""
        return self._values.get(name, "").strip() or None

    def note(self, *faults: Fault | Wrong) -> None:
        """Keep faults for `refuse`, without those of variables that could not be read: they may be
        faults of the default that was taken instead."""
        for each in faults:
            plain = each.faults if isinstance(each, Wrong) else (each,)
            self._faults += [one for one in plain if self.wrong.isdisjoint(one.names)]

    def refuse(self) -> None:
        """Raise what was noted, if anything was."""
        if self._faults:
            raise WrongSettings(*dict.fromkeys(self._faults))

    @_reader
    def label(self, name: str, default: str) -> str:
        """A short name that is safe in logs, metrics and addresses."""
        value = self.raw(name) or default
        if LABEL.fullmatch(value) is None and name not in self.wrong:  # the default may be
            raise Wrong(name, f"{value!r} is no proper name", f"use {LABEL_RULE}")
        return value

    @_reader
    def path(self, name: str, default: Path, *, base: Path) -> Path:
        """A file or folder; relative ones begin at `base`."""
        value = self.raw(name)
        return default if value is None else base / Path(value).expanduser()

    @_reader
    def secret(self, name: str, default: str = "", *, at_least: int = 0) -> str:
        """A value that no message may show, of `at_least` bytes."""
        value = self.raw(name)
        if value is None:
            return default
        if (size := len(value.encode())) < at_least:
            raise Wrong(
                name,
                f"{size} bytes are too short to be safe",
                f"give {at_least} or more, for example from: openssl rand -hex 32",
            )
        return value

    @_reader
    def flag(self, name: str, default: bool) -> bool:
        """True or false, in the usual words."""
        value = self.raw(name)
        if value is None:
            return default
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
        raise Wrong(name, f"{value!r} is neither true nor false", "write true or false")

    @_reader
    def integer(
        self, name: str, default: int, *, minimum: int = 1, maximum: int = 2**31 - 1
    ) -> int:
        """A whole number between the bounds, both included."""
        value = self.raw(name)
        if value is None:
            return default
        try:
            number = int(value) if value.isascii() and "_" not in value else None
        except ValueError:
            number = None
        if number is None:
            raise Wrong(name, f"{value!r} is not a whole number", "write digits only")
        if not minimum <= number <= maximum:
            raise Wrong(
                name, f"{number} is out of range", f"choose a number from {minimum} to {maximum}"
            )
        return number

    def size(self, name: str, default: int, *, minimum: int = 1024) -> int:
        """Bytes."""
        return self.integer(name, default, minimum=minimum)

    def port(self, name: str, default: int) -> int:
        """A TCP port; 0 lets the system choose."""
        return self.integer(name, default, minimum=0, maximum=65535)

    @_reader
    def seconds(self, name: str, default: float, *, minimum: float = 0.01) -> float:
        """A duration in seconds, fractions allowed."""
        value = self.raw(name)
        if value is None:
            return default
        if re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII) is None:
            raise Wrong(
                name, f"{value!r} is not a number of seconds", "write a number such as 10 or 0.5"
            )
        number = float(value)
        if not minimum <= number <= 10 * 365 * 86400:
            raise Wrong(
                name, f"{value} s is out of range", f"choose from {minimum:g} s to ten years"
            )
        return number

    @_reader
    def choice(self, name: str, default: str, words: Iterable[str]) -> str:
        """One of `words`, whatever its case."""
        value = self.raw(name)
        if value is None:
            return default
        words = tuple(words)
        if value.lower() not in words:
            raise Wrong(name, f"{value!r} is not known", f"choose one of {', '.join(words)}")
        return value.lower()

    @_reader
    def words(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A comma list: white space round the items is dropped, empty or double items are wrong."""
        value = self.raw(name)
        if value is None:
            return default
        items = tuple(item.strip() for item in value.split(","))
        if "" in items:
            raise Wrong(name, "an item of the list is empty", "remove the extra comma")
        if len(set(items)) < len(items):
            raise Wrong(name, "an item is there twice", "remove one of the two")
        return items

    @_reader
    def choices(self, name: str, default: tuple[str, ...], known: Iterable[str]) -> tuple[str, ...]:
        """A comma list of words out of `known`."""
        known = tuple(known)
        items = tuple(word.lower() for word in self.words(name, default))
        faults = Items()
        for word in items:
            with faults.each():
                if word not in known:
                    raise Wrong(name, f"{word!r} is not known", f"choose from {', '.join(known)}")
        faults.refuse()
        return items

    @_reader
    def labelled_secrets(self, name: str, *, at_least: int) -> tuple[tuple[str, str], ...]:
        """A comma list of `id:secret`, at most 16, for keys that are rotated."""
        found: dict[str, str] = {}
        faults = Items()
        value = self.raw(name)
        for number, item in enumerate(value.split(",") if value else (), start=1):
            with faults.each():
                label, secret = labelled_secret(name, number, item, at_least)
                if label in found:
                    raise Wrong(name, f"the id {label!r} is there twice", "give each key its own")
                found[label] = secret
        faults.refuse()
        return self._few(name, tuple(found.items()))

    @_reader
    def labelled_files(self, name: str, *, base: Path) -> tuple[tuple[str, str], ...]:
        """A comma list of `id:path` or `path`, at most 16, as (id or "", content)."""
        found: list[tuple[str, str]] = []
        faults = Items()
        for item in self.words(name):
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
        return self._few(name, tuple(found))

    @staticmethod
    def _few(name: str, keys: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """Each token may have to be tried with all of them."""
        if len(keys) > 16:
            raise Wrong(name, f"{len(keys)} keys are too many", "keep at most 16")
        return keys

    @_reader
    def keys(self, name: str) -> dict[str, str]:
        """A comma list of `name:secret` as {name: SHA-256 of the secret in hex}.

        The secret itself is not kept: neither a settings page nor a traceback can show it.
        """
        keys: dict[str, str] = {}
        faults = Items()
        value = self.raw(name)
        for number, item in enumerate(value.split(",") if value else (), start=1):
            with faults.each():
                label, digest = key(name, number, item)
                if label in keys:
                    raise Wrong(name, f"the name {label!r} is there twice", "give each key its own")
                if digest in keys.values():
                    raise Wrong(
                        name,
                        f"{label!r} has the secret of another key",
                        "give each key its own, so that one can be withdrawn",
                    )
                keys[label] = digest
        faults.refuse()
        return keys

    @_reader
    def url(self, name: str, schemes: Iterable[str]) -> str | None:
        """A URL with a host and without user, query or fragment; no slash at its end."""
        value = self.raw(name)
        if value is None:
            return None
        schemes = tuple(schemes)
        parts = _split(name, value, schemes)
        if parts.query or parts.fragment or "?" in value or "#" in value:
            raise Wrong(name, "it has a query or a fragment", "end it before the ? or #")
        return value.rstrip("/")

    @_reader
    def url_path(self, name: str, default: str) -> str:
        """The path of a URL as it stands in one: printable ASCII without query or fragment."""
        value = self.raw(name)
        if value is None:
            return default
        if _PATH.fullmatch(value) is None:
            raise Wrong(name, "it is not the path of a URL", "write /such/a/path, without a query")
        return value

    @_reader
    def origins(self, name: str, *, below: bool = False) -> tuple[str, ...]:
        """A comma list of origins as browsers write them (lower case, no default port), or "*".

        `below`: `scheme://*.host` may stand for all subdomains of a host, and an origin may be
        that of an app (`capacitor://localhost`).
        """
        items = self.words(name)
        if "*" in items and len(items) > 1:
            raise Wrong(name, "* stands beside other origins", "give * alone or a list without it")
        if items == ("*",):
            return items
        found: list[str] = []
        faults = Items()
        for item in items:
            with faults.each():
                found.append(_origin(name, item, below=below))
        faults.refuse()
        return tuple(found)

    @_reader
    def time_zone(self, name: str, default: str) -> str:
        """A name of the time zone database, such as Europe/Berlin."""
        value = self.raw(name)
        if value is None or value == default:
            return default
        known = available_timezones()
        if value not in known:
            alike = {zone.lower(): zone for zone in known}
            hint = alike.get(value.lower(), "Europe/Berlin, Asia/Seoul or UTC")
            raise Wrong(
                name, f"{value[:_SHOWN]!r} is no time zone of this machine", f"write {hint}"
            )
        return value

    @_reader
    def redis_url(self, name: str, database: int = 0) -> str | None:
        """The address of a Redis server, with its database number; only its form is looked at."""
        value = self.raw(name)
        return None if value is None else _redis(name, value, database)

    @_reader
    def redis_urls(self, name: str) -> tuple[str, ...]:
        """Several, separated by spaces."""
        return tuple(_redis(name, url, 0) for url in (self.raw(name) or "").split())

    @_reader
    def proxies(self, name: str) -> Trusted:
        """A count of proxies, or the networks that they are in."""
        try:
            return parse_trusted(self.words(name))
        except ValueError as error:
            raise Wrong(name, str(error), "write a count, or networks as 10.0.0.0/8") from None

    @_reader
    def database(self, name: str) -> dict[str, Any] | None:
        """Django's description of the database at a sqlite: or postgres: URL."""
        value = self.raw(name)
        if value is None:
            return None
        scheme = value.partition(":")[0].lower()
        remedy = "write postgres://USER:PASSWORD@HOST:5432/NAME or sqlite:////absolute/path"
        if scheme not in ("sqlite", "postgres", "postgresql"):
            raise Wrong(name, "it names neither PostgreSQL nor SQLite", remedy)
        try:
            found: dict[str, Any] = environ.Env.db_url_config(value)  # type: ignore[no-untyped-call]
        except ValueError:  # a port that is no number; the text of the error may hold the password
            raise Wrong(name, "it is not a proper URL", remedy) from None
        if found["NAME"] in ("", ":memory:"):
            # Every thread would have a database of its own.
            raise Wrong(name, "it names no database", remedy)
        return found


def hosts_of(*urls: str | None) -> tuple[str, ...]:
    """The hosts of those URLs that are set, as an HTTP request names them (without the port)."""
    found = []
    for url in urls:
        if url is not None and (host := urlsplit(url).hostname):
            found.append(f"[{host}]" if ":" in host else host)
    return tuple(found)


def _text_of(file: Path) -> str:
    """Raises Wrong for a file that cannot be read: without it whatever it sets would be told as
    missing."""
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(str(file), f"it cannot be read ({type(error).__name__})", "mend it") from error


def _split(name: str, value: str, schemes: tuple[str, ...], *, user: bool = False) -> SplitResult:
    """Take a URL apart; Wrong unless it has one of `schemes`, a host and a proper port.

    The value itself is shown only where it cannot hold a password (`user` False and none there).
    """
    remedy = f"write {' or '.join(f'{scheme}://HOST:PORT' for scheme in schemes[:2])}"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise Wrong(name, "it is not a proper URL", remedy) from None
    if "@" in parts.netloc and not user:
        raise Wrong(name, "it holds a user or a password", remedy)
    if parts.scheme not in schemes:
        raise Wrong(name, f"it does not begin with {' or '.join(schemes)} and ://", remedy)
    if not parts.hostname or port == 0 or re.search(r"\s", value):
        raise Wrong(name, "it is not a proper URL", remedy)
    return parts


CLUSTER = "redis+cluster://"
_REDIS = "write redis://HOST:PORT/0, rediss://… or redis+sentinel://HOST,HOST/0?service=NAME"


def _redis(name: str, url: str, database: int) -> str:
    """One address with its database number, from the URL's path or from `database`."""
    if url.startswith(CLUSTER):
        if database or urlsplit(url).path.strip("/"):
            raise Wrong(name, "a Cluster has no database numbers", "leave the number out")
        return url
    if url.startswith("redis+sentinel://"):
        try:
            SentinelGroup.of(url)
        except ValueError:
            raise Wrong(name, "it is not a proper URL", _REDIS) from None
    elif not url.startswith("unix:///"):
        _split(name, url, ("redis", "rediss", "unix"), user=True)
    parts = urlsplit(url)
    if parts.scheme == "unix":
        given = dict(parse_qsl(parts.query)).get("db")
    else:
        given = parts.path.strip("/")
    if given and not given.isdecimal():
        raise Wrong(name, "its path is no database number", _REDIS)
    if given or not database:
        if given and database and int(given) != database:
            raise Wrong(name, f"it names database {given}, REDIS_DB {database}", "name one of them")
        return url
    if parts.scheme == "unix":  # urlunsplit would lose its slashes
        return f"{url}{'&' if parts.query else '?'}db={database}"
    return urlunsplit(parts._replace(path=f"/{database}"))


def redis_database(url: str) -> int:
    """The database number in an address that `Env.redis_url` has passed."""
    parts = urlsplit(url)
    text = dict(parse_qsl(parts.query)).get("db") if parts.scheme == "unix" else parts.path
    return int((text or "").strip("/") or 0)


def _origin(name: str, item: str, *, below: bool) -> str:
    """One origin in the form that browsers send."""
    remedy = "write scheme://host or scheme://host:port, without a path"
    if is_nowhere(item):
        remedy = "serve those pages by http or https, and list that origin"
    try:
        rule = parse_rule(item)
    except ValueError as error:
        shown = "" if "@" in item else f"{item[:_SHOWN]!r}: "  # behind it a password may stand
        raise Wrong(name, f"{shown}{error}", remedy) from None
    if rule.below and not below:
        raise Wrong(name, f"{item[:_SHOWN]!r} is more than one origin", remedy)
    if rule.origin[0] not in ("http", "https") and not below:
        raise Wrong(name, f"{item[:_SHOWN]!r} is the origin of an app", "list http and https only")
    return str(rule)
