"""The wiring as a Django app: who signs in at the admin is in the audit log, and the admin has the
gateway's name and no link to a site, for the private surface is none."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.utils.translation import pgettext_lazy

from sockets.base import audit
from sockets.types import Audit


class GatewayConfig(AppConfig):
    """Here and not in `sockets`: another project has users and an admin too, and they are none of
    ours."""

    name = "gateway"

    def ready(self) -> None:
        admin.site.site_header = admin.site.site_title = pgettext_lazy("gateway", "Gateway")
        admin.site.index_title = pgettext_lazy("gateway", "Sessions, keys and staff")
        admin.site.index_template = "admin/sockets/index.html"  # with the overview in small
        admin.site.site_url = None
        admin.site.enable_nav_sidebar = False  # for five lists; the tables need its place
        user_logged_in.connect(_signed_in, dispatch_uid="gateway.signed_in")
        user_login_failed.connect(_failed, dispatch_uid="gateway.sign_in_failed")


def _signed_in(sender: Any, *, request: Any, user: Any, **_: Any) -> None:
    audit.record(Audit.SIGNED_IN, username=user.get_username(), address=_address(request))


def _failed(sender: Any, *, credentials: dict[str, Any], request: Any = None, **_: Any) -> None:
    """Django has taken the password out of the credentials."""
    name = str(credentials.get("username", ""))[:150]
    audit.record(Audit.SIGN_IN_FAILED, username=name, address=_address(request))


def _address(request: Any) -> str:
    return str(getattr(request, "META", {}).get("REMOTE_ADDR") or "")
