"""`manage.py prune_sessions`."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error

from sockets.conf import get_conf
from sockets.management.output import GatewayCommand
from sockets.recorder import pruning, rows

_DAY = 86_400
_MOST = 36_500  # days

TURN = 0.01
"""Seconds between two steps, in which others may write: SQLite has one writer at a time."""


class Command(GatewayCommand):
    """Deletes the rows of sessions that ended long ago, as a running node does by and by."""

    help = (
        "Delete the database's rows of sessions that ended more than SESSION_KEEP ago, or more "
        "than --older-than days: manage.py prune_sessions --older-than 30. Rows of live sessions "
        "stay. Goes in small steps beside running nodes, and may be stopped and repeated at any "
        "time. Prints how many rows that were."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            metavar="DAYS",
            type=float,
            help="days since the session's end, fractions allowed (default: SESSION_KEEP); 0: "
            "all that have ended",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="delete nothing, say how many it would be"
        )

    def handle(self, **options: Any) -> None:
        days = options["older_than"]
        if days is not None and not 0 <= days <= _MOST:
            raise CommandError("--older-than is 0 to 36,500 days")
        if not get_conf().history:
            self.stderr.write(
                "SESSION_HISTORY is false: what is here is of before, and no more comes"
            )
        keep = get_conf().session_keep if days is None else days * _DAY
        if days is None and not keep:
            raise CommandError("SESSION_KEEP is 0, rows are kept for ever: say --older-than DAYS")
        before = rows.moment(max(0.0, time.time() - keep))
        count = 0
        try:
            if options["dry_run"]:
                count = pruning.ended(before).count()
                self.stdout.write(f"{count} rows of ended sessions would be deleted")
                return
            more, after = True, None
            while more:
                gone, after = pruning.prune(before, after)
                count += gone
                if more := after is not None:
                    time.sleep(TURN)
        except Error as error:
            raise CommandError(
                f"the database does not take it: {rows.first_line(error)}; "
                f"{count} rows are deleted, repeat it"
            ) from None
        except KeyboardInterrupt:
            raise CommandError(f"stopped: {count} rows are deleted") from None
        self.stdout.write(f"{count} rows of ended sessions deleted")
