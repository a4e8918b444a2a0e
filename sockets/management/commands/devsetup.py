"""`manage.py devsetup`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from sockets.conf import get_conf

STAFF = "admin"


class Command(BaseCommand):
    """Makes what a developer's machine needs; a second run changes nothing.

    Prints the path of the file with the keys on stdout, and everything for people on stderr.
    """

    help = (
        "Prepare a development machine: migrate, a staff user with a password of its own, and "
        "keys for tokens and for the example's worker. What is there already is kept."
    )

    def handle(self, **options: Any) -> None:
        conf = get_conf()
        if conf.environment == "production":
            raise CommandError("devsetup makes development keys; it does not run in production")
        call_command("migrate", verbosity=0)
        password = self._staff(conf.data_dir / "admin_password")
        keys = conf.data_dir / "dev.env"
        if not keys.exists():
            worker_key = secrets.token_hex(24)
            _write_private(
                keys,
                f"JWT_SECRET={secrets.token_hex(32)}\n"
                f"WORKER_KEY={worker_key}\n"
                f"WORKER_KEYS=dev:{worker_key}\n",
            )
        if password:
            self.stderr.write(f"staff user: {STAFF}, password: {password}", ending="\n")
        self.stdout.write(str(keys.resolve()))

    def _staff(self, file: Path) -> str:
        """The password of the user that we made, "" if somebody else made it or changed it."""
        users = get_user_model()
        user = users.objects.filter(**{users.USERNAME_FIELD: STAFF}).first()
        if user is None:
            password = secrets.token_urlsafe(12)
            _write_private(file, f"{password}\n")
            users.objects.create_superuser(STAFF, password=password)
            return password
        kept = file.read_text().strip() if file.exists() else ""
        return kept if kept and user.check_password(kept) else ""


def _write_private(file: Path, content: str) -> None:
    """A whole file or none, for the owner alone."""
    draft = file.with_name(f".{file.name}-{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as output:
        output.write(content)
    draft.replace(file)
