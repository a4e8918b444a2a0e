"""`Variables`: the environment of one start, read strictly; all that is wrong is reported together.

django-environ reads the `.env` file and takes database URLs apart. Its other readers are too kind
for an operator's typing errors: "banana" is False, "" is no default, a password that starts with
"$" is taken as the name of another variable. Here a value is either right or a `Wrong` that names
the variable, the fault and the remedy on one line, and that never shows a secret.

A variable that is set but empty counts as unset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar, overload

import environ

from sockets.base.client_address import Trusted
from sockets.conf import Fault, WrongSettings
from sockets.variables import dotenv, keys, urls, values
from sockets.variables.databases import parse_database
from sockets.variables.faults import Items, Wrong

T = TypeVar("T")
Flag = TypeVar("Flag", bool, bool | None)

_NAME = re.compile(r"\b[A-Z][A-Z0-9_]+\b")


class Variables:
    """The variables of one start: what the process was given, then what the file adds.

    `patient`: faults are noted, a variable that is wrong reads as if it were unset, and `refuse`
    raises what was noted; otherwise each fault is raised at once. `prefix` is put before every
    name, in the environment and in faults. `base`: where relative paths begin.

    `names` collects every variable that was asked for; `wrong`, those that could not be read. Both
    are without the prefix.
    """

    def __init__(
        self,
        given: Mapping[str, str],
        file: Path | None = None,
        *,
        base: Path | None = None,
        prefix: str = "",
        patient: bool = False,
    ) -> None:
        self.base = Path() if base is None else base
        self.prefix = prefix
        self.patient = patient
        self.names: set[str] = set()
        self.wrong: set[str] = set()
        self._faults: list[Fault] = []
        self._values = dict(given) if file is None else self._with_file(given, file)

    def _with_file(self, given: Mapping[str, str], file: Path) -> Mapping[str, str]:
        class Source(environ.Env):
            ENVIRON = dict(given)  # type: ignore[assignment]  # a copy: os.environ stays as it is

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
            self._note_or_raise(error)
        Source.read_env(StringIO("\n".join(assignments)))
        return Source.ENVIRON

    def raw(self, name: str) -> str | None:
        """Return the value without surrounding white space, or None if unset, empty or wrong."""
        self.names.add(name)
        return None if name in self.wrong else self.given(name)

    def given(self, name: str) -> str | None:
        """Return the same of a value that may be wrong."""
        return self._values.get(f"{self.prefix}{name}", "").strip() or None

    def note(self, *faults: Fault | WrongSettings, certain: bool = False) -> None:
        """Keep faults for `refuse`, without those of variables that could not be read: they may be
        faults of the default that was taken instead. `certain`: they are of what was given."""
        for each in faults:
            plain = each.faults if isinstance(each, WrongSettings) else (each,)
            self._faults += [one for one in plain if certain or self.wrong.isdisjoint(one.names)]

    def refuse(self) -> None:
        """Raise what was noted as one WrongSettings, if anything was."""
        if self._faults:
            raise WrongSettings(*map(self._with_prefix, dict.fromkeys(self._faults)))

    def _with_prefix(self, fault: Fault) -> Fault:
        if not self.prefix:
            return fault

        def full(name: str) -> str:
            return f"{self.prefix}{name}" if name in self.names else name

        text = _NAME.sub(lambda found: full(found[0]), fault.text)
        return replace(fault, names=tuple(map(full, fault.names)), text=text)

    def _note_or_raise(self, error: WrongSettings) -> None:
        if not self.patient:
            raise error
        self.note(error)

    def _read(self, name: str, default: T, parse: Callable[[str, str], T]) -> T:
        """Return the variable's value; the default where it is unset, or wrong and that was
        noted."""
        text = self.raw(name)
        if text is None:
            return default
        try:
            return parse(name, text)
        except WrongSettings as error:
            self._note_or_raise(error)
            self.wrong.add(name)
            return default

    # --- what a variable can be: values.py, keys.py, urls.py and databases.py say what is right

    @overload
    def label(self, name: str, default: str) -> str: ...
    @overload
    def label(self, name: str, default: str | None) -> str | None: ...
    def label(self, name: str, default: str | None) -> str | None:
        """Return a short name that is safe in logs, metrics and addresses. The default may be wrong
        too."""
        if default is not None and name not in self.wrong and self.raw(name) is None:
            try:
                return values.parse_label(name, default)
            except WrongSettings as error:
                self._note_or_raise(error)
                self.wrong.add(name)
        return self._read(name, default, values.parse_label)

    def path(self, name: str, default: Path) -> Path:
        """Return a file or folder; relative ones begin at `base`."""
        return self._read(name, default, lambda _, text: self.base / Path(text).expanduser())

    def secret(self, name: str, default: str = "", *, at_least: int = 0) -> str:
        """Return a value that no message may show, of `at_least` bytes."""
        return self._read(name, default, lambda name, text: keys.parse_secret(name, text, at_least))

    def flag(self, name: str, default: Flag) -> Flag:
        """Return true or false."""
        return self._read(name, default, values.parse_flag)

    def integer(
        self, name: str, default: int, *, minimum: int = 1, maximum: int = 2**31 - 1
    ) -> int:
        """Return a whole number between the bounds, both included."""
        return self._read(
            name, default, lambda name, text: values.parse_integer(name, text, minimum, maximum)
        )

    def size(self, name: str, default: int, *, minimum: int = 1024) -> int:
        """Return a number of bytes."""
        return self.integer(name, default, minimum=minimum)

    def port(self, name: str, default: int) -> int:
        """Return a TCP port; 0 lets the system choose."""
        return self.integer(name, default, minimum=0, maximum=65535)

    def seconds(self, name: str, default: float, *, minimum: float = 0.01) -> float:
        """Return a duration in seconds, fractions allowed."""
        return self._read(
            name, default, lambda name, text: values.parse_seconds(name, text, minimum)
        )

    def rate(self, name: str, default: float, what: str) -> float:
        """Return how many of `what` (its plural) a second, fractions allowed; 0 stands for any
        number."""
        return self._read(name, default, lambda name, text: values.parse_rate(name, text, what))

    def choice(self, name: str, default: str, known: Iterable[str]) -> str:
        """Return one of `known`, in lower case."""
        return self._read(name, default, lambda name, text: values.parse_choice(name, text, known))

    def words(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the items of a comma list."""
        return self._read(name, default, values.parse_words)

    def choices(self, name: str, default: tuple[str, ...], known: Iterable[str]) -> tuple[str, ...]:
        """Return the items of a comma list, all of them of `known`, in lower case."""
        return self._read(name, default, lambda name, text: values.parse_choices(name, text, known))

    def time_zone(self, name: str, default: str) -> str:
        """Return a name of the time zone database; the default is not looked up."""
        if self.raw(name) == default:
            return default
        return self._read(name, default, values.parse_time_zone)

    def labelled_secrets(self, name: str, *, at_least: int) -> tuple[tuple[str, str], ...]:
        """Return (id, secret) of each item of a comma list, at most 16."""
        return self._read(
            name, (), lambda name, text: keys.parse_labelled_secrets(name, text, at_least)
        )

    def labelled_files(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return (id or "", content) of each file of a comma list, at most 16."""
        return self._read(
            name, (), lambda name, text: keys.parse_labelled_files(name, text, self.base)
        )

    def keys(self, name: str) -> dict[str, str]:
        """Return {name: SHA-256 of the secret in hex} of a comma list of `name:secret`."""
        return self._read(name, {}, keys.parse_keys)

    def url(self, name: str, schemes: Iterable[str]) -> str | None:
        """Return a URL with a host and without user, query or fragment; no slash at its end."""
        return self._read(name, None, lambda name, text: urls.parse_url(name, text, schemes))

    def url_path(self, name: str, default: str) -> str:
        """Return the path of a URL, as it stands in one."""
        return self._read(name, default, urls.parse_url_path)

    def origins(self, name: str, *, below: bool = False) -> tuple[str, ...]:
        """Return origins as browsers write them, or ("*",).

        `below`: also `scheme://*.host` for all subdomains of a host, and origins of apps.
        """
        return self._read(name, (), lambda name, text: urls.parse_origins(name, text, below))

    def proxies(self, name: str) -> Trusted:
        """Return how many proxies are trusted, or the networks that they are in."""
        return self._read(name, Trusted(), urls.parse_proxies)

    def redis_url(self, name: str, database: int = 0) -> str:
        """Return the address of a Redis server, with its database number; "" if unset."""
        return self._read(name, "", lambda name, text: urls.parse_redis(name, text, database))

    def redis_urls(self, name: str) -> tuple[str, ...]:
        """Return the addresses of several Redis servers, which spaces separate."""
        return self._read(name, (), urls.parse_several_redis)

    def database(self, name: str) -> dict[str, Any] | None:
        """Return Django's description of the database at a sqlite: or postgres: URL; None if
        unset."""
        return self._read(name, None, parse_database)


def _text_of(file: Path) -> str:
    """Return the file's text. Raises Wrong for one that cannot be read: without it, all that it
    sets would count as missing."""
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(str(file), f"it cannot be read ({type(error).__name__})", "mend it") from error
