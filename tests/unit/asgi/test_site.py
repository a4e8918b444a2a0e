"""Rule 2: what strangers see of a Django site: never its admin, unless that is asked for."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter
from django.contrib import admin
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.decorators import async_only_middleware

from sockets.asgi import with_gateway
from sockets.types import Surface
from tests.support.asgi_client import GatewayClient

PUBLIC, PRIVATE, BOTH = Surface.PUBLIC, Surface.PRIVATE, Surface.BOTH


class OtherSite(admin.AdminSite):
    """One whose URLs have another app name."""

    @property
    def urls(self) -> Any:
        return self.get_urls(), "backstage", self.name


def page(request: HttpRequest, **_: str) -> HttpResponse:
    return HttpResponse("a page")


def module(*patterns: Any) -> Any:
    made: Any = ModuleType("urls")
    made.urlpatterns = [*patterns, path("page/", page), path("", page)]
    return made


@async_only_middleware
def chosen(get_response: Any) -> Any:
    """A middleware that chooses another URLconf, as one for each host name does."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        if request.headers.get("x-site") == "office":
            request.urlconf = module(path("hidden/", admin.AdminSite("office").urls))
        response: HttpResponse = await get_response(request)
        return response

    return middleware


@pytest.fixture
def shop(settings: Any) -> Any:
    """A site whose admins are anywhere, in the forms that a project may give to `with_gateway`."""
    settings.MIDDLEWARE = [
        "django.middleware.common.CommonMiddleware",
        f"{__name__}.chosen",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    settings.ROOT_URLCONF = module(
        path("secret-office/", admin.site.urls),
        path("deep/er/", include([path("backstage/", OtherSite("other").urls)])),
    )
    return get_asgi_application


ADMINS = [
    "/secret-office/",
    "/secret-office/login/",
    "/secret-office/login",
    "/secret-office",
    "/secret-office/jsi18n/",
    "/secret-office/sockets/session/",
    "/secret-office/no/such/page/",
    "/deep/er/backstage/",
    "/deep/er/backstage/login/",
    "/deep/er/backstage",
    "/secret-office/password_change/",
    "/secret-office/autocomplete/",
]


async def ask(application: Any, where: str, surface: Surface, **headers: str) -> Any:
    return await GatewayClient(surface, application).get(where, headers=headers)


@pytest.mark.parametrize("where", ADMINS)
@pytest.mark.parametrize("form", ["django", "router", "static files"])
async def test_an_admin_is_not_there_for_strangers(
    shop: Any, where: str, form: str, db: None
) -> None:
    django = shop()
    app = {
        "django": django,
        "router": ProtocolTypeRouter({"http": django}),
        "static files": ASGIStaticFilesHandler(django),
    }[form]
    application = with_gateway(app, public_site=True)
    response = await ask(application, where, PUBLIC)
    nowhere = await ask(application, "/no/such/path/", PUBLIC)
    assert response.status_code == nowhere.status_code == 404
    assert (await ask(application, "/page/", PUBLIC)).content == b"a page"


@pytest.mark.parametrize("where", ADMINS)
@pytest.mark.django_db(transaction=True)
async def test_on_the_private_surface_and_where_it_is_asked_for_it_is_there(
    shop: Any, where: str
) -> None:
    expected = (await ask(shop(), where, PRIVATE)).status_code
    assert expected in (200, 301, 302, 404, 403)
    for application, surface in (
        (with_gateway(shop(), public_site=True), PRIVATE),
        (with_gateway(shop(), public_site=True), BOTH),
        (with_gateway(shop(), public_site=True, public_admin=True), PUBLIC),
    ):
        assert (await ask(application, where, surface)).status_code == expected


async def test_one_in_a_urlconf_that_a_middleware_chose_is_not_there_either(shop: Any) -> None:
    application = with_gateway(shop(), public_site=True)
    response = await ask(application, "/hidden/login/", PUBLIC, **{"x-site": "office"})
    assert response.status_code == 404
    response = await ask(application, "/hidden/login/", PRIVATE, **{"x-site": "office"})
    assert response.status_code == 200


async def test_paths_are_still_mended_for_pages(shop: Any) -> None:
    application = with_gateway(shop(), public_site=True)
    response = await ask(application, "/page", PUBLIC)
    assert (response.status_code, response["Location"]) == (301, "/page/")


@pytest.mark.parametrize("form", ["django", "router", "static files"])
async def test_static_files_of_its_apps_as_runserver_has_them(
    shop: Any, settings: Any, form: str
) -> None:
    """Rule 21: nothing else to install while a site is developed."""
    django = shop()
    forms = {
        "django": django,
        "router": ProtocolTypeRouter({"http": django}),
        "static files": ASGIStaticFilesHandler(django),
    }
    application: Any = with_gateway(forms[form])
    application.site.serve_static_files()
    application.site.serve_static_files()
    response = await ask(application, "/static/admin/css/base.css", PRIVATE)
    assert response.status_code == 200
    assert (await ask(application, "/static/admin/css/base.css", PUBLIC)).status_code == 404
    assert (await ask(application, "/page/", PRIVATE)).content == b"a page"


async def test_but_not_where_the_project_has_seen_to_them(shop: Any, settings: Any) -> None:
    application: Any = with_gateway(shop())
    settings.MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware"]
    before = application.site.app
    application.site.serve_static_files()
    assert application.site.app is before
