"""The Python API for Django code: notify users, see who is connected, give work to workers.

Every function has an async twin whose name begins with `a`. The sync form is for threads (views,
tasks, signal handlers); on the thread of a running event loop it raises SynchronousOnlyOperation
and names the twin. The async form may be awaited on any loop. In Redis mode any process of the
project may call: web workers before and after a fork, Celery, management commands.

Errors (all `sockets.exceptions.GatewayError`): InvalidMessage and MessageTooLarge for what cannot
be sent, NoWorkerAvailable for a task that nobody takes now, GatewayUnreachable when memory mode
runs in another process than this one, GatewayUnavailable when Redis or the gateway does not answer:
its `outcome` says whether it was done, and repeating a durable notification with
`idempotency_key=error.id` never doubles it.
"""

from __future__ import annotations

from sockets.api.contracts import Event as Event
from sockets.api.control import (
    ablock_user,
    adisconnect_session,
    adisconnect_sessions,
    adisconnect_user,
    adrain_node,
    alive_sessions,
    anodes,
    arevoke,
    asession_page,
    aunblock_user,
    block_user,
    client_socket_url,
    disconnect_session,
    disconnect_sessions,
    disconnect_user,
    drain_node,
    live_sessions,
    nodes,
    revoke,
    session_page,
    unblock_user,
    worker_socket_url,
)
from sockets.api.ledger import (
    adelivery_of,
    aexplain_delivery,
    aforget_user,
    aledger_of,
    delivery_of,
    explain_delivery,
    forget_user,
    ledger_of,
)
from sockets.api.messages import (
    abroadcast,
    anotify_batch,
    anotify_user,
    anotify_users,
    aread_stream,
    astream_position,
    broadcast,
    notify_batch,
    notify_user,
    notify_user_on_commit,
    notify_users,
    read_stream,
    stream_position,
)
from sockets.api.presence import (
    ais_online,
    apresence_of,
    apresence_of_users,
    asessions_of,
    await_until_online,
    is_online,
    presence_of,
    presence_of_users,
    sessions_of,
    wait_until_online,
)
from sockets.api.tasks import (
    aassign_task,
    acancel_task,
    assign_task,
    atask,
    aworker_pools,
    cancel_task,
    task,
    worker_pools,
)
from sockets.api.users import UserId as UserId
from sockets.api.users import user_group

__all__ = [
    "Event",
    "aassign_task",
    "ablock_user",
    "abroadcast",
    "acancel_task",
    "adelivery_of",
    "adisconnect_session",
    "adisconnect_sessions",
    "adisconnect_user",
    "adrain_node",
    "aexplain_delivery",
    "aforget_user",
    "ais_online",
    "aledger_of",
    "alive_sessions",
    "anodes",
    "anotify_batch",
    "anotify_user",
    "anotify_users",
    "apresence_of",
    "apresence_of_users",
    "aread_stream",
    "arevoke",
    "asession_page",
    "asessions_of",
    "assign_task",
    "astream_position",
    "atask",
    "aunblock_user",
    "await_until_online",
    "aworker_pools",
    "block_user",
    "broadcast",
    "cancel_task",
    "client_socket_url",
    "delivery_of",
    "disconnect_session",
    "disconnect_sessions",
    "disconnect_user",
    "drain_node",
    "explain_delivery",
    "forget_user",
    "is_online",
    "ledger_of",
    "live_sessions",
    "nodes",
    "notify_batch",
    "notify_user",
    "notify_user_on_commit",
    "notify_users",
    "presence_of",
    "presence_of_users",
    "read_stream",
    "revoke",
    "session_page",
    "sessions_of",
    "stream_position",
    "task",
    "unblock_user",
    "user_group",
    "wait_until_online",
    "worker_pools",
    "worker_socket_url",
]
