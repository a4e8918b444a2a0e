"""What is deprecated is an error for our modules, whoever warns of it."""

from __future__ import annotations

import warnings

import pytest
from django.utils import deprecation

from tests.support.gateway import deprecations


def categories() -> set[type[Warning]]:
    """Python's own, and those of the two next versions of Django, whichever this one is."""
    django = {
        one
        for one in vars(deprecation).values()
        if isinstance(one, type) and issubclass(one, Warning)
    }
    return {DeprecationWarning, PendingDeprecationWarning, FutureWarning} | django


@pytest.mark.parametrize("module", ["sockets.api.messages", "sockets", "gateway.settings"])
@pytest.mark.parametrize("category", sorted(categories(), key=str))
def test_a_deprecation_is_an_error(category: type[Warning], module: str) -> None:
    """Rule 19: also where Django's `stacklevel` says that it is ours."""
    file = f"{module.replace('.', '/')}.py"
    with pytest.raises(category, match="old"):
        warnings.warn_explicit("old", category, file, 1, module=module)


@pytest.mark.parametrize("name", ["DeprecationWarning", "RemovedInDjango70Warning"])
def test_one_in_a_real_process_is_seen_in_its_log(name: str) -> None:
    """Rule 19: `tests.support.gateway.running` looks for them."""
    ours = f"/srv/sockets/api/data.py:12: {name}: it goes\n"
    log = f"ready\n{ours}  old()\n/lib/channels/layers.py:1: {name}: it goes\n"
    assert deprecations(log) == [ours.strip()]


def test_django_has_two_of_its_own() -> None:
    assert len(categories()) >= 4
