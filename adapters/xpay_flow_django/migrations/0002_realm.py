"""How did records get a realm, and the clock of their due times? Frozen, as each step is.

And how can the payload of a recorded event be erased, while all else of it stays as it is?
"""

from __future__ import annotations

from typing import Any

from django.db import migrations, models

import xpay_flow_django.fields
from xpay_flow.errors import ConfigurationError

_TABLE = "xpay_flow_recordedevent"
_WHY = "events are append-only"
# All columns but the document.
_COLUMNS = (
    *("seq", "record_key", "event_key", "kind", "type", "source", "event_id", "at_ms"),
    *("disposition", "why"),
)
_OF_POSTGRESQL = (
    f"DROP TRIGGER xpay_flow_event_append_only ON {_TABLE}",
    "CREATE FUNCTION xpay_flow_event_only_forgets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " IF to_jsonb(NEW) - 'document' = to_jsonb(OLD) - 'document'"
    " AND NEW.document::jsonb = OLD.document::jsonb #- '{event,payload}'"
    f" THEN RETURN NEW; END IF; RAISE EXCEPTION '{_WHY}'; END $$",
    f"CREATE TRIGGER xpay_flow_event_only_forgets BEFORE UPDATE ON {_TABLE}"
    " FOR EACH ROW EXECUTE FUNCTION xpay_flow_event_only_forgets()",
    f"CREATE TRIGGER xpay_flow_event_append_only BEFORE DELETE ON {_TABLE}"
    " FOR EACH STATEMENT EXECUTE FUNCTION xpay_flow_event_append_only()",
)
_OF_POSTGRESQL_BACK = (
    f"DROP TRIGGER xpay_flow_event_append_only ON {_TABLE}",
    "DROP FUNCTION xpay_flow_event_only_forgets() CASCADE",
    f"CREATE TRIGGER xpay_flow_event_append_only BEFORE UPDATE OR DELETE ON {_TABLE}"
    " FOR EACH STATEMENT EXECUTE FUNCTION xpay_flow_event_append_only()",
)
_CHANGED = " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in _COLUMNS)
_OF_SQLITE = (
    "DROP TRIGGER xpay_flow_event_append_only",
    f"CREATE TRIGGER xpay_flow_event_append_only BEFORE UPDATE ON {_TABLE}"
    " WHEN json_extract(NEW.document, '$.event.payload') IS NOT NULL"
    " OR json_remove(NEW.document, '$.event.payload')"
    " IS NOT json_remove(OLD.document, '$.event.payload')"
    f" OR {_CHANGED} BEGIN SELECT RAISE (ABORT, '{_WHY}'); END",
)
_OF_SQLITE_BACK = (
    "DROP TRIGGER xpay_flow_event_append_only",
    f"CREATE TRIGGER xpay_flow_event_append_only BEFORE UPDATE ON {_TABLE}"
    f" BEGIN SELECT RAISE (ABORT, '{_WHY}'); END",
)


def let_payloads_be_erased(_: Any, editor: Any) -> None:
    """An update may take the payload out of an event's document, and do nothing else."""
    by_vendor = {"postgresql": _OF_POSTGRESQL, "sqlite": _OF_SQLITE}
    for statement in by_vendor.get(editor.connection.vendor, ()):
        editor.execute(statement, params=None)


def let_nothing_be_erased(_: Any, editor: Any) -> None:
    """As the first migration had it."""
    by_vendor = {"postgresql": _OF_POSTGRESQL_BACK, "sqlite": _OF_SQLITE_BACK}
    for statement in by_vendor.get(editor.connection.vendor, ()):
        editor.execute(statement, params=None)


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
        migrations.RunPython(let_payloads_be_erased, let_nothing_be_erased),
        migrations.RunPython(migrations.RunPython.noop, refuse_to_lose_realms),
    )
