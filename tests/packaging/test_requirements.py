"""What the wheel asks for, and the lock that this project runs on."""

from __future__ import annotations

import tomllib
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.packaging.environments import pins
from tests.support.gateway import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PLAIN = [Requirement(text) for text in PROJECT["dependencies"]]
SERVER = [Requirement(text) for text in PROJECT["optional-dependencies"]["server"]]

BUILT_UPON = {"redis", "daphne"}
"""We subclass what these keep to themselves, so their next one may break us."""


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(one.name) for one in requirements}


def test_what_each_installation_brings() -> None:
    """Rule 10."""
    assert names(PLAIN) == {
        *("channels", "channels-redis", "django", "django-environ", "idna", "msgspec"),
        *("python-ulid", "redis"),
    }
    assert names(SERVER) == {
        *("daphne", "django-ninja", "httpx", "prometheus-client", "pyjwt", "servestatic"),
        *("structlog", "uvloop"),
    }
    extras = {one.name.lower(): one.extras for one in [*PLAIN, *SERVER] if one.extras}
    assert extras == {"redis": {"hiredis"}, "pyjwt": {"crypto"}}


def test_all_have_a_lower_bound_and_few_an_upper_one() -> None:
    for one in [*PLAIN, *SERVER]:
        kinds = {part.operator for part in one.specifier}
        assert kinds == ({">=", "<"} if one.name in BUILT_UPON else {">="}), one


def test_the_lock_has_what_the_wheel_asks_for() -> None:
    locked = {}
    for pin in pins():
        one = Requirement(pin)
        if one.marker is None or one.marker.evaluate():
            locked[canonicalize_name(one.name)] = Version(str(one.specifier).removeprefix("=="))
    for wanted in [*PLAIN, *SERVER]:
        assert locked[canonicalize_name(wanted.name)] in wanted.specifier, wanted


def test_this_project_asks_for_all_of_it_within_the_same_bounds() -> None:
    lines = (ROOT / "requirements.in").read_text().splitlines()
    asked = {
        canonicalize_name(one.name): one
        for one in (Requirement(line) for line in lines if line and not line.startswith("#"))
    }
    for wanted in [*PLAIN, *SERVER]:
        own = asked[canonicalize_name(wanted.name)]
        assert own.extras == wanted.extras
        for part in own.specifier:  # a bound of ours is one that the wheel allows
            if part.operator == ">=":
                assert Version(part.version) in wanted.specifier, own
