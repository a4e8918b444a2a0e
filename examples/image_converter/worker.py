"""The conversion worker as a command: its options, its signals, its exit.

A process of its own that knows two things: the gateway's worker socket, which brings its tasks, and
the folder with the images. Run as many as you like.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from examples.image_converter.link import Disconnected, Rejected, WorkerLink
from examples.image_converter.workshop import POOL, Workshop

log = logging.getLogger("examples.image_converter.worker")

_HELP = f"""\
Converts the images of the demo page.

  WORKER_KEY=<secret> python -m examples.image_converter.worker \\
      --url ws://127.0.0.1:4001 --capacity 2

It connects to the gateway and takes tasks of the pool {POOL}, as many at a time as its
capacity. Start a second one to share the load. When the gateway is away, it works on and
comes back by itself.

Ctrl-C or SIGTERM: takes nothing new, gives what it has --grace seconds, hands back the
rest. A second one: hands back at once. After kill -9 its tasks are lost when the gateway's
TASK_GRACE (30 s) is over; the page says so, and another worker begins anew.
"""


async def _main(args: argparse.Namespace, key: str) -> None:
    link = WorkerLink(args.url, key, name=args.name, pool=POOL, capacity=args.capacity)
    workshop = Workshop(
        args.data / "demo", link, name=args.name, capacity=args.capacity, grace=args.grace
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, workshop.stop)
    log.info("worker %s: %d at a time, images in %s", args.name, args.capacity, args.data / "demo")
    await workshop.run()


def _parser() -> argparse.ArgumentParser:
    env = os.environ.get
    parser = argparse.ArgumentParser(
        prog="python -m examples.image_converter.worker",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The key comes from the variable WORKER_KEY only, so that no process list shows it.",
    )
    parser.add_argument(
        "--url",
        default=env("WORKER_SOCKET_URL") or "ws://127.0.0.1:4001",
        help="the gateway's worker socket (default: WORKER_SOCKET_URL, or %(default)s)",
    )
    parser.add_argument(
        "--capacity", type=int, default=2, help="images at the same time (default: %(default)s)"
    )
    parser.add_argument(
        "--name",
        default=f"{socket.gethostname()}-{os.getpid()}",
        help="shown on the page and in the admin (default: host and process id)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(env("DATA_DIR") or "var"),
        metavar="DIR",
        help="the gateway's DATA_DIR (default: DATA_DIR, or var)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=8.0,
        metavar="SECONDS",
        help="time for running conversions after SIGTERM (default: %(default)g)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    key = os.environ.get("WORKER_KEY", "").strip()
    if not key:
        parser.error("WORKER_KEY is not set: give it a secret out of the gateway's WORKER_KEYS")
    if args.capacity < 1:
        parser.error("--capacity must be at least 1")
    if args.grace < 0:
        parser.error("--grace must be at least 0")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        asyncio.run(_main(args, key))
    except Rejected as error:
        hint = "" if isinstance(error, Disconnected) else "; check WORKER_KEY and --url"
        print(f"error: {error}{hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
