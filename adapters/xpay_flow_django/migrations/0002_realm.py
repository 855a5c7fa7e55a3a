"""How did records get a realm, and the clock of their due times? Frozen, as each step is."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models

import xpay_flow_django.fields
from xpay_flow.errors import ConfigurationError


def refuse_to_lose_realms(apps: Any, editor: Any) -> None:
    """Older code cannot read a record that has a realm."""
    intents = apps.get_model("xpay_flow", "Intent").objects.using(editor.connection.alias)
    if count := intents.exclude(realm="").count():
        raise ConfigurationError(
            f"there are {count} record(s) of a mode and an account, which older code cannot read"
        )


class Migration(migrations.Migration):
    dependencies = (("xpay_flow", "0001_tables"),)
    operations = (
        # What is there belongs to no realm, until a setting names its account.
        migrations.AddField(
            model_name="intent",
            name="realm",
            field=xpay_flow_django.fields.Name(default=""),
        ),
        migrations.RemoveIndex(model_name="intent", name="xpay_flow_to_deliver"),
        migrations.RemoveIndex(model_name="intent", name="xpay_flow_to_reconcile"),
        migrations.AddIndex(
            model_name="intent",
            index=models.Index(
                condition=models.Q(("deliver_at_ms__isnull", False)),
                fields=["realm", "deliver_at_ms", "record_key"],
                name="xpay_flow_to_deliver",
            ),
        ),
        migrations.AddIndex(
            model_name="intent",
            index=models.Index(
                condition=models.Q(("reconcile_at_ms__isnull", False)),
                fields=["realm", "reconcile_at_ms", "record_key"],
                name="xpay_flow_to_reconcile",
            ),
        ),
        migrations.AddField(
            model_name="intent",
            name="due_set_ms",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddIndex(
            model_name="intent",
            index=models.Index(
                condition=models.Q(("due_set_ms__isnull", False)),
                fields=["realm", "due_set_ms"],
                name="xpay_flow_due_set",
            ),
        ),
        migrations.RunPython(migrations.RunPython.noop, refuse_to_lose_realms),
    )
