"""The example as a Django app.

image_converter.E001: its visitors prove who they are with tokens, and the gateway takes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from django.core.signals import request_started

from sockets import signals
from sockets.conf import get_conf


class ImageConverterConfig(AppConfig):
    """No models: the jobs live in a folder."""

    name = "examples.image_converter"
    label = "image_converter"
    verbose_name = "Image converter (demo)"

    def ready(self) -> None:
        from examples.image_converter import assigner  # its imports need the apps

        register(check_tokens, "gateway")
        request_started.connect(assigner.start)
        for signal in (
            signals.task_done,
            signals.task_failed,
            signals.task_released,
            signals.task_lost,
            signals.task_cancelled,
        ):
            signal.connect(assigner.task_ended)


def check_tokens(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E001. Without it the page would load and never become live."""
    conf = get_conf()
    if "jwt" in conf.auth and conf.jwt_secret:
        return []
    return [
        Error(
            "DEMO: the example needs AUTH with jwt, and JWT_SECRET.",
            hint="Set JWT_SECRET to: openssl rand -hex 32, or DEMO=false.",
            id="image_converter.E001",
        )
    ]
