"""The embedded store: what is special to it beyond the duties of every store."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from first_schema import put_as_version_1

from xpay_flow import sample_records as b
from xpay_flow.errors import ConfigurationError, SchemaMismatch, StoreUnavailable
from xpay_flow.events import Event
from xpay_flow.intent import Refund
from xpay_flow.money import AMOUNT_MINOR_MAX
from xpay_flow.ports import (
    BatchCommitting,
    BatchLoading,
    Erasing,
    RecentListing,
    Store,
    Transactional,
)
from xpay_flow.realm import UNNAMED, Realms
from xpay_flow.records import Record, Work, change, without_payload
from xpay_flow.stores import fork_gate, sqlite, sqlite_pool, sqlite_schema
from xpay_flow.stores.codec import part_to_document, to_text
from xpay_flow.stores.rows import ALIKE
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.stores.sqlite_durability import write_ahead
from xpay_flow.stores.sqlite_pool import IDLE_MAX, OPENING_WAIT_S, WAIT_S, Pool
from xpay_flow.testing.store_suite import StoreSuite, found, put, together, waiting
from xpay_flow.testing.world import World

LIMIT_S = 30.0


class TestSQLiteStore(StoreSuite):
    declares = (RecentListing, Erasing, BatchLoading, BatchCommitting, Transactional)

    @pytest.fixture(autouse=True)
    def _in_folder(self, tmp_path: Path) -> None:
        self.folder, self.made = tmp_path, 0

    def make_store(self) -> SQLiteStore:
        self.made += 1
        return SQLiteStore(self.folder / f"{self.made}.db")

    def reopen(self, store: Store) -> SQLiteStore:
        assert isinstance(store, SQLiteStore)
        store.close()
        return SQLiteStore(self.folder / f"{self.made}.db")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "payments.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as store:
        yield store


@contextmanager
def plain(path: Path) -> Iterator[sqlite3.Connection]:
    """The database as another program sees it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def answer(path: Path, query: str) -> list[tuple[Any, ...]]:
    with plain(path) as connection:
        return connection.execute(query).fetchall()


# --- what a commit costs -------------------------------------------------------------------------


def test_a_webhook_is_one_transaction(store: SQLiteStore) -> None:
    """A commit begins once, commits once, and is flushed to the disk before it returns."""
    first = put(store, b.attempt())
    statements: list[str] = []
    with store._pool.reading() as connection:
        assert [("wal",), (2,)] == [
            connection.execute(f"PRAGMA {name}").fetchone()
            for name in ("journal_mode", "synchronous")
        ]
        connection.set_trace_callback(statements.append)
    statements.clear()
    put(store, b.next_change(first, b.paid()))
    verbs = [statement.split()[0] for statement in statements]
    assert ("BEGIN IMMEDIATE", "UPDATE", "COMMIT") == (statements[0], verbs[1], verbs[-1])
    assert {"BEGIN": 1, "COMMIT": 1} == {verb: verbs.count(verb) for verb in ("BEGIN", "COMMIT")}


def test_a_commit_writes_what_is_new(store: SQLiteStore) -> None:
    """However long the history, one more event is one more row, beside the record's own."""
    last = put(store, *b.history(*(b.failed(f"whe_{n}") for n in range(50))))

    with store._pool.reading() as connection:
        before = connection.total_changes
    last = put(store, b.next_change(last, b.failed("whe_last")))
    # The record and the event.
    assert 2 == connection.total_changes - before
    last = put(store, b.next_change(last, b.paid(x_intent_id="in_2")))
    # Also a second id of xPay's, and the handlers that are due for it and for the payment.
    assert 2 + 5 == connection.total_changes - before


# How the parts of a record, which were found by an index, become one text.
GATHERED = (
    *("CORRELATED SCALAR SUBQUERY", "CO-ROUTINE (subquery-", "SCAN (subquery-", "USE TEMP"),
    *("COMPOUND QUERY", "LEFT-MOST SUBQUERY", "UNION ALL"),
)


