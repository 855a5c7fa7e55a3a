"""What the database itself refuses, whose connection is used, and what becomes of errors."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import django_kit as kit
import psycopg
import pytest
from django.db import connections, transaction
from django.test import TestCase

from xpay_flow import sample_records as b
from xpay_flow.errors import ConfigurationError, SchemaMismatch, StoreUnavailable
from xpay_flow.records import attempt_key, change, without_payload
from xpay_flow.stores.codec import part_to_document, to_text
from xpay_flow.testing.limits import within_s
from xpay_flow.testing.store_steps import tried
from xpay_flow.testing.store_suite import put, together
from xpay_flow_django import DjangoStore
from xpay_flow_django.models import Alias, Intent, RecordedEvent


@pytest.fixture
def store(alias: str) -> DjangoStore:
    """An empty store on each kind of database in turn."""
    return DjangoStore(alias)


def in_thread(call: Callable[[], Any]) -> Any:
    return within_s(60, call)[0]


# --- what is refused -----------------------------------------------------------------------------


def test_the_database_refuses_a_reader_that_writes(store: DjangoStore, alias: str) -> None:
    """While a reader reads, nothing can be written; and afterwards it can."""
    first = put(store, b.attempt())
    reader = store.reader()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"(?i)read.?only"):
            reader._database.read_only(lambda: Alias.objects.using(alias).all().delete())
        assert [first] == list(reader.history(first.key))
    second = put(store, b.next_change(first, b.paid()))
    assert [second] == list(reader.history(first.key))


def test_a_reader_leaves_the_transaction_around_it_alone(store: DjangoStore, alias: str) -> None:
    """A view that asks how a payment stands can go on to write, also in an atomic block."""
    first = put(store, b.attempt())
    with transaction.atomic(using=alias):
        assert [first] == list(store.reader().history(first.key))
        Alias.objects.using(alias).create(alias="written afterwards", record_id=first.key)
    assert [first] == list(store.history("written afterwards"))


def test_events_cannot_be_changed(store: DjangoStore, alias: str) -> None:
    """Not even a query of the shop's own changes what is on file."""
    first = put(store, b.attempt())
    with pytest.raises(Exception, match="append-only"):
        RecordedEvent.objects.using(alias).update(why="x")
    assert [first] == list(store.history(first.key))


def test_of_an_event_the_payload_alone_can_be_erased(store: DjangoStore, alias: str) -> None:
    """A query may take the payload out, and nothing else with it."""
    whole = put(store, *b.history(b.created(), b.paid()))
    paid = whole.events[-1]
    blanked = without_payload(paid)
    rows = RecordedEvent.objects.using(alias).filter(kind="intent.success")

    def document(**change: Any) -> str:
        event = attrs.evolve(blanked.event, **change)
        return to_text(part_to_document(attrs.evolve(blanked, event=event)))

    for more, put_in in (
        ({"why": "x"}, document()),
        ({}, document(amount_minor=1)),
        ({}, document(payload="{}")),
    ):
        with pytest.raises(Exception, match="append-only"):
            rows.update(document=put_in, **more)
    assert [whole] == list(store.history(whole.key))
    rows.update(document=document())
    (after,) = store.history(whole.key)
    assert [*whole.events[:-1], blanked] == list(after.events)


def test_nothing_is_readable_in_an_sqlite_file_after_erasing(sqlite: str) -> None:
    """What the ORM has replaced in its file is overwritten, and its log is empty."""
    store = DjangoStore(sqlite)
    first = put(store, b.attempt())
    assert first.intent is not None
    noted = attrs.evolve(first.intent, metadata=(("for", "Ada Canary " * 100),))
    first = put(store, change(first, attrs.evolve(first, intent=noted)))
    paid = put(store, b.next_change(first, b.created(), b.paid(payload='{"n":"Ada Canary"}')))
    path = Path(connections[sqlite].settings_dict["NAME"])
    done = put(store, change(paid, attrs.evolve(paid, outbox=(), erased="due")))
    for entry in paid.outbox:
        done = put(store, tried(attrs.evolve(done, outbox=(entry,)), entry, "done"))
    store.blank_payloads(paid.key)
    store.scrub()
    assert "done" == done.erased
    files = [file.read_bytes() for file in path.parent.glob(f"{path.name}*")]
    assert b"Canary" not in b"".join(files)


def test_a_event_is_on_file_once(store: DjangoStore) -> None:
    """A second copy of one event is refused by the database, and the whole change with it."""
    first = put(store, b.attempt())
    step = b.next_change(first, b.paid())
    twice = type(step)(
        record=step.record, expected_version=1, new_events=(*step.new_events, *first.events)
    )
    with pytest.raises(StoreUnavailable) as caught:
        store.commit(twice)
    assert "secret=" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [first] == list(store.history(first.key))


