"""That a newer schema can be rolled out while the code of now goes on, also with Django.

The next release is a copy of this one with a further migration, which only adds. Its own
`manage.py migrate` takes it, and takes it back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final
from uuid import uuid4

import django_kit as kit
import pytest
from django.core.management import call_command
from django.db import connections
from first_schema import put_as_version_1
from releases import Release, release

from xpay_flow import sample_records as b
from xpay_flow.errors import ConfigurationError
from xpay_flow.realm import UNNAMED, Realms
from xpay_flow.testing.store_suite import found, put, waiting
from xpay_flow_django import DjangoStore

ENDS_S: Final = 30.0
MIGRATION: Final = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("xpay_flow", "0002_realm")]
    operations = [
        migrations.AddField("intent", "newer", models.TextField(null=True)),
        migrations.AddIndex("intent", models.Index(fields=["state"], name="xpay_flow_by_state")),
        migrations.CreateModel("newer", [("id", models.BigAutoField(primary_key=True))]),
    ]
"""
MODELS: Final = (
    """    receipt_id: OptionalText = _optional_name()
""",
    """    receipt_id: OptionalText = _optional_name()
    newer = models.TextField(null=True)
""",
)
MANAGE: Final = """
import json, os, sys
from django.conf import settings
database = json.loads(os.environ["SHOP_DATABASE"])
settings.configure(
    DATABASES={"default": database},
    INSTALLED_APPS=["xpay_flow_django"],
    SECRET_KEY="k",
    USE_TZ=True,
)
import django
django.setup()
from xpay_flow import sample_records
from xpay_flow.testing.store_suite import put
from xpay_flow_django import DjangoStore
if sys.argv[1] == "put":
    print([put(DjangoStore(), sample_records.attempt(sys.argv[2])).version])
elif sys.argv[1] == "find":
    print([record.version for record in DjangoStore().load(sys.argv[2])])
else:
    from django.core.management import call_command
    call_command(*sys.argv[1:], skip_checks=True)
"""


class Shop:
    """A project on one of the databases, as the next release would run it."""

    def __init__(self, folder: Path, alias: str) -> None:
        self._release: Release = release(
            folder,
            "xpay_flow_django",
            {"models.py": MODELS},
            {"migrations/0003_newer.py": MIGRATION},
        )
        (folder / "manage.py").write_text(MANAGE)
        declared = connections.settings[alias]
        words = ("ENGINE", "NAME", "HOST", "PORT", "USER", "PASSWORD")
        shown = {word: declared[word] for word in words if declared.get(word)}
        if alias == kit.SQLITE:
            # Who migrates a file waits for those who write to it, as one who writes does.
            shown["OPTIONS"] = {"timeout": ENDS_S, "transaction_mode": "IMMEDIATE"}
        self._database = json.dumps(shown)

    def manage(self, *words: str) -> tuple[int, str]:
        """`manage.py …` of the next release: the exit code, and the last line of its output."""
        code, printed = self._release.run("manage.py", *words, SHOP_DATABASE=self._database)
        return code, (printed.strip().splitlines() or [""])[-1]

    def migrate(self, number: str) -> None:
        code, printed = self.manage("migrate", "xpay_flow", number, "-v0")
        assert 0 == code, printed


def test_the_code_of_now_goes_on_while_a_newer_schema_is_rolled_out(
    alias: str, tmp_path: Path
) -> None:
    """It reads and writes before, meanwhile and afterwards; the next release waits for the tables.

    Taken back, the payments are all there.
    """
    folder = tmp_path / "next"
    folder.mkdir()
    new, store = Shop(folder, alias), DjangoStore(alias)
    first = put(store, b.attempt())

    code, printed = new.manage("put", "order-2")
    assert (1, True) == (code, "run manage.py migrate" in printed), printed
    assert 1 == new.manage("migrate", "--check")[0]

    with at_work(alias):
        new.migrate("0003")
    second = put(store, b.next_change(first, b.created()))
    assert [second] == list(store.history(first.key))
    assert (0, "[2]") == new.manage("find", first.key)
    assert (0, "[1]") == new.manage("put", "order-2")

    with at_work(alias):
        new.migrate("0002")
    third = put(store, b.next_change(second, b.paid()))
    assert [third] == list(store.history(first.key))
    assert 1 == len(store.history("receipt:order-2"))


TABLES: Final = {
    "intents": "intent",
    "events": "recordedevent",
    "outbox": "outboxentry",
    "aliases": "alias",
}


def migrate(alias: str, number: str) -> None:
    call_command("migrate", "xpay_flow", number, database=alias, verbosity=0)


def test_records_of_the_first_schema_belong_to_no_realm(alias: str) -> None:
    """Tables of version 1 are migrated with all that they hold, and no realm is guessed for it.

    Once a record has one, they are not migrated back: older code cannot read it.
    """

    def execute(statement: str, row: Mapping[str, Any]) -> None:
        name = statement.split()[2]
        statement = statement.replace(name, f"xpay_flow_{TABLES[name]}", 1)
        with connections[alias].cursor() as cursor:
            cursor.execute(re.sub(r":(\w+)", r"%(\1)s", statement), row)

    step, store = waiting(b.attempt(realm=UNNAMED), 1, 1), DjangoStore(alias)
    try:
        migrate(alias, "0001")
        put_as_version_1(step, execute)
    finally:
        migrate(alias, "0002")
    assert [step.record] == found(store, step.record.key)
    assert [] == list(store.due("deliver", 9, 9, Realms((b.REALM,))))
    assert [step.record.key] == list(store.due("deliver", 9, 9, Realms((UNNAMED,))))
    put(store, b.attempt("order-2"))
    with pytest.raises(ConfigurationError, match=r"1 record.*older code cannot read"):
        migrate(alias, "0001")
    assert [step.record] == found(store, step.record.key)


@contextmanager
def at_work(alias: str) -> Generator[None]:
    """Meanwhile new payments are committed in another thread, and none may fail."""
    stop, failed = Event(), []

    def commit() -> None:
        store = DjangoStore(alias)
        try:
            while not stop.is_set():
                put(store, b.attempt(f"order-{uuid4().hex}"))
        except Exception as error:
            failed.append(error)
        finally:
            connections[alias].close()

    thread = Thread(target=commit)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(ENDS_S)
    assert [] == failed
