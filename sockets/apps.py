"""What Django is told about the gateway."""

from __future__ import annotations

from contextlib import suppress

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import pgettext_lazy


class SocketsConfig(AppConfig):
    """The app `sockets`. "daphne" may be one beside it, and is not needed."""

    name = "sockets"
    label = "sockets"
    verbose_name = pgettext_lazy("gateway", "Gateway")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from sockets import checks  # noqa: F401  (importing registers them)
        from sockets.api.contracts import MODULE, require_readable
        from sockets.conf import get_conf

        autodiscover_modules(MODULE)
        require_readable()
        # What is wrong with the settings is said by a check (E004).
        with suppress(ImproperlyConfigured):
            conf = get_conf()
            if conf.redis_url:
                # At their first use they may be half imported when another thread forks, and the
                # child would wait for the import's end for ever.
                from sockets.layers import redis  # noqa: F401
                from sockets.layers.chosen import choose
                from sockets.node import in_redis  # noqa: F401

                with suppress(ImproperlyConfigured):
                    choose(conf)  # it looks at the class of the project's own layer
            if not apps.is_installed("django.contrib.auth"):
                return
            if conf.follows_accounts or conf.reads_own_sessions:
                from sockets.auth import logins

                logins.connect()
            if conf.follows_accounts:
                from sockets import django_accounts as accounts

                accounts.connect()
