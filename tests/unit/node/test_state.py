"""What both state stores take from the settings."""

from __future__ import annotations

from sockets.conf import Conf
from sockets.node.state import session_limit, task_options
from sockets.tasks.memory import MemoryTaskRecords


def test_a_lease_is_fresh_while_its_node_may_have_missed_half_a_round() -> None:
    limit = session_limit(Conf(lease_ttl=30, lease_renew=10, sessions_per_user=3, oldest_goes=True))
    assert (limit.count, limit.oldest_goes, limit.fresh) == (3, True, 15.0)


def test_an_offer_outlives_the_time_to_accept_it() -> None:
    conf = Conf(task_accept_timeout=5, task_grace=7, task_keep=9, task_history=11)
    assert task_options(conf) == {"offer_ttl": 10, "grace": 7, "keep": 9, "history": 11}
    assert MemoryTaskRecords(**task_options(conf)) is not None
