"""Rule 2: what strangers see of a Django site: never its admin, unless that is asked for."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib import admin
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.utils.decorators import async_only_middleware
from django.views.decorators.cache import never_cache

from sockets.asgi import with_gateway
from sockets.asgi.site import Site
from sockets.base.within import shown_by
from sockets.models import Session
from sockets.types import Surface
from tests.support.asgi_client import GatewayClient

sockets_admin = admin.site._registry[Session]
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
    site = admin.AdminSite("single")
    settings.ROOT_URLCONF = module(
        path("sign-in/", never_cache(site.login)),
        path("sign-out/", partial(site.logout)),
        path("model/", sockets_admin.changelist_view),
        path("books/", include("django.contrib.admindocs.urls")),
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
    "/secret-office//",
    "/secret-office/;x",
    "/sign-in/",
    "/sign-in",
    "/sign-out/",
    "/model/",
    "/books/models/",
]


async def ask(application: Any, where: str, surface: Surface, **headers: str) -> Any:
    return await GatewayClient(surface, application).get(where, headers=headers)


def reported(app: Any) -> Any:
    """A middleware that somebody else made, as one that reports errors."""

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return middleware


@pytest.mark.parametrize("form", ["django", "router", "static files", "middleware", "routes"])
async def test_an_admin_is_not_there_for_strangers(shop: Any, form: str, db: None) -> None:
    django = shop()
    app = {
        "django": django,
        "router": ProtocolTypeRouter({"http": django}),
        "static files": ASGIStaticFilesHandler(django),
        "middleware": reported(reported(django)),
        "routes": ProtocolTypeRouter({"http": URLRouter([re_path("", reported(django))])}),
    }[form]
    application = with_gateway(app, public_site=True)
    nowhere = await ask(application, "/no/such/path/", PUBLIC)
    assert nowhere.status_code == 404
    for where in ADMINS:
        response = await ask(application, where, PUBLIC)
        assert response.status_code == 404, where
        assert (response.content, response.headers) == (nowhere.content, nowhere.headers), where
    assert (await ask(application, "/page/", PUBLIC)).content == b"a page"


@pytest.mark.django_db(transaction=True)
async def test_on_the_private_surface_and_where_it_is_asked_for_it_is_there(shop: Any) -> None:
    alone = shop()
    hidden = with_gateway(shop(), public_site=True)
    shown = with_gateway(shop(), public_site=True, public_admin=True)
    for where in ADMINS:
        expected = (await ask(alone, where, PRIVATE)).status_code
        assert expected in (200, 301, 302, 403, 404, 405), where
        for application, surface in ((hidden, PRIVATE), (hidden, BOTH), (shown, PUBLIC)):
            assert (await ask(application, where, surface)).status_code == expected, where


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


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PROPFIND"])
async def test_by_no_method(shop: Any, method: str) -> None:
    client = GatewayClient(PUBLIC, with_gateway(shop(), public_site=True))
    response = await client.generic(method, "/secret-office/login/")
    assert response.status_code == 404


async def test_what_is_hidden_is_known(shop: Any) -> None:
    """For the banner and the check: of an application in which no Django is seen, all is shown."""
    assert Site(reported(shop()), public=True, public_admin=False).hides_admin
    assert not Site(shop(), public=True, public_admin=True).hides_admin

    async def later(*given: Any) -> None:
        await get_asgi_application()(*given)

    assert not Site(later, public=True, public_admin=False).hides_admin


async def test_the_site_is_found_whatever_is_round_the_gateway(shop: Any) -> None:
    """For the banner and the check."""
    gateway: Any = with_gateway(shop(), public_site=True)
    assert shown_by(reported(gateway)) is shown_by(gateway) is gateway.site
    assert shown_by(shop()) is None


@pytest.mark.parametrize("form", ["django", "router", "static files", "middleware"])
async def test_static_files_of_its_apps_as_runserver_has_them(
    shop: Any, settings: Any, form: str
) -> None:
    """Rule 21: nothing else to install while a site is developed."""
    django = shop()
    forms = {
        "django": django,
        "router": ProtocolTypeRouter({"http": django}),
        "static files": ASGIStaticFilesHandler(django),
        "middleware": reported(django),
    }
    application: Any = with_gateway(forms[form])
    application.site.serve_static_files()
    once = application.site.app
    application.site.serve_static_files()
    assert application.site.app is once
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


async def test_nor_where_no_django_is_seen(shop: Any) -> None:
    """Another framework's application has such paths of its own."""

    async def another(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    application: Any = with_gateway(another)
    application.site.serve_static_files()
    assert application.site.app is another
