"""Every Prometheus metric of the gateway; the reference page in docs/ is checked against it.

Names are stable once released. A labelled metric comes with its children bound where they are
counted often, so that the hot path pays one method call, and so that the series exist (as 0)
from the start. Every label has a bounded set of values: a close code that the peer invented
counts as "other". Where prometheus_client is not installed, all of them count into nothing.
"""

from __future__ import annotations

from typing import Final

from sockets.codes import ABNORMAL, CloseCode
from sockets.types import Audit, Kind, Refusal, TaskState

try:
    from prometheus_client import Counter, Gauge, Histogram

    from sockets.base.histograms import PlainHistogram
except ModuleNotFoundError:  # a plain installation, which serves no metrics
    from sockets.base.uncounted import (  # type: ignore[assignment]  # of the same form
        Counter,
        Gauge,
        Histogram,
        PlainHistogram,
    )

# 403: refused before the handshake was done, by its Origin.
_CODES: Final = frozenset({int(code) for code in CloseCode} | {403, 1001, 1005, ABNORMAL, 1011})

OTHER: Final = "other"


def code_label(code: int) -> str:
    """Return the label value of a close code: its number if it is one of ours or common, else
    "other"."""
    return str(int(code)) if code in _CODES else OTHER


_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

# Sessions.

SESSIONS: Final = Gauge("gateway_sessions", "Live sessions of this process.", ["kind"])
sessions: Final = {kind: SESSIONS.labels(kind.value) for kind in Kind}

USERS: Final = Gauge("gateway_users", "Users with a client session of this process.")

CONNECTS: Final = Counter("gateway_connects", "Sessions that were welcomed.", ["kind"])
connects: Final = {kind: CONNECTS.labels(kind.value) for kind in Kind}

DISCONNECTS: Final = Counter(
    "gateway_disconnects", "Sessions that ended, by close code.", ["kind", "code"]
)

WELCOME: Final = PlainHistogram(
    "gateway_welcome_seconds",
    "From the accepted handshake, or the token in a first frame, until the welcome was written.",
    ["kind"],
    buckets=_SECONDS,
)
welcome: Final = {kind: WELCOME.labels(kind.value) for kind in Kind}

RECOVERED: Final = PlainHistogram(
    "gateway_recovered_messages",
    "How many messages each session that came back had missed and got.",
    buckets=(0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000),
)
recovered: Final = RECOVERED.labels()

UNRECOVERED: Final = Counter(
    "gateway_unrecovered",
    "Sessions that came back and have to reload: away for too long, or the stream is another.",
)

REFUSALS: Final = Counter(
    "gateway_refusals",
    "Connections that got a close code, or 403 for their origin, not a welcome.",
    ["code"],
)

AUDITED: Final = Counter("gateway_audit_events", "Events of the audit log.", ["event"])
audited: Final = {event: AUDITED.labels(event.value) for event in Audit}


def count_disconnect(kind: Kind, code: int) -> None:
    """Count the end of a session with `code`, whoever chose it."""
    DISCONNECTS.labels(kind.value, code_label(code)).inc()


def count_refusal(code: int) -> None:
    """Count a connection that was refused with `code`."""
    REFUSALS.labels(code_label(code)).inc()


# Messages.

MESSAGES_IN: Final = Counter(
    "gateway_messages_in", "Text frames received from clients and workers.", ["kind"]
)
messages_in: Final = {kind: MESSAGES_IN.labels(kind.value) for kind in Kind}

NOTIFICATIONS: Final = Counter(
    "gateway_notifications",
    "Notifications accepted, once per user whatever the number of sessions.",
    ["durable"],
)
notifications: Final = {True: NOTIFICATIONS.labels("true"), False: NOTIFICATIONS.labels("false")}

DELIVERIES: Final = Counter(
    "gateway_deliveries",
    "Messages handed to one session's outbox: as they came (live) or read from the stream "
    "(recovered).",
    ["path"],
)
delivered_live: Final = DELIVERIES.labels("live")
delivered_recovered: Final = DELIVERIES.labels("recovered")

