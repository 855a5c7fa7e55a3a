"""Which tables are there? The same columns as in the SQLite file, for queries, reports and admin.

Read them as you like. Only the store writes: what it reads back is `document`, and the columns
beside it hold the same values, to be queried. Times are epoch milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from .fields import Name, OptionalText, Text

if TYPE_CHECKING:
    Number = models.BigIntegerField[int, int]
    OptionalNumber = models.BigIntegerField[int | None, int | None]
    Counter = models.BigAutoField[int, int]
else:
    Number = OptionalNumber = models.BigIntegerField
    Counter = models.BigAutoField


def _optional_name() -> Any:
    """A column of the intent; null on a record of unmatched events."""
    return Name(null=True)


def _optional_number() -> OptionalNumber:
    return OptionalNumber(null=True)


def _of_a_record(name: str) -> Any:
    foreign: Any = models.ForeignKey
    return foreign(
        "xpay_flow.Intent",
        to_field="record_key",
        db_column="record_key",
        # An index of its own would repeat the unique constraint's.
        db_index=False,
        on_delete=models.PROTECT,
        related_name=name,
    )


class Intent(models.Model):
    """One attempt to collect a payment, or (without `intent_id`) unmatched events."""

    # In the order in which records were first committed.
    seq: Counter = Counter(primary_key=True)
    record_key: Name = Name()
    version: Number = Number()
    # The mode and the account; of what was stored before there were realms it is empty.
    realm: Name = Name(default="")
    intent_id: OptionalText = _optional_name()
    receipt_id: OptionalText = _optional_name()
    attempt: OptionalNumber = _optional_number()
    x_intent_id: OptionalText = _optional_name()
    state: OptionalText = _optional_name()
    amount_minor: OptionalNumber = _optional_number()
    currency: OptionalText = _optional_name()
    refunded_minor: OptionalNumber = _optional_number()
    refund_status: OptionalText = _optional_name()
    dispute_status: OptionalText = _optional_name()
    # A JSON array of reasons, null if there is none.
    attention: OptionalText = OptionalText(null=True)
    created_at_ms: OptionalNumber = _optional_number()
    deliver_at_ms: OptionalNumber = _optional_number()
    reconcile_at_ms: OptionalNumber = _optional_number()
    # The clock by which both were set.
    due_set_ms: OptionalNumber = _optional_number()
    document: Text = Text()

    class Meta:
        verbose_name = "payment"
        constraints = (models.UniqueConstraint(fields=["record_key"], name="xpay_flow_intent_key"),)
        # Most records have nothing due, and then they are not in these at all.
        indexes = (
            *(
                models.Index(
                    fields=["realm", f"{work}_at_ms", "record_key"],
                    name=f"xpay_flow_to_{work}",
                    condition=models.Q(**{f"{work}_at_ms__isnull": False}),
                )
                for work in ("deliver", "reconcile")
            ),
            models.Index(
                fields=["realm", "due_set_ms"],
                name="xpay_flow_due_set",
                condition=models.Q(due_set_ms__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.receipt_id or self.record_key


class RecordedEvent(models.Model):
    """One recorded event, and what was decided about it. Never changed."""

    seq: Counter = Counter(primary_key=True)
    record: Any = _of_a_record("events")
    event_key: Name = Name()
    kind: Name = Name()
    type: Name = Name()
    source: Name = Name()
    event_id: Name = Name()
    at_ms: Number = Number()
    disposition: Name = Name()
    why: Text = Text()
    document: Text = Text()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["record", "event_key"], name="xpay_flow_event_once"),
        )

    def __str__(self) -> str:
        return self.event_key


class OutboxEntry(models.Model):
    """One outbox entry: a handler call, when it is due, its tries and its status."""

    # In the order in which they became due.
    seq: Counter = Counter(primary_key=True)
    record: Any = _of_a_record("outbox")
    entry_id: Name = Name()
    name: Name = Name()
    subject: Name = Name()
    status: Name = Name()
    tries: Number = Number()
    next_at_ms: Number = Number()
    document: Text = Text()

    class Meta:
        verbose_name = "handler call"
        permissions = (("redeliver_handler", "Can have a handler called again"),)
        constraints = (
            models.UniqueConstraint(fields=["record", "entry_id"], name="xpay_flow_outbox_once"),
        )

    def __str__(self) -> str:
        return self.entry_id


class Alias(models.Model):
    """A name under which a record is found: our id, xPay's, the receipt's."""

    seq: Counter = Counter(primary_key=True)
    alias: Name = Name()
    record: Any = _of_a_record("named")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["alias", "record"], name="xpay_flow_alias_once"),
        )
        indexes = (models.Index(fields=["record"], name="xpay_flow_aliases_of"),)

    def __str__(self) -> str:
        return self.alias
