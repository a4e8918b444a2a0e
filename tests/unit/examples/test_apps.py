"""The example's system check."""

from __future__ import annotations

import pytest
from django.conf import LazySettings
from django.core.checks import run_checks

from examples.image_converter.apps import check_tokens


@pytest.mark.parametrize("changes", [{"auth": ("insecure",)}, {"auth": ("jwt",), "jwt_secret": ""}])
def test_e001_without_tokens(settings: LazySettings, changes: dict[str, object]) -> None:
    settings.GATEWAY = {**settings.GATEWAY, **changes}
    (error,) = check_tokens()
    assert error.id == "image_converter.E001"
    assert error in run_checks(tags=["gateway"])


def test_e001_is_silent_when_they_work(settings: LazySettings) -> None:
    assert check_tokens() == []
