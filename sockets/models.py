"""History for people, which sessions there were and which processes served them; and keys.

History is written in batches by `sockets.recorder` and read by the admin. Nothing on the path of a
message reads or writes a row, and no row of history decides anything: whether a user is connected
is known by presence, not by the database. Keys do decide; see `sockets.auth.keyring`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import pgettext_lazy

from sockets.types import Kind

_KINDS = [
    (Kind.CLIENT.value, pgettext_lazy("gateway", "client")),
    (Kind.WORKER.value, pgettext_lazy("gateway", "worker")),
]
OPEN = Q(disconnected_at__isnull=True)
"""The rows of sessions that nobody has seen closing yet."""


class Session(models.Model):
    """One socket, from welcome to close.

    `user` is the user id of a client (at most 1,024 bytes of UTF-8, protocol.md section 2; any
    string) and the name of a worker. `node` is a name and not a foreign key: a session's row
    may be written before its node's, and outlives it.
    """

    id = models.CharField(
        pgettext_lazy("gateway", "id"),
        primary_key=True,
        max_length=26,
        help_text=pgettext_lazy("gateway", "The session's ULID."),
    )
    kind = models.CharField(pgettext_lazy("gateway", "kind"), max_length=16, choices=_KINDS)
    user = models.CharField(
        pgettext_lazy("gateway", "user"),
        max_length=1024,
        help_text=pgettext_lazy("gateway", "User id, or the worker's name."),
    )
    client_id = models.CharField(
        pgettext_lazy("gateway", "client id"),
        max_length=26,
        help_text=pgettext_lazy("gateway", "ULID of the tab or device, or of the worker."),
    )
    node = models.CharField(pgettext_lazy("gateway", "node"), max_length=255)
    address = models.CharField(pgettext_lazy("gateway", "address"), max_length=128, blank=True)
    agent = models.CharField(pgettext_lazy("gateway", "user agent"), max_length=256, blank=True)
    connected_at = models.DateTimeField(pgettext_lazy("gateway", "connected since"))
    disconnected_at = models.DateTimeField(
        pgettext_lazy("gateway", "disconnected"), null=True, blank=True
    )
    close_code = models.PositiveSmallIntegerField(
        pgettext_lazy("gateway", "close code"), null=True, blank=True
    )
    close_reason = models.CharField(
        pgettext_lazy("gateway", "close reason"), max_length=255, blank=True
    )

    class Meta:
        verbose_name = pgettext_lazy("gateway", "session")
        verbose_name_plural = pgettext_lazy("gateway", "sessions")
        # The key, a ULID, breaks ties: the admin's order is total without a sort of its own.
        ordering = ["-connected_at", "-id"]
        permissions = [("disconnect_session", "Can disconnect live sessions")]
        # Each is used by one query of the admin or the recorder; tests/unit/admin asks SQLite.
        # The two partial ones hold live sessions only, so they stay small for ever. They come
        # last: of two indexes that look equally good, SQLite takes the one created later.
        indexes = [
            models.Index(fields=["-connected_at", "-id"], name="session_newest"),
            models.Index(fields=["kind", "-connected_at", "-id"], name="session_by_kind"),
            models.Index(fields=["user", "-connected_at", "-id"], name="session_of_user"),
            models.Index(fields=["node", "-connected_at", "-id"], name="session_of_node"),
            models.Index(fields=["close_code", "-connected_at", "-id"], name="session_by_code"),
            models.Index(fields=["client_id"], name="session_of_client"),
            models.Index(fields=["-connected_at", "-id"], condition=OPEN, name="session_live"),
            models.Index(
                fields=["node", "-connected_at", "-id"], condition=OPEN, name="session_live_of_node"
            ),
        ]

    def __str__(self) -> str:
        user = self.user if len(self.user) <= 48 else f"{self.user[:47]}…"
        return f"{self.kind} {user} ({self.id})"

    @property
    def live(self) -> bool:
        """No close was recorded; the socket may be gone for less than the recorder's interval."""
        return self.disconnected_at is None

    @property
    def duration(self) -> timedelta:
        """From connect to disconnect, or until now; never negative, clocks being what they are."""
        end: datetime = self.disconnected_at or timezone.now()
        return max(end - self.connected_at, timedelta(0))


