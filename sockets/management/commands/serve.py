"""`manage.py serve`."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from sockets.base.extras import server_lacking
from sockets.checks import sqlite_transactions
from sockets.conf import get_conf
from sockets.logs import audit_to_stderr
from sockets.management.output import GatewayCommand, one_line
from sockets.server.early import end_at_once

EXIT_GRACE = 2.0
"""Seconds that threads get to end when all is done that the gateway has to do."""

DEVELOPMENT_GRACE = 0.1
"""The same where somebody waits at a terminal."""


class Command(GatewayCommand):
    """Runs the gateway until SIGTERM, SIGHUP or SIGINT (a second one hurries; in development SIGINT
    ends it at once)."""

    help = (
        "Run the gateway: the public port for browsers and the private port for workers, "
        "backends and the admin, in one process. Settings come from the environment and .env "
        "(see .env.example); the options here go before them."
    )
    requires_system_checks = "__all__"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
        )
        parser.add_argument(
            "--client-port", type=_port, help="public port; 0: any free one, which is printed"
        )
        parser.add_argument(
            "--worker-port", type=_port, help="private port; 0: any free one, which is printed"
        )
        parser.add_argument(
            "--ports-file",
            type=Path,
            help="write the real ports and the process id here as JSON once the gateway is ready",
        )

    def run_from_argv(self, argv: list[str]) -> None:
        end_at_once()  # as `manage.py` of the gateway has done; another project's has not
        super().run_from_argv(argv)

    def handle(self, **options: Any) -> None:
        try:
            from sockets.server.application import load_application
            from sockets.server.serve import serve
        except ModuleNotFoundError as error:
            raise CommandError(server_lacking("manage.py serve", error)) from error

        path = getattr(settings, "ASGI_APPLICATION", None)
        try:
            application = load_application(path)
        except ImproperlyConfigured as error:
            raise CommandError(one_line(str(error))) from error
        self._require_migrations()
        conf = get_conf()
        for warning in sqlite_transactions():
            if not warning.is_silenced():
                self.stderr.write(str(warning))
        if audit_to_stderr(json=conf.environment == "production"):
            self.stderr.write("LOGGING has no handler for gateway.audit: its lines go to stderr")
        client, worker = options["client_port"], options["worker_port"]
        code = serve(
            application,
            conf,
            path=str(path),
            host=options["host"],
            client_port=conf.client_port if client is None else client,
            worker_port=conf.worker_port if worker is None else worker,
            ports_file=options["ports_file"],
            out=sys.stdout,
        )
        in_development = conf.environment == "development"
        _end_in_time(code, DEVELOPMENT_GRACE if in_development else EXIT_GRACE)
        sys.exit(code)

    def _require_migrations(self) -> None:
        """Refuse a database that lacks our tables; one that is away is no reason not to serve."""
        try:
            executor = MigrationExecutor(connection)
            missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError as error:
            self.stderr.write(f"the database does not answer; rows wait until it does: {error}")
            return
        finally:
            connection.close()
        if missing:
            raise CommandError("the database is not migrated; run: python manage.py migrate")


def _end_in_time(code: int, grace: float) -> None:
    """End the process after `grace` seconds. Python waits for the threads of its pools for ever: a
    receiver or a view that hangs in one would keep the process from ending."""

    def end() -> None:
        main = threading.main_thread()
        left = [one.name for one in threading.enumerate() if one is not main and not one.daemon]
        sys.stderr.write(f"gateway: threads still run, and are left behind: {', '.join(left)}\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(grace, end)
    timer.daemon = True
    timer.start()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


_port.__name__ = "port"  # argparse: "invalid port value: 'x'"
