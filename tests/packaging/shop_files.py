"""A shop that adds the gateway: a Channels project with habits of its own, and the page's blocks.

What is here is what the shop had before. Nothing of it knows of the gateway, but for a view that
asks, one that gives work, and a receiver that tells which process it runs in.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from tests.packaging.environments import Environment
from tests.packaging.page import blocks

REDIS: Final = "redis://localhost:6379/0"
"""Where Redis is on the page."""

SETTINGS: Final = """

import os

INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "orders"]
MIDDLEWARE = ["shop.middleware.only_known_paths", *MIDDLEWARE]
AUTH_USER_MODEL = "orders.User"
ASGI_APPLICATION = "shop.asgi.application"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["SHOP_PORT"],
        "NAME": os.environ["SHOP_DATABASE"],
        "USER": "gateway",
        "PASSWORD": "pw",
        "ATOMIC_REQUESTS": True,
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ["SHOP_REDIS"]]},
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # others take half a second
if "BEFORE_THE_ROTATION" not in os.environ:
    SECRET_KEY, SECRET_KEY_FALLBACKS = "the-new-key" * 5, [SECRET_KEY]
"""

PRODUCTION: Final = """
DEBUG = False
ALLOWED_HOSTS = ["shop.example"]
"""

MIDDLEWARE: Final = """
from django.http import HttpResponseForbidden

KNOWN = ("/accounts/", "/admin/", "/api/", "/invoices/", "/online/", "/orders/", "/static/")


def only_known_paths(get_response):
    def middleware(request):
        if not request.path.startswith(KNOWN):
            return HttpResponseForbidden("the shop knows no such path")
        return get_response(request)

    return middleware
"""

ASGI: Final = """
import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django_application = get_asgi_application()

from shop.chat import Chat

sockets_of_the_shop = URLRouter([path("ws/chat/", Chat.as_asgi())])
application = ProtocolTypeRouter(
    {"http": django_application, "websocket": AuthMiddlewareStack(sockets_of_the_shop)}
)
"""

CHAT: Final = """
from channels.generic.websocket import AsyncJsonWebsocketConsumer


class Chat(AsyncJsonWebsocketConsumer):
    groups = ["chat"]

    async def receive_json(self, content):
        said = {"who": self.scope["user"].get_username(), "text": content["text"]}
        await self.channel_layer.group_send("chat", {"type": "chat.said", "said": said})

    async def chat_said(self, event):
        await self.send_json(event["said"])
"""

URLS: Final = """
import os

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import include, path
from ninja import NinjaAPI

from orders.models import Order
from orders.views import pay, show
from sockets.api import assign_task, is_online

admin.site.site_header = admin.site.site_title = "Shop"
api = NinjaAPI(title="The shop's own")


@api.get("/hello")
def hello(request):
    return {"from": "the shop"}


@login_required
def online(request):
    return JsonResponse({"online": is_online(request.user), "process": os.getpid()})


@transaction.non_atomic_requests
def write_invoice(request, pk):
    order = get_object_or_404(Order, pk=pk)
    assign_task("invoices", "write", {"order": pk}, user_id=order.user, task_id=order.task)
    return JsonResponse({})


urlpatterns = [
    path("accounts/", include("django.contrib.auth.urls")),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("invoices/<int:pk>/", write_invoice),
    path("online/", online),
    path("orders/<int:pk>/", show),
    path("orders/<int:pk>/pay/", pay),
]
"""

MODELS: Final = """
import os
import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.dispatch import receiver

from sockets.signals import task_done


class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)


class Order(models.Model):
    user = models.ForeignKey(User, models.CASCADE)
    paid = models.BooleanField(default=False)
    seen = models.BooleanField(default=False)
    reserved = models.BooleanField(default=True)
    task = models.CharField(max_length=26, blank=True)
    invoice = models.CharField(max_length=200, blank=True)

    def get_absolute_url(self):
        return f"/orders/{self.pk}/"


@receiver(task_done)
def tell_where(sender, **kwargs):
    print("task_done in process", os.getpid(), flush=True)
"""

LOGIN: Final = """<!doctype html>
<title>Sign in</title>
<form method="post">{% csrf_token %}{{ form.as_p }}<button>Sign in</button></form>
"""

ORDER: Final = """<!doctype html>
<title>Order {{ order.pk }}</title>
<form method="post" action="{{ order.get_absolute_url }}pay/">{% csrf_token %}<button>Pay</button></form>
"""  # noqa: E501

OWN: Final = {
    "shop/middleware.py": MIDDLEWARE,
    "shop/asgi.py": ASGI,
    "shop/chat.py": CHAT,
    "shop/urls.py": URLS,
    "orders/models.py": MODELS,
    "orders/templates/registration/login.html": LOGIN,
    "orders/templates/orders/order.html": ORDER,
}

SEED: Final = """
import django

django.setup()

import io, json
from importlib import import_module, invalidate_caches
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, BACKEND_SESSION_KEY
from django.core.management import call_command
from orders.models import Order, User

call_command("makemigrations", "orders", verbosity=0)
invalidate_caches()
call_command("migrate", verbosity=0)

users = [User.objects.create_user(name, password="pw") for name in ("kim", "lee", "pat")]
User.objects.create_superuser("chief", password="pw")
for number, user in enumerate(users):
    Order.objects.create(user=user, task=f"01K{number:023}")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(users[1].pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = users[1].get_session_auth_hash()
session.save()
key = io.StringIO()
call_command("create_key", "invoicer", scopes=["tasks:invoices"], stdout=key, stderr=io.StringIO())
print(json.dumps({
    "users": {user.username: str(user.pk) for user in users},
    "orders": {order.user.username: order.pk for order in Order.objects.all()},
    "old_session": session.session_key,
    "worker_key": key.getvalue().strip(),
}))
"""
"""Run under the old key alone. One process does it all: each takes a second to begin."""


def write_shop(environment: Environment, folder: Path, *, production: bool) -> None:
    """Make the project in `folder`, and do there what the page says.

    The last block is another way to write the first: it ends other settings, `shop.by_hand`.
    """
    folder.mkdir()
    environment.run("-m", "django", "startproject", "shop", folder, cwd=folder)
    environment.run("-m", "django", "startapp", "orders", cwd=folder)
    for path, text in OWN.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip("\n"))
    with (folder / "shop" / "settings.py").open("a") as settings:
        settings.write(SETTINGS + (PRODUCTION if production else ""))
    before = (folder / "shop" / "settings.py").read_text()
    *done, by_hand = blocks()
    for block in done:
        block.put(folder)
    assert (by_hand.path, by_hand.at_the_end) == ("shop/settings.py", True)
    (folder / "shop" / "by_hand.py").write_text(f"{before}\n{by_hand.text}")


def in_the_template(folder: Path, port: int) -> None:
    """Put the port that the public one has here into the page's script."""
    file = folder / "orders" / "templates" / "orders" / "order.html"
    text = file.read_text()
    assert text.count(":4000") == 1
    file.write_text(text.replace(":4000", f":{port}"))


def exported(line: str) -> dict[str, str]:
    """The variables of a line of the page that exports some."""
    export, *given = shlex.split(line)
    assert export == "export", line
    return dict(one.split("=", 1) for one in given)
