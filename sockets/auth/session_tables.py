"""Another Django project's sessions, read from its tables (`sessions` = "tables").

Its settings are not known here, so that only what Django does by itself can be read: sessions in
`django_session` (`db` and `cached_db`) and users in `auth_user`. A session counts as there: signed
with its SECRET_KEY, not over, of an active user, and made with the password that the user has now.
Nothing is written. The admin's cookie is another one and never looked at.
"""

from __future__ import annotations

import re
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.contrib.sessions.serializers import JSONSerializer
from django.core import signing
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from sockets.auth.logins import sid_of
from sockets.auth.session_reader import NOBODY, UNKNOWN, Table
from sockets.conf import Conf
from sockets.exceptions import Unauthorized
from sockets.types import Credentials

_KEY: Final = re.compile(r"[a-z0-9]{8,40}")
_SALT: Final = "django.contrib.sessions.SessionStore"
_HASH_SALT: Final = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"


class SessionTables:
    """Reads the database `session_database`. Any thread."""

    def __init__(self, conf: Conf) -> None:
        self.cookie = conf.session_cookie
        self._database = conf.session_database
        self._secret = conf.session_secret or settings.SECRET_KEY

    def is_key(self, value: str) -> bool:
        return _KEY.fullmatch(value) is not None

    def tables(self) -> list[Table]:
        return [(Session, self._database), (get_user_model(), self._database)]

    def read(self, key: str) -> Credentials:
        rows = Session.objects.using(self._database).filter(session_key=key)
        row = rows.filter(expire_date__gt=timezone.now()).first()
        if row is None:
            raise Unauthorized(UNKNOWN)
        session = self._decoded(row.session_data)
        return Credentials(
            str(self._user_of(session).pk),
            "session",
            row.expire_date.timestamp(),
            sid=sid_of(session, key, self._secret),
        )

    def _decoded(self, data: str) -> dict[str, Any]:
        try:
            found = signing.loads(data, key=self._secret, salt=_SALT, serializer=JSONSerializer)
        except Exception:  # as Django does: whatever is in there, it is nobody's session
            raise Unauthorized(UNKNOWN) from None
        if not isinstance(found, dict) or not {SESSION_KEY, BACKEND_SESSION_KEY} <= found.keys():
            raise Unauthorized(NOBODY)
        return found

    def _user_of(self, session: dict[str, Any]) -> Any:
        model: Any = get_user_model()
        try:
            id = model._meta.pk.to_python(session[SESSION_KEY])
            user = model._base_manager.using(self._database).get(pk=id)
        except (model.DoesNotExist, ValidationError, ValueError, TypeError):
            raise Unauthorized(UNKNOWN) from None
        if not getattr(user, "is_active", True):
            raise Unauthorized("this account is not active")
        made = salted_hmac(_HASH_SALT, user.password, secret=self._secret, algorithm="sha256")
        if not constant_time_compare(str(session.get(HASH_SESSION_KEY)), made.hexdigest()):
            raise Unauthorized(UNKNOWN)  # the password has been changed since
        return user
