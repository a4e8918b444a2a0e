"""The ASGI application of this project: the gateway round Django's."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from sockets.asgi import with_gateway

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
application = with_gateway(get_asgi_application())
