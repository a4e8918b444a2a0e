"""The ASGI application of this project: the gateway round Django's."""

from __future__ import annotations

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from sockets.asgi import with_gateway

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
# Of this project strangers see the demo, where it is on.
application = with_gateway(get_asgi_application(), public_site=settings.GATEWAY["demo"])
