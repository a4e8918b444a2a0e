"""The only writer of `Session` rows: batches, in one thread of its own.

Sessions open and close on the event loop, which may not wait for a database. They leave a note
in a bounded queue, one entry per session; a thread writes what has gathered every `interval`.

    session_opened / session_closed -> queue -> take 500 -> one transaction -> rows
                                         ^_____ put back, while the database is away

What is last told about a session wins, so a batch may be repeated (a lost answer to COMMIT) and
a session that was closed as lost may come back. Beyond `queue_size` sessions the oldest entry is
dropped and counted: history is for people, and no socket is closed for its sake. A row that the
database refuses for what is in it is dropped alone.

No row stays open for ever: a process closes what the one before it under its name left (`start`),
another node what a dead one left (`node_died`), and after a drop the recorder compares its open
rows with the sessions that live. Such rows end as lost (4099).

    base.py     what a node needs of its recorder
    queue.py    what waits: bounded, joined by session, no database
    rows.py     entries and the node's row as SQL
    pruning.py  deletes the rows of sessions that ended long ago, in small steps
    writer.py   the thread, its retries, `Recorder`
    nothing.py  for a gateway that keeps no history
"""

from __future__ import annotations

from sockets.recorder.base import SessionRecorder
from sockets.recorder.nothing import NoRecorder
from sockets.recorder.writer import Recorder

__all__ = ["NoRecorder", "Recorder", "SessionRecorder"]
