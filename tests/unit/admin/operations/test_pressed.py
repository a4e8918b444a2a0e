"""Forms that came already."""

from __future__ import annotations

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.http import HttpRequest

from sockets.admin.operations import pressed


@pytest.fixture
def request_() -> HttpRequest:
    made = HttpRequest()
    made.session = SessionStore()
    return made


def test_a_form_comes_first_once(request_: HttpRequest) -> None:
    assert pressed.first(request_, "a") and pressed.first(request_, "b")
    assert not pressed.first(request_, "a")
    pressed.forget(request_, "a")
    pressed.forget(request_, "never was")
    assert pressed.first(request_, "a") and not pressed.first(request_, "b")


def test_one_without_a_key_comes_first_always(request_: HttpRequest) -> None:
    assert pressed.first(request_, "") and pressed.first(request_, "")


def test_it_is_written_before_the_answer(request_: HttpRequest) -> None:
    pressed.first(request_, "a")
    second = HttpRequest()
    second.session = SessionStore(request_.session.session_key)
    assert not pressed.first(second, "a")


def test_the_oldest_are_forgotten(request_: HttpRequest) -> None:
    assert all(pressed.first(request_, f"{number}") for number in range(pressed.MOST + 1))
    assert not pressed.first(request_, "1") and pressed.first(request_, "0")
