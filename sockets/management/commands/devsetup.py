"""`manage.py devsetup`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError

from sockets.conf import get_conf
from sockets.management.output import GatewayCommand

STAFF = "admin"


class Command(GatewayCommand):
    """Makes what a developer's machine needs; a second run changes nothing.

    Prints the path of the file with the keys on stdout, and everything for people on stderr.
    """

    help = (
        "Prepare a development machine: migrate, a staff user with a password of its own, and "
        "keys for tokens, for the example's worker and for the HTTP API. What is there is kept."
    )

    def handle(self, **options: Any) -> None:
        conf = get_conf()
        if conf.environment == "production":
            raise CommandError("devsetup makes development keys; it does not run in production")
        call_command("migrate", verbosity=0)
        password = self._staff(conf.data_dir / "admin_password")
        keys = conf.data_dir / "dev.env"
        known = keys.read_text() if keys.exists() else ""
        if missing := _missing(known):
            _write_private(keys, known + missing)
        if password:
            self.stderr.write(f"staff user: {STAFF}, password: {password}", ending="\n")
        self.stdout.write(str(keys.resolve()))

    def _staff(self, file: Path) -> str:
        """Return the password of the user that we made, "" if somebody else made it or changed
        it."""
        users = get_user_model()
        user = users.objects.filter(**{users.USERNAME_FIELD: STAFF}).first()
        if user is None:
            password = secrets.token_urlsafe(12)
            _write_private(file, f"{password}\n")
            users.objects.create_superuser(STAFF, password=password)
            return password
        kept = file.read_text().strip() if file.exists() else ""
        return kept if kept and user.check_password(kept) else ""


def _missing(known: str) -> str:
    """Return the lines that the file with the keys does not have yet."""
    worker_key, api_key = secrets.token_hex(24), secrets.token_hex(24)
    groups = [
        {"JWT_SECRET": secrets.token_hex(32)},
        {"WORKER_KEY": worker_key, "WORKER_KEYS": f"dev:{worker_key}"},
        {"API_KEY": api_key, "API_KEYS": f"dev:{api_key}"},
    ]
    have = {line.partition("=")[0] for line in known.splitlines()}
    return "".join(
        f"{name}={value}\n"
        for group in groups
        if not have & group.keys()
        for name, value in group.items()
    )


def _write_private(file: Path, content: str) -> None:
    """Write a whole file or none, for the owner alone."""
    draft = file.with_name(f".{file.name}-{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as output:
        output.write(content)
    draft.replace(file)
