"""Whether import paths are there: `python import_paths.py PATH…` prints those that are not.

Runs in environments that have the package and none of the tests.
"""

from __future__ import annotations

import sys
from importlib import import_module


def lacking(path: str) -> str | None:
    """Return why there is nothing at this dotted path, of a module or what is in one; None: it is
    there."""
    module, names = path, list[str]()
    while True:
        try:
            found = import_module(module)
            break
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                return f"{path} needs {error.name}"
            module, _, last = module.rpartition(".")
            names.insert(0, last)
            if not module:
                return f"{path} is not there"
    for name in names:
        if not hasattr(found, name):
            return f"{path} is not there"
        found = getattr(found, name)
    return None


if __name__ == "__main__":
    import django

    django.setup()
    print(*filter(None, map(lacking, sys.argv[1:])), sep="\n", end="")  # noqa: T201
