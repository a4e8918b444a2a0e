"""The public surface: health, the browser SDK, and the demo where it is on. Nothing else."""

from __future__ import annotations

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from gateway import views
from sockets.http import ops, pages

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", ops.healthz),
    path("gateway.js", views.sdk),
]
if settings.GATEWAY["demo"]:
    urlpatterns += [
        path("", RedirectView.as_view(url="/demo/")),
        path("demo", RedirectView.as_view(url="/demo/")),
        path("demo/", include("examples.image_converter.urls")),
    ]

handler400 = pages.bad_request
handler403 = pages.forbidden
handler404 = pages.not_found
handler500 = pages.server_error
