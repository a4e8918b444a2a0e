"""The Python API as it is imported: its names, and the twins of its functions."""

from __future__ import annotations

import inspect

import pytest

from sockets import api
from tests.unit.api.conftest import ARGUMENTS, TWINS

LOCAL = {"Event", "client_socket_url", "worker_socket_url", "user_group", "notify_user_on_commit"}
"""Ask nobody, or only later: they have no twin."""


def test_every_public_name_has_a_twin_and_a_docstring() -> None:
    names = set(api.__all__)
    asynchronous = {f"a{name}" for name in TWINS}
    assert names == set(TWINS) | asynchronous | LOCAL
    assert set(ARGUMENTS) == set(TWINS)
    for name in names:
        assert inspect.getdoc(getattr(api, name)), name


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_has_the_same_signature_and_its_own_name(name: str) -> None:
    sync, twin = getattr(api, name), getattr(api, f"a{name}")
    assert inspect.signature(sync) == inspect.signature(twin)
    assert sync.__name__ == sync.__qualname__ == name
    assert inspect.iscoroutinefunction(twin) and not inspect.iscoroutinefunction(sync)
