"""`manage.py drain`."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from sockets.api import drain_node, nodes
from sockets.exceptions import GatewayError
from sockets.management.output import GatewayCommand

MAX_TIMEOUT = 86_400.0
"""Seconds."""

POLL = 0.5
"""Seconds between two looks at how far it is."""


class Command(GatewayCommand):
    """Ends a node from elsewhere, as SIGTERM does on its own machine."""

    help = (
        "Send a node's clients to the other nodes and end its process, in good order: "
        "manage.py drain --node a. Prints how many sessions are left until the node is gone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--node", required=True, help="its NODE_NAME")
        parser.add_argument(
            "--timeout",
            type=float,
            default=120.0,
            help="seconds to wait for its end (default: %(default)s); 0: do not wait",
        )

    def handle(self, **options: Any) -> None:
        name, timeout = options["node"], options["timeout"]
        if not 0 <= timeout <= MAX_TIMEOUT:
            raise CommandError("--timeout is at least 0, at most a day")
        try:
            self._drain(name, timeout)
        except GatewayError as error:
            raise CommandError(str(error)) from None

    def _drain(self, name: str, timeout: float) -> None:
        living = nodes()
        # Its supervisor may start it again at once: that is another process of the name.
        processes = {info.started_at for info in living if info.name == name}
        if not processes:
            known = ", ".join(info.name for info in living) or "none"
            raise CommandError(f"no node {name!r} lives; those that do: {known}")
        if not drain_node(name):
            raise CommandError(
                f"node {name!r} does not answer: it is frozen or cut off; its lease ends by itself"
            )
        self.stdout.write(f"node {name} drains")
        deadline = time.monotonic() + timeout
        shown = None
        while timeout:
            left = [
                info.clients + info.workers
                for info in nodes()
                if info.name == name and info.started_at in processes
            ]
            if not left:
                self.stdout.write(f"node {name} is gone")
                return
            if left[0] != shown:
                shown = left[0]
                self.stdout.write(f"{shown} sessions left")
            if time.monotonic() > deadline:
                raise CommandError(f"node {name!r} is still there after {timeout:g} s")
            time.sleep(POLL)
