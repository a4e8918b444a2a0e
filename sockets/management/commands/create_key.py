"""`manage.py create_key`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error
from django.utils import timezone

from sockets.auth.key_rows import make_key
from sockets.management.durations import duration
from sockets.management.output import GatewayCommand


class Command(GatewayCommand):
    """Makes a key for a worker or a backend.

    Prints the secret on stdout, alone and once, and everything for people on stderr.
    """

    help = (
        "Make a key for a worker or a backend, and print its secret, which nobody can see again: "
        "manage.py create_key shop --scope notify --scope presence. "
        "Rotation: the same with --replace --overlap 24h; give the new secret to whoever has the "
        "old one, which ends a day later."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="who has it: 1 to 64 of A-Z a-z 0-9 . _ -")
        parser.add_argument(
            "--scope",
            metavar="SCOPE",
            action="append",
            required=True,
            dest="scopes",
            help="what it may do, again for each: notify (send), presence (see who is connected), "
            "tasks:<pool> or tasks:* (give or take work), admin (end sessions, see nodes)",
        )
        parser.add_argument(
            "--expires", metavar="AGE", type=duration, help="after 90d, 24h, 30m or 45s"
        )
        parser.add_argument(
            "--replace", action="store_true", help="end the older keys of this name"
        )
        parser.add_argument(
            "--overlap",
            metavar="TIME",
            type=duration,
            help="with --replace: how long the older ones stay valid",
        )

    def handle(self, **options: Any) -> None:
        expires, overlap = options["expires"], options["overlap"]
        if overlap is not None and not options["replace"]:
            raise CommandError("--overlap is how long --replace leaves the older keys: add that")
        try:
            row, secret = make_key(
                options["name"],
                options["scopes"],
                expires_at=None if expires is None else timezone.now() + expires,
                replace=options["replace"],
                overlap=overlap or timedelta(0),
                by="command",
            )
        except ValueError as error:
            raise CommandError(str(error)) from None
        except Error as error:
            raise CommandError(f"the database does not take it: {error}") from None
        until = "" if row.expires_at is None else f", until {row.expires_at:%Y-%m-%d %H:%M %Z}"
        self.stderr.write(f"key {row.id} of {row.name!r}: {row.scopes}{until}", ending="\n")
        self.stderr.write("its secret, which nobody can see again:", ending="\n")
        self.stdout.write(secret)
