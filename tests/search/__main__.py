"""`scripts/soak search`: see --help."""

from __future__ import annotations

import os

import tests.support.hermetic  # noqa: F401  # before Django reads its settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import django

django.setup()

from tests.search.command import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
