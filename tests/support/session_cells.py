"""One site without sockets, in a process of its own: every way of keeping sessions, and who reads.

    python -m tests.support.session_cells stock|custom

Prints JSON: what came of each engine, backend and case; "" where all was well. AUTH_USER_MODEL is
fixed for the life of a process, so each user model has one of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import django
from django.conf import settings

ENGINES: Final = ("db", "cached_db", "cache", "file", "signed_cookies")
BACKENDS: Final = {
    "ModelBackend": "django.contrib.auth.backends.ModelBackend",
    "AllowAllUsersModelBackend": "django.contrib.auth.backends.AllowAllUsersModelBackend",
    "AsyncBackend": "tests.support.members.backends.AsyncBackend",
}
_OLD: Final = "the key that sessions were signed with until today"
_NEW: Final = "the key that they are signed with from now on"


def configure(model: str, folder: str) -> None:
    users = ["tests.support.members"] if model == "custom" else []
    settings.configure(
        SECRET_KEY=_OLD,
        USE_TZ=True,
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}.sqlite3"}
        },
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            *users,
            "sockets",
        ],
        AUTH_USER_MODEL="members.Member" if users else "auth.User",
        AUTHENTICATION_BACKENDS=list(BACKENDS.values()),
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["testserver"],
        SESSION_COOKIE_NAME="shop",
        SESSION_FILE_PATH=folder,
        SESSION_SERIALIZER="django.contrib.sessions.serializers.JSONSerializer",
        GATEWAY={"auth": ("session",)},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()


folder = tempfile.mkdtemp(prefix="gateway-sessions-")
if __name__ == "__main__":
    configure(sys.argv[1], folder)

from asgiref.sync import sync_to_async  # noqa: E402
from django.contrib.auth import get_user_model, update_session_auth_hash  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.test import AsyncClient, Client, override_settings  # noqa: E402
from django.urls import path  # noqa: E402

from sockets.auth.logins import LOGIN, login_id  # noqa: E402
from sockets.auth.project_sessions import ProjectSessions  # noqa: E402
from sockets.auth.session_reader import missing_tables  # noqa: E402
from sockets.conf import Conf  # noqa: E402
from sockets.exceptions import TryAgainLater, Unauthorized  # noqa: E402
from sockets.types import Credentials  # noqa: E402


async def who(request: HttpRequest) -> JsonResponse:
    """Say who it is, as the site itself sees it."""
    user = await request.auser()
    return JsonResponse({"user": str(user.pk) if user.is_authenticated else None})


async def change(request: HttpRequest) -> JsonResponse:
    """Give the user a new password, and keep this session."""
    user: Any = await request.auser()

    def renew() -> None:
        request.user = user
        user.set_password("second")
        user.save()
        update_session_auth_hash(request, user)

    await sync_to_async(renew)()
    return JsonResponse({})


urlpatterns = [path("who/", who), path("change/", change)]


class Cell:
    """One engine and one backend. `visitor`: a browser that has signed in at the site."""

    def __init__(self, engine: str, backend: str) -> None:
        self.engine, self.backend = engine, backend
        self.visitor = Client()
        model: Any = get_user_model()
        number = model.objects.count()
        name = f"kim{number}@shop.test" if model.__name__ == "Member" else f"kim{number}"
        self.user = model.objects.create_user(name, password="first")
        self.visitor.force_login(self.user, backend=BACKENDS[backend])

    @property
    def key(self) -> str:
        return self.visitor.cookies["shop"].value

    def read(self, key: str | None = None) -> Credentials:
        """Read the session as a socket would; what the site has stored stays as it was."""
        before = stored()
        try:
            return ProjectSessions(Conf()).read(self.key if key is None else key)
        finally:
            assert stored() == before, "something was written"

    def refused(self, key: str | None = None) -> bool:
        try:
            self.read(key)
        except Unauthorized:
            return True
        return False

    def at_the_site(self) -> str | None:
        found: str | None = self.visitor.get("/who/").json()["user"]
        return found


def stored() -> list[Any]:
    """All that the engines keep anywhere."""
    kept: Any = cache
    rows = sorted(Session.objects.values_list("session_key", "session_data", "expire_date"))
    files = {
        file.name: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(Path(folder).iterdir())
    }
    now = time.time()
    live = {key: end for key, end in kept._expire_info.items() if end is None or end > now}
    return [rows, files, live, {key: kept._cache[key] for key in live}]


# --- cases: what came is an AssertionError, or nothing


def signed_in(cell: Cell) -> None:
    found = cell.read()
    assert found.subject == str(cell.user.pk) == cell.at_the_site()
    assert found.recheck is (cell.engine not in ("db", "cached_db"))
    assert found.expires_at is not None and len(found.sid) == 32
    other = Client()
    other.force_login(cell.user, backend=BACKENDS[cell.backend])
    assert cell.read(other.cookies["shop"].value).sid != found.sid


def under_a_fallback_key(cell: Cell) -> None:
    before = cell.read()
    with override_settings(SECRET_KEY=_NEW, SECRET_KEY_FALLBACKS=[_OLD]):
        found = cell.read()
        assert (found.subject, found.sid) == (before.subject, before.sid)
        assert cell.at_the_site() == found.subject, "the site's cookie works on"
        assert cell.read().sid == before.sid, "under the key that the site has given it"
    with override_settings(SECRET_KEY=_NEW, SECRET_KEY_FALLBACKS=[]):
        cell.read()


def inactive(cell: Cell) -> None:
    type(cell.user).objects.filter(pk=cell.user.pk).update(is_active=False)
    lets_in = cell.backend == "AllowAllUsersModelBackend"
    assert cell.refused() is not lets_in
    assert (cell.at_the_site() is not None) is lets_in


def another_password(cell: Cell) -> None:
    cell.user.set_password("second")
    type(cell.user).objects.filter(pk=cell.user.pk).update(password=cell.user.password)
    assert cell.refused()
    assert cell.at_the_site() is None


def a_password_change_keeps_the_login(cell: Cell) -> None:
    key, before = cell.key, cell.read()
    cell.visitor.post("/change/")
    assert cell.key != key
    assert cell.read().sid == before.sid


def a_deleted_user(cell: Cell) -> None:
    cell.user.delete()
    assert cell.refused()


def expired(cell: Cell) -> None:
    cell.read()
    if cell.engine == "cached_db":
        cache.clear()
    with override_settings(SESSION_COOKIE_AGE=-10):
        if cell.engine == "cache":
            cache.touch(f"django.contrib.sessions.cache{cell.key}", -10)
        Session.objects.update(expire_date="2001-01-01T00:00:00Z")
        assert cell.refused()


def nobody(cell: Cell) -> None:
    visitor = Client()
    session = visitor.session  # saved, of nobody
    session["cart"] = [7]
    session.save()
    assert cell.refused(session.session_key)


def keys_of_nothing(cell: Cell) -> None:
    for key in ("x" * 32, "../../../../etc/passwd", "a" * 5_000, "\x00" * 32, f"{cell.key}x", "ü"):
        assert cell.refused(key), key


def a_cold_cache(cell: Cell) -> None:
    if cell.engine != "cached_db":
        return
    cache.clear()
    cell.read()
    assert cache.get(f"django.contrib.sessions.cached_db{cell.key}") is None


def a_cache_that_is_away(cell: Cell) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OSError("no server")

    caches: Any = cache
    get = type(caches._connections[caches._alias]).get
    type(caches._connections[caches._alias]).get = away
    try:
        if cell.engine == "cache":
            try:
                cell.read()
            except TryAgainLater:
                return
            raise AssertionError("it is not known whether the session counts")
        cell.read()
    finally:
        type(caches._connections[caches._alias]).get = get


def an_async_login(cell: Cell) -> None:
    async def sign_in() -> str:
        visitor = AsyncClient()
        await visitor.aforce_login(cell.user, backend=BACKENDS[cell.backend])
        return visitor.cookies["shop"].value

    found = cell.read(asyncio.run(sign_in()))
    assert found.subject == str(cell.user.pk) and found.sid != cell.read().sid


def from_before_there_were_logins(cell: Cell) -> None:
    session = cell.visitor.session
    del session[LOGIN]
    session.save()
    cell.visitor.cookies["shop"] = str(session.session_key)
    assert cell.read().sid == login_id(cell.key)


CASES: Final[dict[str, Callable[[Cell], None]]] = {
    case.__name__: case
    for case in (
        signed_in,
        under_a_fallback_key,
        inactive,
        another_password,
        a_password_change_keeps_the_login,
        a_deleted_user,
        expired,
        nobody,
        keys_of_nothing,
        a_cold_cache,
        a_cache_that_is_away,
        an_async_login,
        from_before_there_were_logins,
    )
}


def outcome(case: Callable[[Cell], None], engine: str, backend: str) -> str:
    with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        cache.clear()
        try:
            case(Cell(engine, backend))
        except Exception:
            return traceback.format_exc(limit=-3)
    return ""


@contextmanager
def tables() -> Iterator[None]:
    call_command("migrate", verbosity=0, run_syncdb=True)
    assert not missing_tables(ProjectSessions(Conf()).tables())
    yield
    connection.close()
    shutil.rmtree(folder)
    Path(f"{folder}.sqlite3").unlink()


def main() -> None:
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    with tables():
        found = {
            f"{engine}/{backend}/{name}": outcome(case, engine, backend)
            for engine in ENGINES
            for backend in BACKENDS
            for name, case in CASES.items()
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
