"""SURFACE=both: everything on one port, for development."""

from __future__ import annotations

from gateway import urls_private, urls_public, views

urlpatterns = urls_public.urlpatterns + urls_private.urlpatterns

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.server_error
