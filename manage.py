#!/usr/bin/env python
"""The commands of the gateway and of Django: `serve`, `migrate`, `createsuperuser`, ..."""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured


def main(argv: list[str]) -> None:
    """Run one command; a wrong setting ends it with one line on stderr and exit code 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(argv)
    except ImproperlyConfigured as error:
        # A traceback would hide the one line that says which variable to change.
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main(sys.argv)
