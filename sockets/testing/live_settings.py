"""Settings of a gateway that `LiveGateway` starts: the project's own, with tables and keys of the
test. Not for any other use."""

from __future__ import annotations

import json
import os
from importlib import import_module
from typing import Any

_project = import_module(os.environ["GATEWAY_TEST_SETTINGS"])
_given: dict[str, Any] = json.loads(os.environ["GATEWAY_TEST_CONF"])
globals().update({name: value for name, value in vars(_project).items() if name.isupper()})

GATEWAY = {**getattr(_project, "GATEWAY", {}), **_given}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(_given["data_dir"], "test.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
}
DATABASE_ROUTERS: list[str] = []
_LAYERS = "sockets.layers"
CHANNEL_LAYERS: dict[str, Any] = {
    "default": (
        {
            "BACKEND": f"{_LAYERS}.redis.RedisChannelLayer",
            "CONFIG": {"hosts": [_given["redis_url"]]},
        }
        if _given["redis_url"]
        else {"BACKEND": f"{_LAYERS}.memory.MemoryChannelLayer"}
    )
}