@pytest.mark.parametrize(
    "query",
    [sqlite._LOAD, sqlite._LOAD_FOR, sqlite._HISTORY, sqlite._RECENT, sqlite._DROP_ALIAS],
)
def test_a_look_up_uses_an_index(store: SQLiteStore, path: Path, query: str) -> None:
    """Finding a record, or one event of it, does not get slower with the number of them."""
    query = query.format(realm="realm NOT IN ()")
    with plain(path) as connection:
        values: Any = ("x",) * query.count("?") or dict.fromkeys(("alias", "limit", *ALIKE), "x")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    # The newest records are read off the end of the table, as many as requested.
    scans = ["SCAN i"] if "i.seq DESC" in query else []
    assert scans == [step for step in plan if not step.startswith(("SEARCH ", *GATHERED))]
    found = [step for step in plan if step.startswith("SEARCH events") and "event_key" in step]
    assert (2 if query == sqlite._LOAD_FOR else 0) == len(found), plan


@pytest.mark.parametrize("work", ["deliver", "reconcile"])
def test_work_is_found_in_an_index_of_what_waits(
    store: SQLiteStore, path: Path, work: Work
) -> None:
    """Looking for work neither reads records that wait for nothing nor sorts those that do."""
    with plain(path) as connection:
        query, values = sqlite._of(Realms(("live/mine",)), sqlite._DUE[work])
        sent = {**values, "now_ms": 0, "limit": 0}
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", sent).fetchall()
    (step,) = [row[3] for row in plan]
    # Work of other realms, however much there is, lies elsewhere in the index.
    index = f"SEARCH intents USING COVERING INDEX intents_to_{work}"
    assert step == f"{index} (realm=? AND {work}_at_ms<?)"


# --- what people see -----------------------------------------------------------------------------


def test_plain_sql_sees_what_the_record_says(store: SQLiteStore, path: Path) -> None:
    """The columns show the intent, so that a person or a report needs no library."""
    events = (b.created(), b.paid(), b.refunded("rf_1", 500), b.disputed())
    put(store, *b.history(*events))
    (row,) = answer(
        path,
        "SELECT intent_id, receipt_id, attempt, x_intent_id, state, amount_minor, currency,"
        " refunded_minor, refund_status, dispute_status, attention, created_at_ms, version"
        " FROM intents",
    )
    assert row == (
        *("pi_order-1_1", "order-1", 1, "in_1", "success", 1999, "USD"),
        *(500, "partial", "open", '["disputed:dp_1"]', b.NOW_MS, 5),
    )
    assert [("own/stored",), ("answer/create",), ("whe_paid",), ("whe_rf_1",)] == answer(
        path, "SELECT event_id FROM events ORDER BY seq LIMIT 4"
    )
    assert [
        ("on_success", "pending"),
        ("on_refunded", "pending"),
        ("on_attention", "pending"),
    ] == answer(path, "SELECT name, status FROM outbox ORDER BY seq")


def test_parked_events_have_no_intent_columns(store: SQLiteStore, path: Path) -> None:
    """Unmatched events have a row, in which the intent's columns are null."""
    put(store, b.parked(b.paid()))
    assert [("parked:sandbox/local:x:in_1", None, None, None, None)] == answer(
        path, "SELECT record_key, intent_id, state, amount_minor, refund_status FROM intents"
    )


def test_sums_beyond_a_column_are_kept(store: SQLiteStore, path: Path) -> None:
    """Refunds whose sum no integer column holds are stored; the column shows its greatest."""
    first = b.attempt().record
    assert first.intent is not None
    refunds = tuple(Refund(f"rf_{n}", AMOUNT_MINOR_MAX) for n in range(9300))
    many = attrs.evolve(first, intent=attrs.evolve(first.intent, refunds=refunds))
    record = put(store, change(Record(key=first.key), many))
    assert [many] == [
        attrs.evolve(found, version=many.version) for found in store.history(record.key)
    ]
    assert [(2**63 - 1,)] == answer(path, "SELECT refunded_minor FROM intents")


