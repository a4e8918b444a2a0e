"""`manage.py notify`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from msgspec import Raw

from sockets.api import notify_user
from sockets.exceptions import BadFrame, GatewayError, GatewayUnavailable
from sockets.management.output import GatewayCommand
from sockets.protocol.codec import from_json
from sockets.types import NotifyOptions


class Command(GatewayCommand):
    """Notifies one user, as `sockets.api.notify_user` does."""

    help = (
        "Notify every session of a user, from any machine that reaches Redis; in memory mode, "
        "beside the gateway or with GATEWAY_URL: "
        "manage.py notify 42 order.paid '{\"order\": 7}'. "
        "Prints the message's id, epoch and offset, and how many sessions are live."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the user id")
        parser.add_argument("event", help="what happened, such as order.paid")
        parser.add_argument("data", nargs="?", default="null", help="JSON (default: null)")
        parser.add_argument(
            "--ephemeral",
            action="store_true",
            help="not kept for sessions that are away",
        )
        parser.add_argument("--ttl", type=float, help="how long it is worth delivering, in seconds")
        parser.add_argument("--collapse-key", help="replaces the earlier message with this key")
        parser.add_argument(
            "--idempotency-key", help="a repeated command with the same key sends nothing more"
        )
        parser.add_argument("--exclude-client", help="the id of a client that does not get it")

    def handle(self, **options: Any) -> None:
        try:
            written = options["data"].encode()
            from_json(Raw(written))
        except (BadFrame, UnicodeEncodeError) as error:
            raise CommandError(f"DATA is no JSON ({error}): quote it, '{{\"n\": 1}}'") from None
        known = NotifyOptions.__annotations__
        chosen: Any = {name: value for name, value in options.items() if name in known}
        chosen["durable"] = not options["ephemeral"]
        try:
            receipt = notify_user(options["user"], options["event"], Raw(written), **chosen)
        except GatewayUnavailable as error:
            if error.outcome == "nothing":
                raise CommandError(f"{error}: nothing was sent, repeat it") from None
            raise CommandError(
                f"{error}: it may have been sent; repeat it with --idempotency-key {error.id}"
            ) from None
        except GatewayError as error:
            raise CommandError(str(error)) from None
        place = "" if receipt.offset is None else f" epoch {receipt.epoch} offset {receipt.offset}"
        again = " (sent before)" if receipt.duplicate else ""
        self.stdout.write(f"{receipt.id}{place}, live sessions: {receipt.reach}{again}")
