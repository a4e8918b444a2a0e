"""Members: the AUTH_USER_MODEL of a site. Its table is made by the test that has it installed."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class MemberManager(BaseUserManager["Member"]):
    """Makes members."""

    def create_user(self, email: str, password: str | None = None) -> Member:
        made = self.model(email=email)
        made.set_password(password)
        made.save(using=self._db)
        return made


class Member(AbstractBaseUser, PermissionsMixin):
    """Somebody who can sign in."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)

    objects: ClassVar[MemberManager] = MemberManager()

    USERNAME_FIELD = "email"

    class Meta:
        app_label = "members"

    def __str__(self) -> str:
        return self.email
