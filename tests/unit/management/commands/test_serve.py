"""`manage.py serve` where it cannot."""

from __future__ import annotations

import sys

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError


def test_it_names_what_a_plain_installation_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 10."""
    monkeypatch.setitem(sys.modules, "sockets.server.serve", None)
    with pytest.raises(CommandError, match=r"^manage\.py serve needs .*django-gateway\[server\]'$"):
        call_command("serve", skip_checks=True)
