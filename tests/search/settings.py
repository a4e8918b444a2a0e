"""The settings of a project that hears of the ends of tasks."""

from gateway.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.search.site:application"
