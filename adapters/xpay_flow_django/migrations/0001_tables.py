"""What is in the first schema? Frozen: a change is a new migration, never an edit of this one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django.db.models.deletion
from django.db import migrations, models

import xpay_flow_django.fields


def make_events_append_only(_: Any, editor: Any) -> None:
    """Not even plain SQL can change a recorded event."""
    for statement in _triggers(editor.connection.vendor):
        editor.execute(statement)


def drop_trigger_function(_: Any, editor: Any) -> None:
    """Triggers go with their table; PostgreSQL keeps their function."""
    if editor.connection.vendor == "postgresql":
        editor.execute("DROP FUNCTION xpay_flow_event_append_only() CASCADE")


def _triggers(vendor: str) -> Iterator[str]:
    # Emptying the table as a whole stays possible: that is how Django's test cases clean up.
    if vendor == "postgresql":
        yield (
            "CREATE FUNCTION xpay_flow_event_append_only() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$"
        )
        yield (
            "CREATE TRIGGER xpay_flow_event_append_only"
            " BEFORE UPDATE OR DELETE ON xpay_flow_recordedevent"
            " FOR EACH STATEMENT EXECUTE FUNCTION xpay_flow_event_append_only()"
        )
    elif vendor == "sqlite":
        yield (
            "CREATE TRIGGER xpay_flow_event_append_only BEFORE UPDATE ON xpay_flow_recordedevent"
            " BEGIN SELECT RAISE (ABORT, 'events are append-only'); END"
        )


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Intent",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
                ("record_key", xpay_flow_django.fields.Name()),
                ("version", models.BigIntegerField()),
                ("intent_id", xpay_flow_django.fields.Name(null=True)),
                ("receipt_id", xpay_flow_django.fields.Name(null=True)),
                ("attempt", models.BigIntegerField(null=True)),
                ("x_intent_id", xpay_flow_django.fields.Name(null=True)),
                ("state", xpay_flow_django.fields.Name(null=True)),
                ("amount_minor", models.BigIntegerField(null=True)),
                ("currency", xpay_flow_django.fields.Name(null=True)),
                ("refunded_minor", models.BigIntegerField(null=True)),
                ("refund_status", xpay_flow_django.fields.Name(null=True)),
                ("dispute_status", xpay_flow_django.fields.Name(null=True)),
                ("attention", models.TextField(null=True)),
                ("created_at_ms", models.BigIntegerField(null=True)),
                ("deliver_at_ms", models.BigIntegerField(null=True)),
                ("reconcile_at_ms", models.BigIntegerField(null=True)),
                ("document", models.TextField()),
            ],
            options={
                "verbose_name": "payment",
                "indexes": [
                    models.Index(
                        condition=models.Q(("deliver_at_ms__isnull", False)),
                        fields=["deliver_at_ms", "record_key"],
                        name="xpay_flow_to_deliver",
                    ),
                    models.Index(
                        condition=models.Q(("reconcile_at_ms__isnull", False)),
                        fields=["reconcile_at_ms", "record_key"],
                        name="xpay_flow_to_reconcile",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("record_key",), name="xpay_flow_intent_key")
                ],
            },
        ),
        migrations.CreateModel(
            name="RecordedEvent",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_key", xpay_flow_django.fields.Name()),
                ("kind", xpay_flow_django.fields.Name()),
                ("type", xpay_flow_django.fields.Name()),
                ("source", xpay_flow_django.fields.Name()),
                ("event_id", xpay_flow_django.fields.Name()),
                ("at_ms", models.BigIntegerField()),
                ("disposition", xpay_flow_django.fields.Name()),
                ("why", models.TextField()),
                ("document", models.TextField()),
                (
                    "record",
                    models.ForeignKey(
                        db_column="record_key",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="xpay_flow.intent",
                        to_field="record_key",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("record", "event_key"), name="xpay_flow_event_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OutboxEntry",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
                ("entry_id", xpay_flow_django.fields.Name()),
                ("name", xpay_flow_django.fields.Name()),
                ("subject", xpay_flow_django.fields.Name()),
                ("status", xpay_flow_django.fields.Name()),
                ("tries", models.BigIntegerField()),
                ("next_at_ms", models.BigIntegerField()),
                ("document", models.TextField()),
                (
                    "record",
                    models.ForeignKey(
                        db_column="record_key",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="outbox",
                        to="xpay_flow.intent",
                        to_field="record_key",
                    ),
                ),
            ],
            options={
                "verbose_name": "handler call",
                "permissions": (("redeliver_handler", "Can have a handler called again"),),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("record", "entry_id"), name="xpay_flow_outbox_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Alias",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
                ("alias", xpay_flow_django.fields.Name()),
                (
                    "record",
                    models.ForeignKey(
                        db_column="record_key",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="named",
                        to="xpay_flow.intent",
                        to_field="record_key",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["record"], name="xpay_flow_aliases_of")],
                "constraints": [
                    models.UniqueConstraint(fields=("alias", "record"), name="xpay_flow_alias_once")
                ],
            },
        ),
        migrations.RunPython(make_events_append_only, drop_trigger_function),
    )
