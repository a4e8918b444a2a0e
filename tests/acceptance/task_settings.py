"""The settings of a project whose own code assigns tasks and hears of their ends."""

from gateway.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.acceptance.task_site:application"
