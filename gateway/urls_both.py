"""SURFACE=both: everything on one port, for development."""

from __future__ import annotations

from gateway import urls_private, urls_public
from sockets.http import pages

urlpatterns = urls_public.urlpatterns + urls_private.urlpatterns

handler400 = pages.bad_request
handler403 = pages.forbidden
handler404 = pages.not_found
handler500 = pages.server_error