@pytest.mark.parametrize("stays_open", [False, True])
def test_a_file_that_was_removed_is_not_written_to(sqlite: str, stays_open: bool) -> None:
    """Neither by a connection that stays open nor by a new one; the error is in words."""
    store = DjangoStore(sqlite)
    first = put(store, b.attempt())
    if stays_open:
        connections[sqlite].ensure_connection()
    Path(connections[sqlite].settings_dict["NAME"]).unlink()
    for call in (
        lambda: store.commit(b.next_change(first, b.paid())),
        lambda: store.load(first.key),
        lambda: store.reader().history(first.key),
    ):
        with pytest.raises(StoreUnavailable, match="is gone while it was open"):
            call()


def test_names_are_compared_to_the_byte(store: DjangoStore) -> None:
    """Capitals, accents and blanks at the end make another order."""
    names = ("order-1", "Order-1", "órder-1", "order-1 ", "order-1\u00a0")
    made = [put(store, b.attempt(name)) for name in names]
    for name, record in zip(names, made, strict=True):
        assert [record] == list(store.history(attempt_key(name, 1, b.REALM)))


def test_people_can_query(store: DjangoStore, alias: str) -> None:
    """The models hold what the record holds, with numbers of 64 bits."""
    put(store, *b.history(b.created(), b.paid(), b.refunded("rf_1", 500)))
    put(store, b.attempt("order-2", money=type(b.PRICE)(10**15, "USD")))
    found = Intent.objects.using(alias).order_by("seq")
    columns = ("receipt_id", "state", "amount_minor", "refunded_minor", "created_at_ms")
    first, second = found.values_list(*columns)
    assert ("order-1", "success", 1999, 500, b.NOW_MS) == first
    assert ("order-2", 10**15) == (second[0], second[2])
    assert ["stored", "CREATED"] == [f.type for f in found[0].events.order_by("seq")[:2]]


