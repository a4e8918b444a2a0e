"""Keys of workers and backends: made here, shown once, ended here."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import npgettext, pgettext, pgettext_lazy

from sockets.admin.shown import Tone, badge, shortened
from sockets.auth.key_rows import NAME, end_keys, make_key
from sockets.auth.scopes import ADMIN, MAX_SCOPES, MESSAGES, NOTIFY, PRESENCE, TASKS, parse_scopes
from sockets.base import audit
from sockets.base.ids import is_pool
from sockets.models import AccessKey
from sockets.node.current import keys_changed
from sockets.types import Audit

_STATES = {
    "live": (pgettext_lazy("gateway", "live"), Tone.GOOD),
    "expired": (pgettext_lazy("gateway", "expired"), Tone.WARNING),
    "ended": (pgettext_lazy("gateway", "ended"), Tone.QUIET),
}
_SCOPES = (
    (NOTIFY, pgettext_lazy("gateway", "notify: send to users")),
    (
        PRESENCE,
        pgettext_lazy("gateway", "presence: see who is connected, and what became of messages"),
    ),
    (MESSAGES, pgettext_lazy("gateway", "messages: read users' messages")),
    (ADMIN, pgettext_lazy("gateway", "admin: end sessions, block users, see nodes")),
)


class StateFilter(admin.SimpleListFilter):
    """Live, or not any more."""

    title = pgettext_lazy("gateway", "state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return [
            ("live", pgettext("gateway", "live")),
            ("over", pgettext("gateway", "expired or ended")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AccessKey]) -> QuerySet[AccessKey]:
        live = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        match self.value():
            case "live":
                return queryset.filter(live, ended_at=None)
            case "over":
                return queryset.exclude(live, ended_at=None)
        return queryset


class NewKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """Asks what `make_key` needs, which makes the row."""

    plain = forms.MultipleChoiceField(
        label=pgettext_lazy("gateway", "Scopes"),
        choices=_SCOPES,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    pools = forms.CharField(
        label=pgettext_lazy("gateway", "Pools"),
        required=False,
        max_length=2_000,
        help_text=pgettext_lazy(
            "gateway",
            "Pools whose tasks it may give or take, separated by spaces; * stands for any.",
        ),
    )

    class Meta:
        model = AccessKey
        fields = ("name", "expires_at")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if NAME.fullmatch(name) is None:
            raise ValidationError(pgettext("gateway", "A name has 1 to 64 of A-Z a-z 0-9 . _ -"))
        return name

    def clean_expires_at(self) -> Any:
        at = self.cleaned_data["expires_at"]
        if at is not None and at <= timezone.now():
            raise ValidationError(pgettext("gateway", "This time has passed."))
        return at

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        plain, pools = found.get("plain", ()), found.get("pools", "").split()
        try:
            self.scopes = parse_scopes([*plain, *(f"{TASKS}{pool}" for pool in pools)])
        except ValueError:
            self.add_error("pools" if pools else "plain", _wrong_scopes(pools))
        return found


def _wrong_scopes(pools: Collection[str]) -> str:
    """Why these are refused, of which the plain ones were offered."""
    if not pools:
        return pgettext("gateway", "A key without a scope may do nothing: give it one.")
    wrong = next((pool for pool in pools if pool != "*" and not is_pool(pool)), None)
    if wrong is None:
        text = pgettext("gateway", "A key has at most %(most)d scopes; * stands for any pool.")
        return text % {"most": MAX_SCOPES}
    return pgettext("gateway", "%(pool)s is no name of a pool.") % {"pool": wrong[:80]}


class AccessKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """A key is made, its end may be changed, and it ends; its row stays as history."""

    list_display = (
        "name",
        "state_shown",
        "id",
        "scopes_shown",
        "created_at",
        "expires_at",
        "last_used_at",
    )
    list_filter = (StateFilter,)
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("name", "id")
    search_help_text = pgettext_lazy(
        "gateway", "Name, or the id, which is what follows gw_ in the secret."
    )
    actions = ("end",)
    fieldsets = (
        (None, {"fields": ("name", "state_shown", "id", "scopes")}),
        (
            pgettext_lazy("gateway", "When"),
            {"fields": ("created_at", "last_used_at", "expires_at", "ended_at")},
        ),
    )
    readonly_fields = (
        "name",
        "state_shown",
        "id",
        "scopes",
        "created_at",
        "last_used_at",
        "ended_at",
    )

    class Media:
        css = {"all": ["sockets/admin.css"]}

    # What may be done.

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody may: who had which key is history."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: AccessKey | None = None) -> bool:
        live = obj is None or obj.state == "live"
        return live and super().has_change_permission(request, obj)

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Asked by Django for the action's `permissions`."""
        return super().has_change_permission(request)

    # Forms.

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        # One way to save: the page that answers shows the secret.
        more = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **more})

    def get_form(
        self, request: HttpRequest, obj: AccessKey | None = None, change: bool = False, **more: Any
    ) -> Any:
        if obj is None:
            more["form"] = NewKeyForm
        return super().get_form(request, obj, change=change, **more)

    def get_fieldsets(self, request: HttpRequest, obj: AccessKey | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("name", "plain", "pools", "expires_at")})]
        return super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: AccessKey | None = None) -> Any:
        return () if obj is None else self.readonly_fields

    def save_model(self, request: HttpRequest, obj: AccessKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            at = obj.expires_at
            audit.record(
                Audit.KEY_CHANGED,
                key=obj.name,
                id=obj.id,
                expires_at=None if at is None else at.timestamp(),
            )
        else:
            made, secret = make_key(obj.name, form.scopes, expires_at=obj.expires_at)
            for field in obj._meta.concrete_fields:
                setattr(obj, field.attname, getattr(made, field.attname))
            request.new_secret = secret  # type: ignore[attr-defined]  # for response_add
        keys_changed()

    def response_add(
        self, request: HttpRequest, obj: AccessKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret on the page that answers, and nowhere else: a message for the next page
        would wait in a cookie."""
        context = {
            **self.admin_site.each_context(request),
            "title": pgettext("gateway", "The key is made"),
            "key": obj,
            "secret": request.new_secret,  # type: ignore[attr-defined]
            "opts": self.opts,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/sockets/accesskey/made.html", context)

    # Columns.

    @admin.display(description=pgettext_lazy("gateway", "state"))
    def state_shown(self, key: AccessKey) -> SafeString:
        return badge(*_STATES[key.state])

    @admin.display(description=pgettext_lazy("gateway", "scopes"))
    def scopes_shown(self, key: AccessKey) -> str | SafeString:
        return shortened(key.scopes, 64)

    # The action.

    @admin.action(
        description=pgettext_lazy("gateway", "End the selected keys now"), permissions=["end"]
    )
    def end(self, request: HttpRequest, queryset: QuerySet[AccessKey]) -> None:
        """End the keys now: requests with them are refused, and their workers closed (4508)."""
        ended = end_keys(queryset)
        keys_changed()
        LogEntry.objects.log_actions(
            request.user.pk,  # type: ignore[arg-type]  # staff, so not None
            ended,
            CHANGE,
            "Ended",
        )
        if ended:
            text = npgettext(
                "gateway",
                "%(count)d key has ended; other nodes know within KEYS_REFRESH seconds.",
                "%(count)d keys have ended; other nodes know within KEYS_REFRESH seconds.",
                len(ended),
            )
            self.message_user(request, text % {"count": len(ended)}, messages.SUCCESS)
        else:
            text = pgettext("gateway", "None of these keys is live.")
            self.message_user(request, text, messages.WARNING)
