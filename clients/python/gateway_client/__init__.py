"""What backends and workers need of the gateway, without Django.

`Client` and `AsyncClient` speak its HTTP API, `verify_webhook` checks what it sends, `Worker` does
the tasks that it assigns.
"""

from gateway_client.client import AsyncClient, Client
from gateway_client.errors import (
    BadWebhook,
    BufferFull,
    Forbidden,
    GatewayError,
    InvalidRequest,
    NotFound,
    NoWorkerAvailable,
    PositionGone,
    Rejected,
    TaskIdTaken,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from gateway_client.models import (
    AssignedTask,
    Disconnected,
    Node,
    Notification,
    Page,
    PoolLoad,
    Position,
    Presence,
    Receipt,
    Session,
    SessionDelivery,
    StoredMessage,
)
from gateway_client.running import HandBack, Task, TaskFailed, TaskStopped
from gateway_client.webhooks import Webhook, WebhookEvent, verify_webhook
from gateway_client.worker import Worker

__version__ = "0.2.0"

__all__ = [
    "AssignedTask",
    "AsyncClient",
    "BadWebhook",
    "BufferFull",
    "Client",
    "Disconnected",
    "Forbidden",
    "GatewayError",
    "HandBack",
    "InvalidRequest",
    "NoWorkerAvailable",
    "Node",
    "NotFound",
    "Notification",
    "Page",
    "PoolLoad",
    "Position",
    "PositionGone",
    "Presence",
    "Receipt",
    "Rejected",
    "Session",
    "SessionDelivery",
    "StoredMessage",
    "Task",
    "TaskFailed",
    "TaskIdTaken",
    "TaskStopped",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "Webhook",
    "WebhookEvent",
    "Worker",
    "verify_webhook",
]