def test_the_database_of_a_store_must_exist_and_be_known() -> None:
    """A wrong name is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="nowhere"):
        DjangoStore("nowhere")
    for url in ("django:/", "django://a/b", "django://?x"):
        with pytest.raises(ConfigurationError, match="django://default"):
            DjangoStore.from_url(url)


def test_a_url_names_a_database(sqlite: str) -> None:
    """`Flow.open` takes one of DATABASES; nothing after the slashes is the default one."""
    made = put(DjangoStore(sqlite), b.attempt())
    for url in ("django://", f"django://{sqlite}"):
        assert [made] == list(DjangoStore.from_url(url).history(made.key))


# --- transactions of others ----------------------------------------------------------------------


def test_a_commit_inside_a_transaction_is_refused(store: DjangoStore, alias: str) -> None:
    """A change that could be rolled back is never acknowledged; the error names the remedy."""
    for commit in (store.commit, lambda change: store.commit_many([change])):
        with (
            transaction.atomic(using=alias),
            pytest.raises(ConfigurationError, match=r"non_atomic_requests.*on_commit"),
        ):
            commit(b.attempt())
    assert [] == list(store.recent(10))
    put(store, b.attempt())


def test_without_autocommit_nothing_is_acknowledged(store: DjangoStore, alias: str) -> None:
    """AUTOCOMMIT = False would leave each change uncommitted, so it is refused."""
    with (
        kit.database_settings(alias, AUTOCOMMIT=False),
        pytest.raises(ConfigurationError, match="AUTOCOMMIT"),
    ):
        store.commit(b.attempt())
    assert [] == list(store.recent(10))


def test_djangos_test_case_may_wrap_a_store(alias: str) -> None:
    """A shop tests with `TestCase`, whose own transactions are undone after each test."""
    store = DjangoStore(alias)

    class Shop(TestCase):
        databases = frozenset({alias})

        def test_two_changes_and_a_lost_race(self) -> None:
            first = put(store, b.attempt())
            assert store.commit(b.attempt()) is False
            put(store, b.next_change(first, b.paid()))

        def test_a_new_attempt(self) -> None:
            put(store, b.attempt())

        def test_looking_for_due_work(self) -> None:
            put(store, b.attempt())
            store.due("deliver", b.NOW_MS, 1)
            store.refresh_thread()
            assert 1 == len(store.recent(10))

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Shop).run(result)
    assert (3, [], []) == (result.testsRun, result.errors, result.failures)
    assert [] == list(store.recent(10))


# --- connections ---------------------------------------------------------------------------------


def test_an_unmanaged_thread_keeps_no_connection(store: DjangoStore, alias: str) -> None:
    """Outside of requests, what the store has opened it closes again."""

    def work() -> Any:
        first = put(store, b.attempt())
        store.history(first.key)
        store.due("deliver", 2**53, 10)
        return connections[alias].connection

    assert in_thread(work) is None


def test_a_connection_that_was_open_stays_open(store: DjangoStore, alias: str) -> None:
    """The connection of a view, with all that it has set there, is left as it was."""

    def work() -> bool:
        connections[alias].ensure_connection()
        before = connections[alias].connection
        put(store, b.attempt())
        store.reader().recent(1)
        found = connections[alias].connection is before
        connections[alias].close()
        return found

    assert in_thread(work) is True


def ended() -> None:
    """End all connections to the database, as an operator or a failover would."""
    declared = connections.settings[kit.POSTGRESQL]
    where = {"host": declared["HOST"], "port": declared["PORT"], "user": declared["USER"]}
    with psycopg.connect(**where, dbname="postgres", autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [declared["NAME"]],
        )


def test_looking_survives_a_lost_connection(postgresql: str) -> None:
    """A connection that was ended while it rested costs a reader nothing."""
    store = DjangoStore(postgresql)
    first = put(store, b.attempt())
    connections[postgresql].ensure_connection()
    ended()
    assert [first] == list(store.history(first.key))
    connections[postgresql].ensure_connection()
    ended()
    assert [first] == list(store.reader().history(first.key))


def test_writing_over_a_lost_connection_is_not_acknowledged(postgresql: str) -> None:
    """An unknown outcome is reported as unknown, and the next try is fine."""
    store = DjangoStore(postgresql)
    first = put(store, b.attempt())
    connections[postgresql].ensure_connection()
    ended()
    with pytest.raises(StoreUnavailable, match="may not be kept"):
        store.commit(b.next_change(first, b.paid()))
    put(store, b.next_change(first, b.paid()))


# --- errors --------------------------------------------------------------------------------------


def test_a_closed_store_is_unavailable(store: DjangoStore) -> None:
    """After close(), every call raises StoreUnavailable."""
    reader = store.reader()
    store.close()
    for use in (lambda: store.commit(b.attempt()), lambda: reader.history("x")):
        with pytest.raises(StoreUnavailable, match="closed"):
            use()


def test_missing_tables_name_the_command(store: DjangoStore, alias: str) -> None:
    """A project that has not migrated is an error that names `manage.py migrate`."""
    with connections[alias].cursor() as cursor:
        cursor.execute("ALTER TABLE xpay_flow_alias RENAME TO hidden")
        try:
            for use in (lambda: store.history("x"), lambda: store.commit(b.attempt())):
                with pytest.raises(SchemaMismatch, match=r"manage\.py migrate"):
                    use()
        finally:
            cursor.execute("ALTER TABLE hidden RENAME TO xpay_flow_alias")


@pytest.mark.parametrize("level", ["READ_COMMITTED", "REPEATABLE_READ", "SERIALIZABLE"])
def test_no_isolation_makes_two_win(postgresql: str, level: str) -> None:
    """However strict a database is set, of several writers one wins and the others hear of it."""
    store = DjangoStore(postgresql)
    options = {"isolation_level": getattr(psycopg.IsolationLevel, level)}
    with kit.database_settings(postgresql, OPTIONS=options):
        for n in range(5):
            first = put(store, b.attempt(f"order-{n}"))
            steps = [b.next_change(first, b.failed(f"whe_{i}")) for i in range(3)]
            won = together(*(lambda step=step: store.commit(step) for step in steps))
            assert [False, False, True] == sorted(won)


def test_a_commit_that_no_standby_has_is_not_acknowledged(postgresql: str) -> None:
    """Ending the wait for the standby is not an acknowledgement, though PostgreSQL commits."""
    store = DjangoStore(postgresql)
    with connections[postgresql].cursor() as cursor:
        cursor.execute("SHOW synchronous_standby_names")
        if ("nobody",) != cursor.fetchone():
            pytest.skip("the server must have synchronous_standby_names=nobody")
    options = {"options": "-c synchronous_commit=on -c statement_timeout=0"}
    refused: list[str] = []

    def commit() -> None:
        with pytest.raises(StoreUnavailable) as caught:
            store.commit(b.attempt())
        refused.append(str(caught.value))

    with connections[postgresql].cursor() as cursor:
        connections.settings[postgresql]["OPTIONS"], before = (
            options,
            connections.settings[postgresql]["OPTIONS"],
        )
        try:
            thread = threading.Thread(target=commit)
            thread.start()
            _cancel_the_wait(cursor)
            thread.join(10)
        finally:
            connections.settings[postgresql]["OPTIONS"] = before
    assert ["standby" in text for text in refused] == [True]
    assert 1 == Intent.objects.using(postgresql).count()


def _cancel_the_wait(cursor: Any) -> None:
    for _ in range(10_000):
        cursor.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event = 'SyncRep' AND datname = current_database()"
        )
        if cursor.fetchall():
            return
    raise AssertionError("no session waits for a standby")
