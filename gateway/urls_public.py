"""The project's own paths on the public surface: the demo, where it is on. Nothing else."""

from __future__ import annotations

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from sockets.http import pages

urlpatterns: list[URLPattern | URLResolver] = []
if settings.GATEWAY["demo"]:
    urlpatterns += [
        path("", RedirectView.as_view(url="/demo/")),
        path("demo", RedirectView.as_view(url="/demo/")),
        path("demo/bell/", include("examples.bell.views")),
        path("demo/", include("examples.image_converter.urls")),
    ]

handler400 = pages.bad_request
handler403 = pages.forbidden
handler404 = pages.not_found
handler500 = pages.server_error
