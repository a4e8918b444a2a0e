"""`manage.py serve`."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, Error

from sockets.base.extras import server_lacking
from sockets.base.within import shown_by
from sockets.checks import sqlite_transactions
from sockets.conf import get_conf
from sockets.logs import audit_to_stderr
from sockets.management.migrated import APP, databases, unapplied
from sockets.management.output import GatewayCommand, one_line
from sockets.server import reload
from sockets.server.early import end_at_once
from sockets.server.fresh import NotRunnable, begin_anew, reactor_is_taken

EXIT_GRACE = 2.0
"""Seconds that threads get to end when all is done that the gateway has to do."""

DEVELOPMENT_GRACE = 0.1
"""The same where somebody waits at a terminal."""


class Command(GatewayCommand):
    """Runs the gateway until SIGTERM, SIGHUP or SIGINT (a second one hurries; in development SIGINT
    ends it at once)."""

    help = (
        "Run the gateway: the public port for browsers and the private port for workers, "
        "backends and the admin, in one process. Its settings are GATEWAY in the project's "
        "settings; the options here go before them. It wants our own migrations applied, and no "
        "others. SIGTERM lets clients go to other nodes first, a second one hurries."
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
        parser.add_argument(
            "--reload",
            action="store_true",
            help="for development: start the gateway again when a Python file of the project "
            "changes, as runserver does. Clients come back by themselves; in memory mode streams "
            "and presence are lost each time. A fault in a file is shown, and waited over",
        )

    def run_from_argv(self, argv: list[str]) -> None:
        end_at_once()  # as `manage.py` of the gateway has done; another project's has not
        self._replaceable = True
        super().run_from_argv(argv)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command here, in a child, or in a fresh interpreter; the checks run there."""
        try:
            if options["reload"]:
                self._require_development()
                if reload.watch is None:
                    supervisor = reload.Supervisor(options["host"], *self._ports(options))
                    sys.exit(supervisor.run())
            if reactor_is_taken() and self._replaceable:
                begin_anew()
        except NotRunnable as error:
            raise CommandError(
                "the gateway begins with a process of its own, and cannot start this one anew: "
                "run it as `python manage.py serve`"
            ) from error
        return super().execute(*args, **options)

    _replaceable = False
    """Whether the process is this command, and not a program that calls it."""

    def handle(self, **options: Any) -> None:
        try:
            from sockets.server.application import load_application
            from sockets.server.serve import serve
        except ModuleNotFoundError as error:
            raise CommandError(server_lacking("manage.py serve", error)) from error
        except ImportError as error:
            raise CommandError(str(error)) from error

        path = getattr(settings, "ASGI_APPLICATION", None)
        try:
            application = load_application(path)
        except ImproperlyConfigured as error:
            raise CommandError(one_line(str(error))) from error
        self._require_migrations()
        conf = get_conf()
        site: Any = shown_by(application)
        if site is not None and settings.DEBUG and apps.is_installed("django.contrib.staticfiles"):
            site.serve_static_files()
        in_development = conf.environment == "development"
        # What a project has when it begins is no fault while it is developed.
        for warning in [] if in_development else sqlite_transactions():
            if not warning.is_silenced():
                self.stderr.write(str(warning))
        audited = audit_to_stderr(json=conf.environment == "production")
        if audited and not in_development:
            self.stderr.write("LOGGING has no handler for gateway.audit: its lines go to stderr")
        client_port, worker_port = self._ports(options)
        if reload.watch is not None:
            client_port = client_port or reload.watch.client_port
            worker_port = worker_port or reload.watch.worker_port
            reload.watch.begin()
        code = serve(
            application,
            conf,
            path=str(path),
            host=options["host"],
            client_port=client_port,
            worker_port=worker_port,
            ports_file=options["ports_file"],
            out=sys.stdout,
        )
        if reload.watch is not None:
            code = reload.watch.code(code)
            if code not in (0, reload.CHANGED):
                sys.exit(code)  # to wait for a change, for as long as that takes
        _end_in_time(code, DEVELOPMENT_GRACE if in_development else EXIT_GRACE)
        sys.exit(code)

    def _ports(self, options: dict[str, Any]) -> tuple[int, int]:
        conf = get_conf()
        client, worker = options["client_port"], options["worker_port"]
        return (
            conf.client_port if client is None else client,
            conf.worker_port if worker is None else worker,
        )

    def _require_development(self) -> None:
        try:
            production = get_conf().environment == "production"
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if production:
            raise CommandError(
                "--reload is for development, and this is production: leave it out (or set DEBUG "
                "and ENVIRONMENT=development)"
            )

    def _require_migrations(self) -> None:
        """Refuse a database that lacks our tables; one that is away is no reason not to serve."""
        for alias in databases():
            try:
                lacking = unapplied(alias)
            except Error as error:
                told = f"the database does not answer; rows wait until it does: {error}"
                self.stderr.write(told)
                continue
            if lacking:
                default = alias == DEFAULT_DB_ALIAS
                raise CommandError(
                    f"the database{'' if default else f' {alias!r}'} is not migrated, it lacks "
                    f"{', '.join(f'{APP}.{name}' for name in lacking)}; run: python manage.py "
                    f"migrate{'' if default else f' --database={alias}'}"
                )


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
