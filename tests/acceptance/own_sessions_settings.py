"""The settings of a project with a site of its own, which keeps its sessions in files."""

from gateway.settings import *  # noqa: F403
from gateway.settings import GATEWAY

GATEWAY["sessions"] = "project"
SESSION_ENGINE = "django.contrib.sessions.backends.file"
SESSION_FILE_PATH = str(GATEWAY["data_dir"])
SESSION_COOKIE_NAME = "shop"
SESSION_COOKIE_PATH = "/"
