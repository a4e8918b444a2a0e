"""Whether this process runs a project's tests, as Django knows it."""

from __future__ import annotations

from django.core import mail

_ignored = False


def is_set_up() -> bool:
    """Whether Django's test environment is: `manage.py test` and pytest-django set it up."""
    return not _ignored and hasattr(mail, "outbox")


def ignore(ignored: bool = True) -> None:
    """Behave as in no test from now on; for tests of the gateway itself."""
    global _ignored
    _ignored = ignored
