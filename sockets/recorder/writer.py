"""The recorder itself: takes notes from anywhere, writes them in its thread, outlives outages."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from django.db import Error, connections, reset_queries

from sockets.base import metrics
from sockets.models import Node
from sockets.recorder import rows
from sockets.recorder.pruning import Pruner
from sockets.recorder.queue import Close, Entry, Queue
from sockets.types import SessionInfo

logger = logging.getLogger(__name__)

BATCH: Final = 500  # sessions in one transaction
MAX_DEAD: Final = 1_000  # other nodes whose rows wait to be closed
MAX_BACKOFF: Final = 5.0  # seconds between two attempts while the database is away


class Recorder:
    """Keeps the rows of one node's sessions, and the node's own row, up to date.

    `queue_size` is in sessions, `interval` in seconds between two batches, `keep` in seconds that
    the rows of ended sessions are kept (0: for ever; `pruning`). `clock` gives seconds
    since the epoch and dates the node's start, which is now, and its stop; all else is dated by
    the caller. `live`: the ids of the node's live sessions, asked from the thread. Every method
    may be called from any thread.
    """

    def __init__(
        self,
        *,
        node: str,
        queue_size: int,
        interval: float,
        keep: float = 0.0,
        live: Callable[[], Collection[str]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = rows.text(Node, "name", node)
        self._interval = interval
        self._clock = clock
        # The node's start as the other nodes know it, who compare the two: `start` may come
        # seconds later, where Redis is away.
        self._made = clock()
        self._queue = Queue(queue_size)
        self._pruner = Pruner(keep, clock)
        self._writing = threading.Lock()  # one writer at a time, or a close overtakes its open
        self._node: Node | None = None  # the row as it should be; None: not started
        self._entered = threading.Event()  # the node's row is written, its lost sessions closed
        self._lost = 0
        self._seen: float | None = None
        self._new_name: str | None = None
        self._live = live
        self._dead: dict[str, tuple[float, float]] = {}  # other nodes: started, found dead
        self._trouble = ""
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._finished = False  # the thread wrote everything before it ended

    @property
    def dropped(self) -> int:
        """Sessions about which something was not written and never will be."""
        return self._queue.dropped

    @property
    def pending(self) -> int:
        """Sessions about which something is still to be written."""
        return self._queue.pending

    @property
    def trouble(self) -> str:
        """What is wrong with the database; "": nothing. Any thread."""
        return self._trouble

    # Notes. Safe on an event loop: a dictionary entry under a lock, no query, no error.

    def session_opened(self, info: SessionInfo) -> None:
        """Record that a session began; one that had been closed is open again."""
        self._queue.opened(info)

    def session_closed(self, session_id: str, *, at: float, code: int, reason: str) -> None:
        """Record that a session ended; without effect if its row was dropped."""
        self._queue.closed(session_id, Close(at, code, reason))

    def node_seen(self, at: float) -> None:
        """Record a heartbeat of the node; only the newest is written."""
        self._seen = at

    def rename(self, node: str) -> None:
        """Take another name for the node: it gets a row of its own, and another process may have
        the one that it had. Rows of its sessions follow as they are written."""
        self._new_name = rows.text(Node, "name", node)

    def node_died(self, name: str, *, started: float, at: float) -> None:
        """Record that another node is dead: its rows are to be closed. The last call counts."""
        if name in self._dead or len(self._dead) < MAX_DEAD:
            self._dead[name] = (started, at)
        else:
            metrics.dropped_recorder.inc()

    # Life.

    def start(
        self,
        *,
        client_url: str = "",
        worker_url: str = "",
        version: str = "",
        thread: bool = True,
        wait: float = 0.0,
    ) -> int:
        """Close what the node's previous process left open, enter the node, begin to write.

        The thread does so as soon as the database answers. Waits for that at most `wait` seconds
        and returns the number of sessions found lost (0: none, or not known yet). With `thread`
        false nothing is written until `flush` or `stop`. Called again: changes nothing.
        """
        if self._node is None:
            self._node = Node(
                name=self._name,
                started_at=rows.moment(self._made),
                seen_at=rows.moment(self._clock()),
                version=rows.text(Node, "version", version),
                pid=os.getpid(),
                client_url=rows.text(Node, "client_url", client_url),
                worker_url=rows.text(Node, "worker_url", worker_url),
            )
            for event in (self._entered, self._stopping, self._abandoned):
                event.clear()
            self._finished = False
            # Asked when it is looked at: the thread may hang in a query, and tell nothing.
            metrics.RECORDER_PENDING.set_function(lambda: self.pending)
            if thread:
                # A daemon: a database that never answers must not keep the process from exiting.
                self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
                self._thread.start()
        if self._thread is not None and self._entered.wait(wait):
            return self._lost
        return 0

    def flush(self) -> int:
        """Write what is queued in the calling thread; returns how many sessions that were.

        Raises what the database raises; the rest is queued again. Django refuses it on the thread
        of a running event loop.
        """
        return self._write_all()

    def stop(self, timeout: float) -> bool:
        """Write everything, mark the node stopped, end the thread; true if all that was done.

        Blocks the calling thread for at most `timeout` seconds and retries meanwhile; what is not
        written by then is lost. Called again, or never started: writes what is queued.
        """
        thread = self._thread
        if thread is not None:
            self._stopping.set()
            thread.join(timeout)
            if thread.is_alive():
                self._abandoned.set()
                return False
            self._thread = self._node = None
            return self._finished
        try:
            self._write_all(stopping=True)
        except Error as error:
            logger.warning("recorder: not everything was written: %s", rows.first_line(error))
            return False
        self._node = None
        return True

    # The thread.

    def _run(self) -> None:
        failures, away_since = 0, 0.0
        try:
            while not self._abandoned.is_set():
                stopping = self._stopping.is_set()
                delay = self._interval
                try:
                    self._write_all(stopping=stopping)
                    reset_queries()  # DEBUG keeps them: whole batches of rows
                except Exception as error:
                    # Whatever it is, the notes are queued again and the next attempt may succeed;
                    # a thread that ended here would leave them there for ever.
                    failures += 1
                    rows.drop_connection()
                    if failures == 1:
                        delay = 0.0  # perhaps only a connection gone stale: at once, in silence
                    elif not stopping:
                        delay = min(MAX_BACKOFF, self._interval * 2 ** min(failures - 2, 20))
                    self._trouble = "the database takes no rows" if failures > 1 else ""
                    if failures == 2:
                        away_since = self._clock()
                        self._say_away(error)
                    if failures > 1:
                        metrics.RECORDER_FAILURES.inc()
                else:
                    if failures > 1:
                        away = self._clock() - away_since
                        logger.info("recorder: the database is back after %.0f s", away)
                    failures, self._trouble = 0, ""
                    self._say_overflown()
                    self._finished = stopping
                    if stopping:
                        return
                    self._pruner.work(self._name)
                (self._abandoned if stopping else self._stopping).wait(delay)
        finally:
            connections.close_all()  # this thread's

    def _say_away(self, error: Exception) -> None:
        logger.warning(
            "recorder: the database does not take rows (%s: %s); up to %d sessions wait for it, "
            "and it is tried again until it does",
            type(error).__name__,
            rows.first_line(error),
            self._queue.size,
        )

    def _say_overflown(self) -> None:
        if overflown := self._queue.overflown():
            logger.warning(
                "recorder: the history of %d sessions has a gap: more than %d waited for the "
                "database (RECORDER_QUEUE)",
                overflown,
                self._queue.size,
            )

    # Writing.

    def _write_all(self, *, stopping: bool = False) -> int:
        written = 0
        with self._writing:
            self._write_new_name()
            if self._node is not None and not self._entered.is_set():
                # Before any row of this process: only then all open ones are the previous one's.
                self._lost = rows.take_over(self._node)
                self._entered.set()
                if self._lost:
                    logger.warning(
                        "recorder: the last process left %d sessions open; closed as lost",
                        self._lost,
                    )
            while entries := self._queue.take(BATCH):
                written += self._write(entries)
            self._close_what_others_left()
            self._close_what_was_dropped()
            if self._node is not None:
                self._write_node(self._node, stopping)
        return written

    def _write_new_name(self) -> None:
        name, self._new_name = self._new_name, None
        if name is None:
            return
        self._name = name
        if self._node is not None:
            self._node.name = name
            if self._entered.is_set():
                try:
                    rows.save_node(self._node)
                except BaseException:
                    self._new_name = self._new_name or name
                    raise

    def _close_what_others_left(self) -> None:
        for name in list(self._dead):
            started, at = told = self._dead.pop(name)
            try:
                count = rows.close_dead(
                    rows.text(Node, "name", name), rows.moment(started), rows.moment(at)
                )
            except BaseException:
                self._dead.setdefault(name, told)  # unless it was told anew
                raise
            if count:
                logger.warning("recorder: node %s died with %d sessions open", name, count)

    def _close_what_was_dropped(self) -> None:
        if not self._queue.has_gap or self._node is None:
            return
        self._queue.has_gap = False
        try:
            count = rows.close_all_but(self._node, set(self._live()), rows.moment(self._clock()))
        except BaseException:
            self._queue.has_gap = True
            raise
        if count:
            logger.warning("recorder: of the dropped entries %d were the ends of sessions", count)

    def _write_node(self, node: Node, stopping: bool) -> None:
        seen, self._seen = self._seen, None
        if seen is not None:
            node.seen_at = rows.moment(seen)
        if stopping:
            node.seen_at = node.stopped_at = rows.moment(self._clock())
        if stopping or seen is not None:
            rows.save_node(node)

    def _write(self, entries: list[Entry]) -> int:
        """Write one batch, halved where the database refuses it for what is in it.

        Raises any other error, and what was not written is queued again.
        """
        written, todo = 0, [entries]
        try:
            while todo:
                part = todo[-1]
                try:
                    rows.save(part)
                except Exception as error:
                    if not rows.is_refusal(error):
                        raise
                    todo.pop()
                    if len(part) > 1:
                        middle = len(part) // 2
                        todo += [part[middle:], part[:middle]]
                    else:
                        self._queue.drop()
                        # Not the error's text: it quotes the row.
                        logger.error(
                            "recorder: dropped session %r, which the database refuses (%s)",
                            part[0].id,
                            type(error).__name__,
                        )
                else:
                    todo.pop()
                    written += len(part)
        finally:
            if todo:
                self._queue.put_back([entry for part in reversed(todo) for entry in part])
            else:
                self._queue.done()
            metrics.RECORDER_WRITTEN.inc(written)
        return written
