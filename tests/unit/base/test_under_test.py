"""Whether a project's tests run."""

from __future__ import annotations

import pytest
from django.core import mail

from sockets.base import under_test


def test_django_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not under_test.is_set_up(), "the gateway's own tests are no project's"
    monkeypatch.setattr(under_test, "_ignored", False)
    assert under_test.is_set_up()
    monkeypatch.delattr(mail, "outbox")
    assert not under_test.is_set_up()
