"""Which of our migrations a database lacks.

Of the app `sockets` only: a gateway needs no other table of its project, and a project may be in
the middle of a deployment. Migrations that this version does not know are of a newer one, which is
already there in a rolling restart, and no fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from django.apps import apps
from django.db import connections, router
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

APP: Final = "sockets"


def databases() -> list[str]:
    """Return the aliases of the databases that the project's router gives our models."""
    models = apps.get_app_config(APP).get_models()
    return sorted({router.db_for_write(model) for model in models})


def unapplied(alias: str) -> list[str]:
    """Return the names of our migrations that this database lacks, oldest first.

    Raises django.db.Error for a database that does not answer.
    """
    connection = connections[alias]
    try:
        applied = MigrationRecorder(connection).applied_migrations()
    finally:
        connection.close()
    return sorted(name for name in _known() if (APP, name) not in applied)


def _known() -> Iterator[str]:
    # Not the loader's graph: it reads the migrations of all apps, and fails where one is broken.
    module, _ = MigrationLoader.migrations_module(APP)
    if module is not None:  # None: MIGRATION_MODULES has it so, and tables are made without
        for found in iter_modules(import_module(module).__path__):
            if found.name[0] not in "_~":
                yield found.name
