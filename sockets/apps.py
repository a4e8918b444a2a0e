"""What Django is told about the gateway."""

from __future__ import annotations

from contextlib import suppress

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class SocketsConfig(AppConfig):
    """The app `sockets`; daphne is not one beside it (PHYSICS: uvloop would be lost)."""

    name = "sockets"
    label = "sockets"
    verbose_name = "Gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sockets import checks  # noqa: F401  (importing registers them)
        from sockets.conf import get_conf

        # What is wrong with the settings is said by a check (E004).
        with suppress(ImproperlyConfigured):
            if get_conf().django_accounts:
                from sockets import accounts

                accounts.connect()