@pytest.mark.parametrize("statement", ["UPDATE events SET why = 'x'", "DELETE FROM events"])
def test_events_cannot_be_changed(store: SQLiteStore, path: Path, statement: str) -> None:
    """Not even plain SQL changes what is on file."""
    put(store, b.attempt())
    with plain(path) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("more", "change"),
    [(", why = 'x'", {}), (", at_ms = 5", {}), ("", {"amount_minor": 1}), ("", {"payload": "{}"})],
)
def test_of_an_event_the_payload_alone_can_be_erased(
    store: SQLiteStore, path: Path, more: str, change: dict[str, Any]
) -> None:
    """Plain SQL may take the payload out, and nothing else with it."""
    whole = put(store, *b.history(b.created(), b.paid(payload='{"a":"\\u0000 é"}')))
    paid = whole.events[-1]
    blanked = without_payload(paid).event
    put_in = f"UPDATE events SET document = ? {more} WHERE kind = 'intent.success'"

    def document(event: Event) -> tuple[str]:
        return (to_text(part_to_document(attrs.evolve(paid, event=event))),)

    with plain(path) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(put_in, document(attrs.evolve(blanked, **change)))
        allowed = "UPDATE events SET document = ? WHERE kind = 'intent.success'"
        connection.execute(allowed, document(blanked))
    (after,) = store.history(whole.key)
    assert [*whole.events[:-1], without_payload(paid)] == list(after.events)


def test_what_older_code_has_left_is_overwritten(path: Path) -> None:
    """A file of a version that left replaced text readable is written anew when it is opened."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {sqlite_schema.APPLICATION_ID}")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(sqlite_schema._VERSIONS)
        for statement in sqlite_schema._FIRST:
            connection.execute(statement)
        connection.execute("INSERT INTO schema_versions VALUES (1, 1)")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("CREATE TABLE old (words TEXT)")
        connection.execute("INSERT INTO old VALUES (?)", ("Ada Canary" * 1000,))
        connection.execute("DELETE FROM old")
    assert b"Ada Canary" in path.read_bytes()
    SQLiteStore(path).close()
    assert b"Ada Canary" not in path.read_bytes()


def test_a_part_belongs_to_a_record(store: SQLiteStore) -> None:
    """The database itself refuses an alias, and so an event or an effect, of no record."""
    with pytest.raises(StoreUnavailable, match="FOREIGN KEY"), store._pool.writing() as connection:
        connection.execute(sqlite._PUT_ALIAS, ("no such record", "x:in_1"))


def test_the_address_of_the_checkout_is_not_in_the_events(store: SQLiteStore, path: Path) -> None:
    """The history may be shown to people who must not open the customer's page."""
    put(store, *b.history(b.created()))
    (kept,) = answer(path, "SELECT count(*) FROM intents WHERE document LIKE '%secret=%'")
    (leaked,) = answer(path, "SELECT count(*) FROM events WHERE document LIKE '%secret=%'")
    assert ((1,), (0,)) == (kept, leaked)


def test_versions_are_those_of_the_records(tmp_path: Path) -> None:
    """A reader finds many versions at once, and nothing for keys of which there is no record."""
    with SQLiteStore(tmp_path / "payments.db") as store:
        first = put(store, b.attempt())
        second = put(store, b.next_change(put(store, b.attempt("order-2")), b.paid()))
        keys = (first.key, second.key, "unknown")
        assert {first.key: 1, second.key: 2} == store.reader().versions(keys)


@pytest.mark.parametrize("belt", ["", "PRAGMA query_only = OFF"])
def test_the_database_refuses_a_reader_that_writes(store: SQLiteStore, belt: str) -> None:
    """A reader's connection cannot write, and cannot give itself the right to."""
    first = put(store, b.attempt())
    with store.reader()._pool.reading() as connection:
        connection.execute(belt)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM aliases")
    assert [first] == list(store.history(first.key))


# --- several at once -----------------------------------------------------------------------------


def test_two_stores_share_a_file(store: SQLiteStore, path: Path) -> None:
    """Two processes on one file see each other's commits, and win or lose by the version."""
    with SQLiteStore(path) as other:
        first = put(store, b.attempt())
        assert [first] == list(other.history(first.key))
        second = put(other, b.next_change(first, b.paid()))
        assert store.commit(b.next_change(first, b.failed())) is False
        assert [second] == list(store.history(first.key))


def test_a_store_can_be_opened_by_all_workers_at_once(path: Path) -> None:
    """The first start of several workers makes one database, whichever comes first."""
    stores = together(*[lambda: SQLiteStore(path)] * 4)
    first = put(stores[0], b.attempt())
    assert [[first]] * 4 == [list(store.history(first.key)) for store in stores]
    for store in stores:
        store.close()


