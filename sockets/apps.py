"""What Django is told about the gateway."""

from __future__ import annotations

from django.apps import AppConfig


class SocketsConfig(AppConfig):
    """The app `sockets`; daphne is not one beside it (PHYSICS: uvloop would be lost)."""

    name = "sockets"
    label = "sockets"
    verbose_name = "Gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sockets import checks  # noqa: F401  (importing registers them)
