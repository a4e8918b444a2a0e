#!/usr/bin/env python
"""The commands of the gateway and of Django: `serve`, `migrate`, `createsuperuser`, ..."""

from __future__ import annotations

import os
import signal
import sys

from sockets.server.early import end_at_once


def main(argv: list[str]) -> None:
    """Run one command; wrong settings end it with a line each on stderr and exit code 1."""
    if argv[1:2] == ["serve"]:
        end_at_once()  # before Django, which takes a second to import
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(argv)
    except ImproperlyConfigured as error:
        # A traceback would hide the lines that say which variables to change.
        faults = [fault.text for fault in getattr(error, "faults", ())] or [str(error)]
        sys.exit("\n".join(" ".join(fault.split()) for fault in faults))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main(sys.argv)
