"""A backend in a process of its own, for the Python API: a JSON line in, a JSON line out.

In: `{"user", "number", "key"}`; `key` may be null. Out: `{"outcome", "id", "epoch", "offset"}`.
"""

from __future__ import annotations

import json
import sys

import django

django.setup()

from sockets.api import notify_user  # noqa: E402
from sockets.exceptions import GatewayUnavailable  # noqa: E402


def call(user: str, number: int, key: str | None) -> dict[str, object]:
    try:
        receipt = notify_user(user, "e", {"n": number}, idempotency_key=key)
    except GatewayUnavailable as error:
        return {"outcome": error.outcome, "id": error.id}
    except Exception as error:
        return {"outcome": f"raised {type(error).__name__}: {error}"}
    return {
        "outcome": "ok",
        "id": receipt.id,
        "epoch": receipt.epoch,
        "offset": receipt.offset,
    }


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(call(**json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
