"""The command: `python -m gateway_client worker module:worker`, and `health` for probes."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import sys
from pathlib import Path

from gateway_client import health
from gateway_client.errors import Rejected
from gateway_client.frames import DISCONNECTED
from gateway_client.worker import Worker

_WORKER = """\
Runs the worker that a module has made:

  # images.py
  from gateway_client import Worker

  worker = Worker(pools={"image.convert": 4})

  @worker.task("image.convert")
  def convert(task):
      task.progress({"percent": 50})
      return {"url": "/1.webp"}

  $ export WORKER_SOCKET_URL=ws://127.0.0.1:4001 WORKER_KEY=…
  $ python -m gateway_client worker images:worker

Run as many as you like: the gateway gives each task to the least loaded one. When the gateway is
away, what runs goes on, and the worker comes back by itself.

SIGTERM or Ctrl-C: takes nothing new, gives what runs --grace seconds, hands back the rest. A second
one: hands back at once. After kill -9 its tasks are lost when the gateway's TASK_GRACE is over.

Exit codes: 0 stopped; 1 the gateway does not want it (its key ended, an operator sent it away); 2
something is wrong with the command or the module.
"""

_HEALTH = """\
Says whether the worker that writes this file is connected; for probes:

  livenessProbe:
    exec: {command: [python, -m, gateway_client, health, /tmp/worker.json]}
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gateway_client")
    commands = parser.add_subparsers(dest="command", required=True, metavar="worker | health")
    form = argparse.RawDescriptionHelpFormatter
    one = commands.add_parser(
        "worker", help="run a worker", description=_WORKER, formatter_class=form
    )
    one.add_argument("target", metavar="module:worker", help="where the Worker is")
    one.add_argument("--name", help="shown in the admin (default: the worker's own, or host-pid)")
    one.add_argument(
        "--pool",
        type=_places,
        action="append",
        default=[],
        metavar="POOL=NUMBER",
        help="take so many tasks of this pool at a time, and not what the module says",
    )
    one.add_argument(
        "--grace",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="time for running tasks after SIGTERM (default: %(default)g)",
    )
    one.add_argument(
        "--health-file",
        type=Path,
        metavar="FILE",
        help=f"written every {health.EVERY:g} s while the worker lives, for `health`",
    )
    one.add_argument(
        "--log-level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="the least that is logged (default: %(default)s)",
    )
    other = commands.add_parser(
        "health", help="look at a health file", description=_HEALTH, formatter_class=form
    )
    other.add_argument("file", type=Path)
    other.add_argument(
        "--away",
        action="store_true",
        help="a worker that waits for the gateway is well, too",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("seconds, from 0 to 86400")
    return seconds


def _places(text: str) -> tuple[str, int]:
    pool, _, number = text.rpartition("=")
    return pool, int(number)


def _found(target: str) -> Worker:
    """Return the worker at `module:name`. Raises ValueError."""
    module, _, name = target.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(module), name or "worker", None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, and lacks something itself
        raise ValueError(f"there is no module {module!r} here, or on PYTHONPATH") from None
    if not isinstance(made, Worker):
        raise ValueError(f"{module} has no Worker named {name or 'worker'!r}")
    return made


async def _serve(worker: Worker, grace: float, file: Path | None) -> None:
    keeper = asyncio.create_task(health.keep(file, worker)) if file else None
    try:
        await worker.serve(grace=grace, signals=True)
    finally:
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)


def _work(args: argparse.Namespace) -> int:
    form = "%(asctime)s %(levelname)-7s %(message)s"
    logging.basicConfig(level=args.log_level.upper(), format=form, stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        worker = _found(args.target)
        worker.adjust(args.name or worker.name, dict(args.pool))
        asyncio.run(_serve(worker, args.grace, args.health_file))
    except Rejected as error:
        hint = "" if error.close_code == DISCONNECTED else "; check WORKER_KEY and the URL"
        print(f"error: {error}{hint}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    args = _parser().parse_args(argv)
    if args.command == "worker":
        return _work(args)
    problem = health.problem(args.file, away=args.away)
    print(problem or "well")
    return 1 if problem else 0


if __name__ == "__main__":
    raise SystemExit(main())
