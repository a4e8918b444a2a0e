"""`manage.py forget_user`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from sockets.api import forget_user
from sockets.api.ledger import digest_of
from sockets.base import audit
from sockets.exceptions import GatewayError
from sockets.management.output import GatewayCommand


class Command(GatewayCommand):
    """Removes all that the gateway keeps of a user."""

    help = (
        "Close a user's sessions and remove all that the gateway keeps of the user: messages, "
        "positions, the ledger of deliveries, presence, rows of sessions: manage.py forget_user 42 "
        "--yes. May be repeated. Prints what is gone and what stays, and what the audit log calls "
        "the user, whose id it does not name."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the user's id")
        parser.add_argument(
            "--yes", action="store_true", help="it is meant: nothing brings it back"
        )

    def handle(self, **options: Any) -> None:
        user = options["user"]
        if not options["yes"]:
            raise CommandError("nothing brings back what this removes: repeat it with --yes")
        before = audit.actor.set("command")
        try:
            done = forget_user(user)
        except GatewayError as error:
            raise CommandError(f"{error}; repeat it") from None
        finally:
            audit.actor.reset(before)
        self.stdout.write(f"{done.closed} sessions closed, {done.unconfirmed} not confirmed")
        self.stdout.write(
            f"removed: {done.messages} messages, {done.clients} clients in the ledger, "
            f"{'the' if done.state else 'no'} presence state, {done.rows} rows of sessions"
        )
        if done.blocked:
            self.stdout.write("stays: the block of this user (unblock_user lifts it)")
        if done.revoked:
            self.stdout.write("stays: revocations, for 30 days, or old tokens would count again")
        self.stdout.write(f"in the audit log: {digest_of(user)}")
