# ruff: noqa: ARG002 - the arguments of these methods are Django's
"""What does an operator see? Payments, their timelines and their outbox; nothing can be edited.

The one action: calling handlers again that were given up.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from xpay_flow import Flow, XPayFlowError
from xpay_flow.drawing import sequence_svg
from xpay_flow.drawing.sequence import tone_of
from xpay_flow.drawing.text import elapsed
from xpay_flow.money import Money
from xpay_flow.realm import in_words
from xpay_flow.timeline import Timeline, only, timeline_of

from .conf import database_alias, flow_settings
from .models import Intent, OutboxEntry
from .stores import DjangoStore
from .web import flow_from, never_atomic

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Intent]
else:
    _Admin = admin.ModelAdmin

_SUMMARY: Final = ("receipt_id", "state", "amount", "refund_status", "dispute_status", "reasons")
_NAMES: Final = ("whose", "intent_id", "xpay_id", "attempt", "record_key", "version")


class Attention(admin.SimpleListFilter):
    """Which payments need an operator?"""

    title = "attention"
    parameter_name = "look"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("attention", "needs attention"),
            ("gave_up", "a handler was given up"),
            ("parked", "unmatched"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "attention":
                return queryset.filter(attention__isnull=False)
            case "gave_up":
                return queryset.filter(outbox__status="gave_up").distinct()
            case "parked":
                return queryset.filter(intent_id__isnull=True)
            case _:
                return queryset


@admin.register(Intent)
class IntentAdmin(_Admin):
    """Payments, newest first, each with its timeline."""

    list_display = ("__str__", "state", "amount", "reasons", "whose", "created")
    list_filter = (Attention, "state", "refund_status", "dispute_status", "currency", "realm")
    search_fields = ("=receipt_id", "=intent_id", "=x_intent_id")
    ordering = ("-seq",)
    actions = ("redeliver_handlers",)
    fieldsets = (
        (None, {"fields": _SUMMARY}),
        ("Story", {"fields": ("story",)}),
        ("Names", {"fields": (*_NAMES, "created")}),
    )
    readonly_fields = (*_SUMMARY, *_NAMES, "story", "created")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Intent]:
        return super().get_queryset(request).using(database_alias())

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        """Whether this user may have a handler called again."""
        user: Any = request.user
        return bool(user.has_perm("xpay_flow.redeliver_handler"))

    # A commit of ours is refused inside a transaction.
    @never_atomic
    def changelist_view(self, request: HttpRequest, *args: Any, **context: Any) -> HttpResponse:
        return super().changelist_view(request, *args, **context)

    @admin.display(description="amount")
    def amount(self, payment: Intent) -> str:
        """The price as people write it."""
        if payment.amount_minor is None or payment.currency is None:
            return self.get_empty_value_display()
        return str(Money.restored(amount_minor=payment.amount_minor, currency=payment.currency))

    @admin.display(description="attention")
    def reasons(self, payment: Intent) -> str:
        """Why an operator should look, a line for each reason."""
        found: list[str] = json.loads(payment.attention or "[]")
        lines = format_html_join(mark_safe("<br>"), "{}", ((_breakable(line),) for line in found))
        return lines or self.get_empty_value_display()

    @admin.display(description="mode and account", ordering="realm")
    def whose(self, payment: Intent) -> str:
        """Its mode and account; marked where the settings name others."""
        realm = in_words(payment.realm)
        try:
            is_ours = payment.realm in flow_settings().realms
        except XPayFlowError:
            return realm
        return realm if is_ours else format_html("<strong>others: {}</strong>", realm)

    @admin.display(description="xPay's id")
    def xpay_id(self, payment: Intent) -> str:
        """By which xPay knows the payment."""
        return payment.x_intent_id or self.get_empty_value_display()

    @admin.display(description="created (UTC)", ordering="created_at_ms")
    def created(self, payment: Intent) -> str:
        """When the attempt was stored."""
        return _moment(payment.created_at_ms) or self.get_empty_value_display()

    @admin.display(description="")
    def story(self, payment: Intent) -> SafeString:
        """What happened and why, as a picture and as a table."""
        timeline = _timeline(payment)
        start_ms = timeline.entries[0].at_ms if timeline.entries else 0
        rows = [(e, elapsed(e.at_ms - start_ms), tone_of(e)) for e in timeline.entries]
        # Drawn by us, with everything foreign escaped.
        picture = mark_safe(sequence_svg(timeline)) if rows else ""
        context = {"rows": rows, "outbox": timeline.outbox, "picture": picture}
        return mark_safe(render_to_string("admin/xpay_flow/story.html", context))

    @admin.action(
        description="Call again the handlers that were given up", permissions=["redeliver"]
    )
    def redeliver_handlers(self, request: HttpRequest, payments: QuerySet[Intent]) -> None:
        """Make the handler calls due that were given up; a second time changes nothing."""
        given_up = OutboxEntry.objects.using(database_alias()).filter(
            record__in=payments, status="gave_up"
        )
        redelivered = 0
        for entry in given_up.select_related("record"):
            try:
                _redeliver(flow_from(request), entry)
            except XPayFlowError as error:
                self.message_user(request, f"{entry}: {error}", messages.ERROR)
            else:
                redelivered += 1
                self.log_change(request, entry.record, f"due again: {entry}")
        self.message_user(request, f"{redelivered} handler call(s) are due again.")


def _breakable(words: str) -> SafeString:
    """Long words without blanks, which go on in the next line best where their parts end."""
    parts = mark_safe(re.sub("([_:])", r"\1<wbr>", escape(words)))
    return format_html('<span style="overflow-wrap: anywhere">{}</span>', parts)


def _redeliver(flow: Any, entry: Any) -> None:
    redeliver = flow.redeliver if isinstance(flow, Flow) else async_to_sync(flow.redeliver)
    redeliver(entry.record_id, entry.entry_id)


def _timeline(payment: Intent) -> Timeline:
    records = DjangoStore().reader().history(payment.record_key)
    return timeline_of(only(records, payment.record_key))


def _moment(ms: int | None) -> str:
    if ms is None:
        return ""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