DELIVERY_BOUNDS: Final = _SECONDS

DELIVERY: Final = PlainHistogram(
    "gateway_delivery_seconds",
    "From a message's time until it was written to a user's sessions of this process as it came; "
    "approximate where it comes from another host.",
    ["durable"],
    buckets=_SECONDS,
)
delivery: Final = {True: DELIVERY.labels("true"), False: DELIVERY.labels("false")}

DROPPED: Final = Counter(
    "gateway_dropped",
    "What was given up at a bound: ephemeral messages of a slow session, messages of a full "
    "channel-layer queue, session rows that the database did not take, presence events that nobody "
    "took in time (events), or that the API server did not get (webhook), lines of the audit log "
    "above its rate (audit), clients' messages and ends of tasks that Django's receivers did not "
    "take in time (client_messages, task_ends), ends of tasks that nobody announced (unannounced), "
    "ends of sessions that the ledger of deliveries could not be told (ledger).",
    ["what"],
)
dropped_ephemeral: Final = DROPPED.labels("ephemeral")
dropped_layer: Final = DROPPED.labels("layer")
dropped_recorder: Final = DROPPED.labels("recorder")
dropped_events: Final = DROPPED.labels("events")
dropped_ledger: Final = DROPPED.labels("ledger")
dropped_unannounced: Final = DROPPED.labels("unannounced")
dropped_receivers: Final = {
    "messages": DROPPED.labels("client_messages"),
    "presence": dropped_events,
    "tasks": DROPPED.labels("task_ends"),
}

RECEIVER_WAIT: Final = Histogram(
    "gateway_receiver_wait_seconds",
    "What waited for a thread of Django's receivers: clients' messages (messages), who comes and "
    "goes (presence), ends of tasks (tasks).",
    ["pool"],
    buckets=(0.01, 0.1, 1, 5, 10, 30, 60),
)
receiver_wait: Final = {pool: RECEIVER_WAIT.labels(pool) for pool in dropped_receivers}

RECEIVERS_WAITING: Final = Gauge(
    "gateway_receivers_waiting", "What waits now for a thread of Django's receivers.", ["pool"]
)
receivers_waiting: Final = {pool: RECEIVERS_WAITING.labels(pool) for pool in dropped_receivers}

LOCAL_ONLY: Final = Counter(
    "gateway_local_only",
    "Ephemeral messages that reached only the sessions of this process, Redis being away.",
)

LAYER_RECONNECTS: Final = Counter(
    "gateway_layer_reconnects", "Connections of the Redis layer that were lost and made again."
)
LAYER_GAPS: Final = Counter(
    "gateway_layer_gaps",
    "Times that messages may have been lost between Redis and this process; every session is "
    "compared with its stream then.",
)
LAYER_UNSENT: Final = Counter(
    "gateway_layer_unsent", "Messages that Redis refused or did not confirm."
)

LAYER_ERRORS: Final = Counter(
    "gateway_layer_errors",
    "Messages of the channel layer that could not be decoded or whose receiver failed.",
)

# Tasks.

TASK_OFFERS: Final = Counter(
    "gateway_task_offers",
    "Offers of a task to a worker, by what became of them, and tasks that nobody took "
    "(unassigned).",
    ["outcome"],
)
offers: Final = {
    outcome: TASK_OFFERS.labels(outcome)
    for outcome in ("accepted", "rejected", "timeout", "gone", "unassigned")
}

TASKS_ENDED: Final = Counter("gateway_tasks_ended", "Tasks that ended, by final state.", ["state"])
tasks_ended: Final = {state: TASKS_ENDED.labels(state.value) for state in TaskState if state.final}

# Nodes.

NODE: Final = Gauge("gateway_node", "1, for the name of this process among the nodes.", ["node"])


READY: Final = Gauge("gateway_ready", "Whether new clients may be sent to this process (1).")


