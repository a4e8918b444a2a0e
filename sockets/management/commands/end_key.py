"""`manage.py end_key`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error

from sockets.auth.key_rows import end_keys, live_keys
from sockets.management.output import GatewayCommand


class Command(GatewayCommand):
    """Ends keys now, on every node within KEYS_REFRESH seconds."""

    help = (
        "End the live keys of a name, or one of them: manage.py end_key shop --id abcdefgh. "
        "Requests with them are refused and workers that connected with them are closed (4508) "
        "within KEYS_REFRESH seconds. Keys of WORKER_KEYS and API_KEYS end by a restart without "
        "them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="who has it")
        parser.add_argument(
            "--id", help="only this one: what follows gw_ in its secret, as the admin shows it"
        )

    def handle(self, **options: Any) -> None:
        name, id = options["name"], options["id"]
        try:
            live = live_keys().filter(name=name)
            ended = end_keys(live if id is None else live.filter(id=id), by="command")
            if not ended:
                others = ", ".join(live.values_list("id", flat=True)) or "none"
                what = f"{name!r}" if id is None else f"{name!r} with the id {id!r}"
                raise CommandError(f"no live key of {what}; live keys of this name: {others}")
        except Error as error:
            raise CommandError(f"the database does not answer: {error}") from None
        for row in ended:
            self.stdout.write(f"key {row.id} of {row.name!r} has ended")
