"""The admin in a web worker of a shop: another process than the gateway's, under WSGI, with the
shop's own middleware and site, on the same tables and the same Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.gateway import SHORT, running, wait_for
from tests.support.peers import client
from tests.support.projects import make_project, run
from tests.support.valkey import Server

SETTINGS = """
DATABASES["default"] |= {{"NAME": {database!r}, "ATOMIC_REQUESTS": True}}
GATEWAY |= {{"redis_url": {redis!r}, "recorder_interval": 0.1}}
ROOT_URLCONF = "shop"
MIDDLEWARE = [
    "shop.only_the_shop",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [{{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {{"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]}},
}}]
STATIC_URL = "/static/"
"""

SHOP = """
from django.contrib.admin import AdminSite
from django.http import HttpResponseNotFound
from django.urls import path

from sockets.admin import register


class Office(AdminSite):
    site_header = "The shop"


office = Office(name="office")
register(office)
urlpatterns = [path("office/", office.urls)]


def only_the_shop(get_response):
    def middleware(request):
        if not request.path.startswith("/office/"):
            return HttpResponseNotFound()
        return get_response(request)

    return middleware
"""

VISIT = """
import re, time
import django
django.setup()
from django.contrib.auth import get_user_model
from django.test import Client
from sockets.api import drain_node, nodes
from sockets.models import AccessKey

kim = get_user_model().objects.create_superuser("kim", password="pw")
browser = Client(raise_request_exception=True)
browser.force_login(kim)


def page(path, **posted):
    url = f"/office/sockets/{path}"
    answer = browser.post(url, posted, follow=True) if posted else browser.get(url)
    assert answer.status_code == 200, (url, answer.status_code)
    return answer.content.decode()


deadline = time.monotonic() + 10
while not (found := re.findall(r"/session/([0-9A-Z]{26})/change/", page("session/"))):
    assert time.monotonic() < deadline
assert "The shop" in page("session/") and "live" in page("session/")
asked = {"session": found[0], "asked": "1", "code": "4504", "reason": "by kim"}
told = page("livesession/disconnect/", **asked)
print(re.search(r"1 session was disconnected", told)[0], "closing" in told)
assert "test-node" in page("node/")
made = page("accesskey/add/", name="shop", plain="notify")
key = AccessKey.objects.get(name="shop").pk
assert f"gw_{key}" in made
print("has ended" in page("accesskey/", action="end", _selected_action=key))
print([one.name for one in nodes()], drain_node("test-node"))
"""


async def test_a_web_worker_of_a_shop(tmp_path: Path) -> None:
    """Rule 15: list, close, keys and drain from a process without a node."""
    redis = Server()
    short = {**SHORT, "REDIS_URL": redis.url}
    with running(tmp_path / "gateway", **short) as gateway:
        shop = tmp_path / "shop"
        shop.mkdir()
        database = str(gateway.data_dir / "gateway.sqlite3")
        more = SETTINGS.format(database=database, redis=redis.url)
        make_project(shop, "admin auth contenttypes sessions messages staticfiles", more)
        (shop / "shop.py").write_text(SHOP)
        tab = await client(gateway, "42")
        visit = asyncio.create_task(asyncio.to_thread(run, shop, "-c", VISIT))
        assert (await tab.closed(60))[0] == 4504
        assert (await visit).splitlines() == [
            "1 session was disconnected False",
            "True",
            "['test-node'] True",
        ]
        wait_for(gateway.ended, "the node that was asked to drain")
    redis.stop()