def name_node(name: str) -> None:
    """Label this process with its name among the nodes; it has one name at a time."""
    NODE.clear()
    NODE.labels(name).set(1)


LOOP_LAG: Final = PlainHistogram(
    "gateway_loop_lag_seconds",
    "How late the event loop was to wake a task that sleeps, once a second.",
    buckets=_SECONDS,
)
loop_lag: Final = LOOP_LAG.labels()

RENEWAL: Final = PlainHistogram(
    "gateway_renewal_seconds",
    "Rounds that renewed all leases and compared all streams, without the pauses between the parts "
    "of a round.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
renewal: Final = RENEWAL.labels()

REDIS_CALL: Final = PlainHistogram(
    "gateway_redis_call_seconds",
    "Scripts that Redis was asked to run: until they were answered or given up.",
    buckets=(0.00025, 0.0005, *_SECONDS[:-1]),
)
redis_call: Final = REDIS_CALL.labels()

NODES_REAPED: Final = Counter(
    "gateway_nodes_reaped", "Dead nodes that this one has cleared up after."
)

# Limits and back-pressure.

RATE_LIMITED: Final = Counter(
    "gateway_rate_limited",
    "Frames above their session's rate, requests above their key's: refused with an error.",
    ["kind"],
)
rate_limited: Final = {kind: RATE_LIMITED.labels(kind.value) for kind in Kind}
rate_limited_api: Final = RATE_LIMITED.labels("api")

API_REQUESTS: Final = Counter(
    "gateway_api_requests", "Requests to the HTTP API, by class of answer.", ["status"]
)
_api_requests: Final = {n: API_REQUESTS.labels(f"{n}xx") for n in range(1, 6)}


def count_api_request(status: int) -> None:
    """Count a request to the HTTP API that was answered with this status."""
    _api_requests[min(max(status // 100, 1), 5)].inc()


TURNED_AWAY: Final = Counter(
    "gateway_turned_away", "Connections and requests refused before they were served.", ["why"]
)
refused: Final = {why: TURNED_AWAY.labels(why.value) for why in Refusal}

PAUSED: Final = Gauge(
    "gateway_paused_sockets", "Sockets that are not read now: their queue of frames is full."
)
SLOW_CONSUMERS: Final = Counter(
    "gateway_slow_consumers", "Sessions closed because their socket drained nothing (4002)."
)

# The recorder.

RECORDER_PENDING: Final = Gauge(
    "gateway_recorder_pending", "Session rows that wait for the database."
)
RECORDER_WRITTEN: Final = Counter(
    "gateway_recorder_written", "Session rows written; an open and its close are one or two."
)
RECORDER_FAILURES: Final = Counter(
    "gateway_recorder_failures", "Batches that the database did not take and that are retried."
)
RECORDER_PRUNED: Final = Counter(
    "gateway_recorder_pruned", "Session rows deleted by this node, for their age (SESSION_KEEP)."
)

# Webhooks.

WEBHOOKS: Final = Counter(
    "gateway_webhooks",
    "Events that the API server has taken (sent) or will never take (refused), and attempts to "
    "deliver a batch that failed and are repeated (failed).",
    ["outcome"],
)
webhooks: Final = {outcome: WEBHOOKS.labels(outcome) for outcome in ("sent", "failed", "refused")}
WEBHOOKS_PENDING: Final = Gauge(
    "gateway_webhooks_pending", "Events that wait for the API server, the batch at work included."
)
dropped_webhook: Final = DROPPED.labels("webhook")
dropped_audit: Final = DROPPED.labels("audit")

BROKEN_PROMISES: Final = Gauge(
    "gateway_redis_promise_broken",
    "Whether the Redis server is set up against a promise of the gateway (1), by promise.",
    ["promise"],
)


def show_promise(name: str, broken: bool) -> None:
    """Show whether this promise is broken now."""
    BROKEN_PROMISES.labels(name).set(broken)