def test_who_loses_the_race_for_the_switch_waits_for_the_winner(path: Path) -> None:
    """SQLite does not wait when several make a new file's journal at once, so we do."""
    with plain(path) as winner:
        winner.execute("BEGIN IMMEDIATE")

        class Loser(sqlite3.Connection):
            def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
                if sql == "BEGIN IMMEDIATE":
                    winner.execute("COMMIT")
                    winner.execute("PRAGMA journal_mode = WAL")
                return super().execute(sql, *given)

        loser = sqlite3.connect(path, timeout=0.01, isolation_level=None, factory=Loser)
        assert "wal" == write_ahead(loser)
        loser.close()


def test_a_file_that_stays_locked_is_not_waited_for_for_ever(path: Path) -> None:
    """Another program that keeps the lock is an error, after SQLite's own patience."""
    with plain(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        waiting = sqlite3.connect(path, timeout=0.01, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write_ahead(waiting)
        waiting.close()


def test_opening_waits_longer_for_other_writers_than_a_webhook_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that starts beside one that writes all the time is not refused after 0.7 s."""
    waits: list[float] = []
    connect = sqlite3.connect

    def noted(*given: Any, timeout: float, **options: Any) -> sqlite3.Connection:
        waits.append(timeout)
        return connect(*given, timeout=timeout, **options)

    monkeypatch.setattr(sqlite3, "connect", noted)
    with SQLiteStore(path) as store:
        put(store, b.attempt())
    assert [OPENING_WAIT_S, WAIT_S] == waits
    assert OPENING_WAIT_S > 10 * WAIT_S


def test_threads_may_come_and_go(store: SQLiteStore) -> None:
    """Connections are as many as there are transactions at once, not as there are threads."""
    for n in range(3):
        together(*[lambda i=i, n=n: put(store, b.attempt(f"order-{n}", i)) for i in range(20)])
    assert len(store._pool._idle) <= IDLE_MAX
    assert 60 == len(store.recent(100))


def test_more_connections_than_are_kept_are_closed(store: SQLiteStore) -> None:
    """After a rush, only a bounded number of connections stays open."""

    def nested(depth: int) -> None:
        with store._pool.reading():
            if depth:
                nested(depth - 1)

    nested(IDLE_MAX + 3)
    assert IDLE_MAX == len(store._pool._idle)


def test_a_busy_database_is_unavailable(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Another process that writes for too long is an answer of 503, and the next try is fine."""
    monkeypatch.setattr(sqlite, "WAIT_S", 0.01)
    with SQLiteStore(path) as store, plain(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"nothing was changed.*locked"):
            store.commit(b.attempt())
        assert [] == list(store.recent(1)), "readers do not wait for a writer"
        other.execute("COMMIT")
        put(store, b.attempt())


def test_a_long_queue_is_unavailable(monkeypatch: pytest.MonkeyPatch, store: SQLiteStore) -> None:
    """A writer that waits too long for the others of its process gives up, too."""
    monkeypatch.setattr(sqlite_pool, "WAIT_S", 0.01)
    with store._pool.turn, pytest.raises(StoreUnavailable, match="took longer"):
        store.commit(b.attempt())
    put(store, b.attempt())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_process_has_connections_of_its_own(store: SQLiteStore, path: Path) -> None:
    """A server that opens the store and then forks its workers may use it in all of them."""
    first = put(store, b.attempt())
    child = os.fork()
    if not child:
        code = 1
        try:
            assert not store._pool._idle, "a connection was inherited"
            put(store, b.next_change(first, b.paid()))
            code = 0
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (second,) = store.history(first.key)
    assert 2 == second.version
    put(store, b.next_change(second, b.refunded()))
    assert [("ok",)] == answer(path, "PRAGMA integrity_check")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_in_the_middle_of_a_commit_blocks_no_other(store: SQLiteStore) -> None:
    """A lock that was held at the fork is free in the child."""
    with store._pool.turn:
        child = os.fork()
        if not child:
            os._exit(0 if store._pool.turn.acquire(timeout=5) else 1)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(work: Callable[[], bool]) -> bool:
    """What `work` answers in a forked process."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return not os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_waits_for_the_transactions_of_other_threads(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child carries no lock of a transaction that it knows nothing about."""
    monkeypatch.setattr(fork_gate, "FORK_WAIT_S", LIMIT_S)
    began, forking = threading.Event(), threading.Event()
    waits = fork_gate.GATE.before_fork

    def in_transaction() -> None:
        with store._pool.writing():
            began.set()
            assert forking.wait(LIMIT_S)

    def before_fork() -> None:
        forking.set()
        waits()

    monkeypatch.setattr(fork_gate.GATE, "before_fork", before_fork)
    other = threading.Thread(target=in_transaction)
    other.start()
    try:
        assert began.wait(LIMIT_S)
        assert in_child(lambda: bool(put(store, b.attempt())))
    finally:
        forking.set()
        other.join(LIMIT_S)
    assert [("ok",)] == answer(path, "PRAGMA integrity_check")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_child_of_a_fork_in_a_transaction_refuses_the_file(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be used safely is refused in words; the parent goes on."""

    def is_refused() -> bool:
        with pytest.raises(StoreUnavailable, match="forked in the middle of a transaction"):
            store.load("receipt:order-1")
        return True

    monkeypatch.setattr(fork_gate, "FORK_WAIT_S", 0)
    with store._pool.writing():
        assert in_child(is_refused)
    put(store, b.attempt())


# --- what can go wrong ---------------------------------------------------------------------------


class Breaking(sqlite3.Connection):
    """A disk that fails at the worst moment, before or after the commit took effect."""

    took_effect = False

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql != "COMMIT":
            return super().execute(sql, *values)
        if self.took_effect:
            super().execute(sql)
        raise sqlite3.OperationalError("disk I/O error")


class BreakingLate(Breaking):
    took_effect = True


@pytest.mark.parametrize("broken", [Breaking, BreakingLate])
def test_a_commit_that_fails_has_an_unknown_outcome(
    store: SQLiteStore, path: Path, broken: type[Breaking]
) -> None:
    """An error of COMMIT itself is reported as "not known"; the whole change is there or not."""
    first = put(store, b.attempt())
    second = b.next_change(first, b.created(), b.paid())
    store._pool.release()
    usual, store._pool._opened = (
        store._pool._opened,
        lambda: sqlite3.connect(path, isolation_level=None, factory=broken),
    )
    with pytest.raises(StoreUnavailable, match="not known"):
        store.commit(second)
    store._pool._opened = usual
    assert [second.record if broken.took_effect else first] == list(store.history(first.key))
    assert broken.took_effect is not store.commit(second), "the next try settles it"


def is_closed(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError as error:
        return "closed" in str(error)
    return False


def test_a_file_that_is_no_database_keeps_no_connection(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that cannot be used is closed, and not left to the garbage collector."""
    opened: list[sqlite3.Connection] = []
    usual = sqlite3.connect

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        opened.append(usual(*args, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigurationError, match="not an SQLite database"):
        SQLiteStore(path)
    assert opened
    assert all(is_closed(connection) for connection in opened)


def test_a_pool_that_closes_during_a_transaction_keeps_no_connection() -> None:
    """A connection that is handed back in the very moment of `close()` is closed as well."""

    class Late(deque[sqlite3.Connection]):
        """Another thread closes the pool just before a connection comes back."""

        def append(self, connection: sqlite3.Connection) -> None:
            pool.close()
            super().append(connection)

    pool = Pool(lambda: sqlite3.connect(":memory:", isolation_level=None))
    pool._idle = Late()
    with pool.reading() as connection:
        connection.execute("SELECT 1")
    assert is_closed(connection)


def test_a_connection_that_failed_is_not_used_again() -> None:
    """After an error of the database, the next transaction starts with a fresh connection."""
    opened: list[sqlite3.Connection] = []

    def open_one() -> sqlite3.Connection:
        opened.append(sqlite3.connect(":memory:", isolation_level=None))
        return opened[-1]

    pool = Pool(open_one)
    with pytest.raises(StoreUnavailable, match="no such table"), pool.reading() as connection:
        connection.execute("SELECT * FROM nowhere")
    with pool.reading() as connection:
        assert opened[1] is connection
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
    pool.close()


def test_an_error_of_the_caller_undoes_the_change(store: SQLiteStore) -> None:
    """Whatever is raised in the middle of a commit, nothing of it stays."""
    step = b.attempt()
    with pytest.raises(StoreUnavailable, match="UNIQUE"):
        store.commit(attrs.evolve(step, new_events=step.new_events * 2))
    assert [] == list(store.recent(1))


def test_what_was_committed_survives_a_kill(path: Path) -> None:
    """A process that dies right after a commit, without closing anything, has lost nothing."""
    program = """
import os, sys
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow import sample_records as b
store = SQLiteStore(sys.argv[1])
assert store.commit(b.attempt())
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    assert -9 == killed.returncode
    with SQLiteStore(path) as store:
        assert [b.attempt().record] == list(store.recent(10))


def test_every_call_after_close_raises_store_unavailable(store: SQLiteStore, path: Path) -> None:
    """After closing, store and reader are unavailable, and one file holds everything."""
    reader = store.reader()
    first = put(store, b.attempt())
    reader.load(first.key)
    store.close()
    for use in (reader.load, store.load):
        with pytest.raises(StoreUnavailable, match="closed"):
            use(first.key)
    assert [path] == list(path.parent.iterdir())


def test_a_transaction_that_outlives_the_store_closes_its_connection(store: SQLiteStore) -> None:
    """Closing does not wait for those who are still reading, and they leave nothing open."""
    with store._pool.reading() as connection:
        store.close()
        assert [] == connection.execute("SELECT * FROM intents").fetchall()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_a_database_that_vanished_is_not_made_anew(store: SQLiteStore, path: Path) -> None:
    """A file that was moved away is an error, and not an empty store."""
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(StoreUnavailable):
        store.load("x:in_1")
    assert not path.exists()


def test_a_path_means_the_same_after_a_change_of_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A relative path is read once, when the store is made."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with SQLiteStore.from_url("sqlite:///payments.db") as store:
        monkeypatch.chdir("elsewhere")
        put(store, b.attempt())
        put(store, b.attempt("order-2"))
        store.reader().load("x")
    assert (tmp_path / "payments.db").exists()
    assert [] == list((tmp_path / "elsewhere").iterdir())


def test_odd_names_of_files_are_names(tmp_path: Path) -> None:
    """A percent sign, a hash or a letter of another alphabet is part of the name."""
    for name in ("100%25.db", "a#b.db", "zahlungen-ä-₹.db", "a b.db"):
        with SQLiteStore.from_url(f"sqlite:///{tmp_path}/{name}") as store:
            first = put(store, b.attempt())
            assert [first] == list(store.reader().history(first.key))
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://payments.db", "sqlite:///payments.db"),
        ("sqlite:///", "path of a file"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///payments.db?mode=ro", "no options"),
        ("sqlite:///pay\0ments.db", "path of a file"),
        ("sqlite:///{}", "is a folder"),
        ("sqlite:///{}/missing/payments.db", "folder of .* does not exist"),
        ("sqlite:////proc/payments.db", "cannot be written"),
    ],
)
def test_a_path_that_cannot_be_a_database_is_refused(tmp_path: Path, url: str, words: str) -> None:
    """A mistake in the URL is an error in words, before anything is opened."""
    with pytest.raises(ConfigurationError, match=words):
        SQLiteStore.from_url(url.format(tmp_path))


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    """A file with foreign content is not overwritten."""
    path.write_text("milk, bread, " * 100)
    with pytest.raises(ConfigurationError, match="not an SQLite database"):
        SQLiteStore(path)
    assert path.read_text() == "milk, bread, " * 100


# --- in the shop's own file ----------------------------------------------------------------------

MARKS = ("application_id", "user_version", "journal_mode")


@pytest.mark.parametrize("journal_mode", ["delete", "wal", "truncate"])
@pytest.mark.parametrize("application_id", [0, 4711])
def test_the_shops_own_file_gets_our_tables_beside_its_own(
    path: Path, journal_mode: str, application_id: int
) -> None:
    """A file with tables of the shop takes ours; its marks and its journal stay as they are."""
    with plain(path) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute("PRAGMA user_version = 7")
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
        connection.execute("INSERT INTO orders VALUES ('order-1')")
    before = [answer(path, f"PRAGMA {name}") for name in MARKS]
    for _ in range(2):
        with SQLiteStore(path) as store:
            (again,) = list(store.history("receipt:order-1")) or [put(store, b.attempt())]
            assert [b.attempt().record] == [again]
    assert [("order-1",)] == answer(path, "SELECT id FROM orders")
    # What persists of a journal's mode is whether it is a log.
    assert before[:2] == [answer(path, f"PRAGMA {name}") for name in MARKS[:2]]
    assert (before[2] == [("wal",)]) is (answer(path, "PRAGMA journal_mode") == [("wal",)])


def test_the_shops_own_file_is_where_a_transactional_handler_writes(path: Path) -> None:
    """What the handler writes into the shop's table commits together with ours, or not at all."""
    with plain(path) as connection:
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
    with SQLiteStore(path) as store:
        world = World(store)
        world.flow.on_success(transactional=True)(
            lambda payment, tx: tx.execute("INSERT INTO orders VALUES (?)", (payment.receipt_id,))
        )
        world.xpay.pay(world.start_checkout("order-1").x_intent_id or "")
        world.settle()
    assert [("order-1",)] == answer(path, "SELECT id FROM orders")


def test_a_file_that_shops_and_payments_share_is_migrated(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    """There the versions are those of our own table, since `user_version` is the shop's."""
    with plain(path) as connection:
        connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_schema, "MIGRATIONS", sqlite_schema.MIGRATIONS[:1])
        SQLiteStore(path).close()
    with SQLiteStore(path) as store:
        put(store, b.attempt())
    assert [(1,), (2,)] == answer(path, "SELECT version FROM schema_versions ORDER BY 1")
    assert [(0,)] == answer(path, "PRAGMA user_version")
    with plain(path) as connection:
        connection.execute("INSERT INTO schema_versions VALUES (9, 9)")
    with pytest.raises(SchemaMismatch, match="schema 9"):
        SQLiteStore(path)


@pytest.mark.parametrize("table", sorted(sqlite_schema.OUR_TABLES))
def test_a_table_of_the_shops_with_a_name_of_ours_is_left_alone(path: Path, table: str) -> None:
    """The error names the table and the two ways out; nothing is written."""
    with plain(path) as connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER)")
    with pytest.raises(ConfigurationError, match=rf"\({table}\).*sqlalchemy\+sqlite"):
        SQLiteStore(path)
    assert [(table,)] == answer(path, "SELECT name FROM sqlite_master")


# --- the file itself -----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="other rights")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002, 0o000])
def test_a_file_that_we_make_is_for_its_owner_alone(path: Path, umask: int) -> None:
    """So are its companions, which hold the same data, whatever the umask."""
    before = os.umask(umask)
    try:
        with SQLiteStore(path) as store:
            put(store, b.attempt())
            rights = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    names = (path.name, f"{path.name}-shm", f"{path.name}-wal")
    assert dict.fromkeys(names, 0o600) == rights


@pytest.mark.skipif(sys.platform == "win32", reason="other rights")
def test_a_file_that_was_there_keeps_its_rights(path: Path) -> None:
    """A shop may have reasons of its own."""
    path.touch()
    path.chmod(0o640)
    with SQLiteStore(path) as store:
        put(store, b.attempt())
    assert 0o640 == path.stat().st_mode & 0o777


def _remove(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def _replace(path: Path) -> None:
    with SQLiteStore(path.with_name("new.db")):
        pass
    path.with_name("new.db").replace(path)


def _move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
@pytest.mark.parametrize("act", [_remove, _replace, _move])
def test_what_is_removed_or_replaced_is_not_written_to(path: Path, act: Any) -> None:
    """Every call of the store and its reader fails in words, and nothing is acknowledged."""
    with SQLiteStore(path) as store:
        first = put(store, b.attempt())
        reader = store.reader()
        assert [first] == list(reader.history(first.key))
        act(path)
        calls = (
            lambda: store.commit(b.next_change(first, b.paid())),
            lambda: store.commit_with(b.next_change(first, b.paid()), lambda _: None),
            lambda: store.load(first.key),
            lambda: reader.history(first.key),
            lambda: store.due("deliver", 0, 1),
        )
        for _ in range(2):
            for call in calls:
                with pytest.raises(StoreUnavailable, match=r"while it was open.*put it back"):
                    call()


def test_a_file_that_goes_away_within_a_commit_is_found(path: Path) -> None:
    """What was written to it is not acknowledged: the answer is that it is not known."""
    with SQLiteStore(path) as store:
        first = put(store, b.attempt())
        with pytest.raises(StoreUnavailable, match="is gone"):
            store.commit_with(b.next_change(first, b.paid()), lambda _: _remove(path))


def test_a_file_that_was_put_back_goes_on(path: Path) -> None:
    """The very same file under its name again is no reason to fail any longer."""
    with SQLiteStore(path) as store:
        first = put(store, b.attempt())
        _move(path)
        with pytest.raises(StoreUnavailable):
            store.load(first.key)
        path.with_name("moved.db").rename(path)
        assert [first] == list(store.history(first.key))


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A folder of our own, and no right to ignore the rights of files."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        if is_root := os.geteuid() == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="other rights")
@pytest.mark.parametrize("protect", ["file", "folder"])
def test_a_file_that_cannot_be_written_is_refused(protect: str) -> None:
    """Rights that are missing are found when the program starts, not when a customer pays."""
    with unprivileged() as folder:
        path = folder / "payments.db"
        if protect == "file":
            SQLiteStore(path).close()
            path.chmod(0o444)
        else:
            (folder / "kept").mkdir(mode=0o555)
            path = folder / "kept" / "payments.db"
        with pytest.raises(ConfigurationError, match="cannot be written"):
            SQLiteStore(path)


# --- schemas -------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused(store: SQLiteStore, path: Path) -> None:
    """A newer schema that does not say which code can work on it is not written by an older one."""
    with plain(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(sqlite_schema.MIGRATIONS) + 1}")
    with pytest.raises(SchemaMismatch, match=r"needs a newer xpay-flow.* 2, and 3 is the least"):
        SQLiteStore(path)


def test_records_of_the_first_schema_belong_to_no_realm(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    """A file of version 1 is migrated with all that it holds, and no realm is guessed for it."""
    step = waiting(b.attempt(realm=UNNAMED), 1, 1)
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_schema, "MIGRATIONS", sqlite_schema.MIGRATIONS[:1])
        SQLiteStore(path).close()
    with plain(path) as connection:
        put_as_version_1(step, connection.execute)
    with SQLiteStore(path) as store:
        assert [step.record] == found(store, step.record.key)
        for work in ("deliver", "reconcile"):
            assert [] == list(store.due(work, 9, 9, Realms((b.REALM,))))
            assert [step.record.key] == list(store.due(work, 9, 9, Realms((UNNAMED,))))
        later = put(store, b.next_change(step.record, b.paid()))
        assert [later] == found(store, later.key)
        assert UNNAMED == later.realm


def migrations(*further: str) -> tuple[sqlite_schema.Migration, ...]:
    added = sqlite_schema.Migration(oldest_code=1, statements=further)
    return (*sqlite_schema.MIGRATIONS, added)


def test_an_older_schema_is_brought_up_to_date(
    monkeypatch: pytest.MonkeyPatch, store: SQLiteStore, path: Path
) -> None:
    """A newer version adds what is new and keeps what is there; a second start adds nothing."""
    first = put(store, b.attempt())
    monkeypatch.setattr(
        sqlite_schema, "MIGRATIONS", migrations("ALTER TABLE intents ADD COLUMN note TEXT")
    )
    for _ in range(2):
        with SQLiteStore(path) as newer:
            assert [first] == list(newer.history(first.key))
    assert [(None,)] == answer(path, "SELECT note FROM intents")


def test_a_migration_that_fails_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, store: SQLiteStore, path: Path
) -> None:
    """A step to a newer schema is taken as a whole or not at all."""
    bad = migrations("ALTER TABLE intents ADD COLUMN note TEXT", "CREATE TABLE intents (x)")
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_schema, "MIGRATIONS", bad)
        with pytest.raises(StoreUnavailable, match="already exists"):
            SQLiteStore(path)
    assert [] == answer(path, "SELECT name FROM pragma_table_info('intents') WHERE name = 'note'")
    SQLiteStore(path).close()