class Node(models.Model):
    """One gateway process by its name; a restart under the same name takes the row over.

    `seen_at` is the process's last heartbeat. `stopped_at` None beside an old `seen_at` means
    that it died without saying so.
    """

    name = models.CharField(pgettext_lazy("gateway", "name"), primary_key=True, max_length=255)
    started_at = models.DateTimeField(pgettext_lazy("gateway", "up since"))
    seen_at = models.DateTimeField(pgettext_lazy("gateway", "last seen"))
    stopped_at = models.DateTimeField(pgettext_lazy("gateway", "stopped"), null=True, blank=True)
    version = models.CharField(pgettext_lazy("gateway", "version"), max_length=64, blank=True)
    pid = models.PositiveBigIntegerField(pgettext_lazy("gateway", "process id"))
    client_url = models.CharField(
        pgettext_lazy("gateway", "client URL"), max_length=512, blank=True
    )
    worker_url = models.CharField(
        pgettext_lazy("gateway", "worker URL"), max_length=512, blank=True
    )

    class Meta:
        verbose_name = pgettext_lazy("gateway", "node")
        verbose_name_plural = pgettext_lazy("gateway", "nodes")
        ordering = ["-started_at", "name"]
        permissions = [("drain_node", "Can drain nodes")]

    def __str__(self) -> str:
        return self.name


class AccessKey(models.Model):
    """A secret of a worker or a backend, of which the hash is kept (SHA-256, hex).

    `id` is the part of the secret that may be seen. `name` is who has it; several live keys of one
    name are a rotation. `scopes`: those of `sockets.auth.scopes`, with spaces between.
    """

    id = models.CharField(
        pgettext_lazy("gateway", "key id"),
        primary_key=True,
        max_length=16,
        help_text=pgettext_lazy("gateway", "The part of the secret to be seen."),
    )
    name = models.CharField(
        pgettext_lazy("gateway", "name"),
        max_length=64,
        help_text=pgettext_lazy("gateway", "Of the worker or backend that has it."),
    )
    hash = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.CharField(pgettext_lazy("gateway", "scopes"), max_length=4096)
    created_at = models.DateTimeField(pgettext_lazy("gateway", "made"))
    expires_at = models.DateTimeField(
        pgettext_lazy("gateway", "expires"),
        null=True,
        blank=True,
        help_text=pgettext_lazy("gateway", "Empty: it does not."),
    )
    ended_at = models.DateTimeField(pgettext_lazy("gateway", "ended"), null=True, blank=True)
    last_used_at = models.DateTimeField(
        pgettext_lazy("gateway", "last used"), null=True, blank=True
    )

    class Meta:
        verbose_name = pgettext_lazy("gateway", "key")
        verbose_name_plural = pgettext_lazy("gateway", "keys")
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["name"], name="key_by_name")]

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"

    @property
    def state(self) -> str:
        """One of live, expired, ended."""
        if self.ended_at is not None:
            return "ended"
        if self.expires_at is not None and self.expires_at <= timezone.now():
            return "expired"
        return "live"


# What follows has no rows: each is a page of the operations room in the admin, with the permission
# to see it and those of what is done there. As proxies they have no table, and `dumpdata` passes
# them by.


class Overview(Node):
    """The gateway now: its nodes, its last hour."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = pgettext_lazy("gateway", "overview")
        verbose_name_plural = pgettext_lazy("gateway", "overview")


class LiveSession(Session):
    """A session as its node knows it now. Whoever may see the rows may see these, too."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = pgettext_lazy("gateway", "live session")
        verbose_name_plural = pgettext_lazy("gateway", "live sessions")

    def __str__(self) -> str:
        return self.id


class GatewayUser(Session):
    """Somebody whose sessions, stream and tasks the gateway knows; `id` is the user id."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        permissions = [
            ("block_gatewayuser", "Can block and unblock users"),
            ("revoke_gatewayuser", "Can revoke what users have proved"),
            ("notify_gatewayuser", "Can send messages to users"),
            ("trace_gatewayuser", "Can trace users: headers of frames"),
            ("trace_bodies_gatewayuser", "Can trace users: bodies of frames"),
        ]
        verbose_name = pgettext_lazy("gateway", "user")
        verbose_name_plural = pgettext_lazy("gateway", "users")

    def __str__(self) -> str:
        return self.id


class Worker(Session):
    """A worker, its pools and what it holds; as an object of the admin's history, a task."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        permissions = [("end_task", "Can cancel tasks and hand them back")]
        verbose_name = pgettext_lazy("gateway", "task")
        verbose_name_plural = pgettext_lazy("gateway", "workers and tasks")

    def __str__(self) -> str:
        return self.id


class Refusal(Session):
    """A connection that got no welcome."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = pgettext_lazy("gateway", "refusal")
        verbose_name_plural = pgettext_lazy("gateway", "refusals")
