"""The settings of a project one of whose signal receivers never returns."""

from gateway.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.acceptance.stuck_site:application"
