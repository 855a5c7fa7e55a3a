"""How are records kept in one SQLite file? The embedded default, with the standard library alone.

Events, outbox and aliases are rows of their own, so a commit writes what is new and not the
history. A commit is one transaction and one flush to the disk. The file must be on a local disk:
SQLite's locks and its write-ahead log do not work over a network.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Literal

from xpay_flow.errors import ConfigurationError, StoreUnavailable, quoted
from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX, HandlerRolledBack, Lookup
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, Record, Work, believed_up_to

from .codec import from_texts
from .cut_off import CutOffs
from .rows import (
    EVENT_COLUMNS,
    INTENT_COLUMNS,
    OUTBOX_COLUMNS,
    alike,
    blanked_rows,
    entry_row,
    event_row,
    intent_row,
)
from .sqlite_durability import empty_log, keep_commits, write_ahead
from .sqlite_file import identity, make_private, refuse_another_file
from .sqlite_handler_guard import alone_with
from .sqlite_pool import OPENING_WAIT_S, WAIT_S, Pool
from .sqlite_schema import is_our_file, migrate
from .turns import Turns

_PREFIX: Final = "sqlite:///"


def _joined(documents: str) -> str:
    """The documents that a subquery finds, in its order, as one text."""
    # SQLite keeps the order of a subquery for an aggregate to which it matters.
    return f"(SELECT group_concat(document) FROM ({documents}))"


def _parts(table: str, which: str = "") -> str:
    """Documents of a record in one table, oldest first, as one text."""
    return _joined(
        f"SELECT document FROM {table} WHERE record_key = i.record_key {which} ORDER BY seq"
    )


# Of the events that are recorded: the requested one, and another content under its id.
# The keys of an id's contents follow each other in the index; see `rows.alike`.
_ALIKE: Final = _joined(
    """
    SELECT document FROM events WHERE record_key = i.record_key AND event_key = :key
    UNION ALL SELECT * FROM (
        SELECT document FROM events
        WHERE record_key = i.record_key AND event_key >= :first AND event_key < :beyond
            AND event_key <> :key AND event_id = :id
        LIMIT 1
    )
    """
)
_PENDING: Final = _parts("outbox", "AND status = 'pending'")
_NAMED: Final = """
    FROM aliases AS a JOIN intents AS i USING (record_key)
    WHERE a.alias = :alias ORDER BY i.seq LIMIT :limit
"""
_WHOLE: Final = f"SELECT i.document, {_parts('events')}, {_parts('outbox')}"
_LOAD: Final = f"SELECT i.document, NULL, {_PENDING} {_NAMED}"
_LOAD_FOR: Final = f"SELECT i.document, {_ALIKE}, {_PENDING} {_NAMED}"
_HISTORY: Final = f"{_WHOLE} {_NAMED}"
_RECENT: Final = f"{_WHOLE} FROM intents AS i WHERE {{realm}} ORDER BY i.seq DESC LIMIT :limit"
_BEFORE: Final = "i.seq < (SELECT seq FROM intents WHERE record_key = :before)"
_RECENT_BEFORE: Final = _RECENT.replace("{realm}", f"{{realm}} AND {_BEFORE}")
_DUE: Final[dict[Work, str]] = {
    "deliver": """
        SELECT record_key FROM intents WHERE {realm} AND deliver_at_ms <= :now_ms
        ORDER BY deliver_at_ms, record_key LIMIT :limit
    """,
    "reconcile": """
        SELECT record_key FROM intents WHERE {realm} AND reconcile_at_ms <= :now_ms
        ORDER BY reconcile_at_ms, record_key LIMIT :limit
    """,
}
# What is due because the clock was set back since its time was set.
_DUE_AFTER_ALL: Final[dict[Work, str]] = {
    "deliver": """
        SELECT record_key FROM intents
        WHERE {realm} AND due_set_ms > :set_ms AND deliver_at_ms > :now_ms
        ORDER BY deliver_at_ms, record_key LIMIT :limit
    """,
    "reconcile": """
        SELECT record_key FROM intents
        WHERE {realm} AND due_set_ms > :set_ms AND reconcile_at_ms > :now_ms
        ORDER BY reconcile_at_ms, record_key LIMIT :limit
    """,
}


def _of(realms: Realms, query: str) -> tuple[str, dict[str, str]]:
    """The query for records of these realms, and its values."""
    values = {f"realm_{number}": name for number, name in enumerate(realms.names)}
    # One realm is looked up in an index whose next column is the time.
    among = "NOT IN" if realms.others else "IN"
    names = ", ".join(f":{name}" for name in values)
    return query.format(realm=f"realm {among} ({names})"), values


def _insert(table: str, columns: Sequence[str], conflict: str) -> str:
    # By position, which takes SQLite 1.5 µs less for an intent than by name.
    values = ", ".join("?" for _ in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values}) {conflict}"


def _excluded(columns: Iterable[str]) -> str:
    return ", ".join(f"{column} = excluded.{column}" for column in columns)


_PUT_NEW: Final = _insert("intents", INTENT_COLUMNS, "ON CONFLICT (record_key) DO NOTHING")
_PUT_NEXT: Final = (
    f"UPDATE intents SET {', '.join(f'{column} = ?' for column in INTENT_COLUMNS[1:])}"
    " WHERE record_key = ? AND version = ?"
)
_PUT_FACT: Final = _insert("events", EVENT_COLUMNS, "")
_PUT_EFFECT: Final = _insert(
    "outbox",
    OUTBOX_COLUMNS,
    f"ON CONFLICT (record_key, entry_id) DO UPDATE SET {_excluded(OUTBOX_COLUMNS[2:])}",
)
_INTENT_VALUES: Final = itemgetter(*INTENT_COLUMNS)
_FACT_VALUES: Final = itemgetter(*EVENT_COLUMNS)
_EFFECT_VALUES: Final = itemgetter(*OUTBOX_COLUMNS)
# A change made by hand may call aliases new that are there.
_PUT_ALIAS: Final = "INSERT INTO aliases (record_key, alias) VALUES (?, ?) ON CONFLICT DO NOTHING"
_KEYED: Final = f"{_WHOLE} FROM intents AS i WHERE i.record_key = :key"
_BLANK: Final = """
    UPDATE events SET document = :document
    WHERE record_key = :record_key AND event_key = :event_key
"""
_DROP_ALIAS: Final = "DELETE FROM aliases WHERE record_key = ? AND alias = ?"


class SQLiteReader:
    """What a query may use: connections that SQLite itself keeps from writing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        named: dict[str, str | int] = {"alias": alias, "limit": FOUND_MAX}
        if event is None:
            return self._records(_LOAD, named)
        return self._records(_LOAD_FOR, {**named, **alike(event)})

    def load_many(self, lookups: Sequence[Lookup]) -> Sequence[Sequence[Record]]:
        """See `xpay_flow.ports.BatchLoading`; what it saves is a hop into a thread for each."""
        return [self.load(alias, event) for alias, event in lookups]

    def versions(self, keys: Sequence[str]) -> Mapping[str, int]:
        """See `xpay_flow.ports.VersionReading`."""
        marks = ", ".join("?" for _ in keys)
        query = f"SELECT record_key, version FROM intents WHERE record_key IN ({marks})"
        with self._pool.reading() as connection:
            return dict(connection.execute(query, tuple(keys)))

    def history(self, alias: str) -> Sequence[Record]:
        """See `xpay_flow.ports.Reader`."""
        return self._records(_HISTORY, {"alias": alias, "limit": FOUND_MAX})

    def recent(
        self, limit: int, realms: Realms = EVERY_REALM, before: str = ""
    ) -> Sequence[Record]:
        """See `xpay_flow.ports.RecentListing`."""
        query, values = _of(realms, _RECENT_BEFORE if before else _RECENT)
        if before:
            values = {**values, "before": before}
        return self._records(query, {**values, "limit": limit})

    def _records(self, query: str, values: dict[str, str | int]) -> list[Record]:
        # One statement: the events must be those of the very version that is read.
        with self._pool.reading() as connection:
            return _found(connection, query, values)


def _found(
    connection: sqlite3.Connection, query: str, values: dict[str, str | int]
) -> list[Record]:
    try:
        found = connection.execute(query, values).fetchall()
    except UnicodeEncodeError:
        return []  # Half a character, in a foreign name: nothing is filed under it.
    return [from_texts(head, _texts(events), _texts(outbox)) for head, events, outbox in found]


def _texts(joined: str | None) -> Iterable[str]:
    # What `group_concat` joined with commas is read as it is; of nothing it makes null.
    return () if joined is None else (joined,)


class SQLiteStore(SQLiteReader):
    """Records in one SQLite file. See `xpay_flow.ports.Store`.

    Threads and processes may share the file; at most one of them writes at any moment. After
    about a second of waiting for the others, `StoreUnavailable` is raised; opening waits for 30.

    Args:
        path: the file; it is made if there is none, readable by its owner alone, in a folder that
            must exist. It may be a file of the shop's own: then our tables stand beside its tables,
            and its journal mode, `application_id` and `user_version` stay as they are.

    Raises:
        ConfigurationError: the path cannot be a database of ours, or its own tables have names of
            ours; the text gives the reason.
        SchemaMismatch: a newer version of this library has been here, and left this one behind.
        StoreUnavailable: the disk failed, or another process held the file for too long.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = _usable(path)
        _prepare(self._path)
        check = partial(refuse_another_file, str(self._path), identity(str(self._path)))
        super().__init__(Pool(partial(_connect, self._path, "rw"), check))
        # A webhook waits for one handler at most, and handlers wait for each other.
        self._cut_offs = CutOffs()
        self._transactions = Turns(1, "transactions of handlers")
        self._readers = Pool(partial(_connect, self._path, "ro"), check)

    @classmethod
    def from_url(cls, url: str) -> SQLiteStore:
        """`sqlite:///payments.db`, or with a fourth slash, `sqlite:////srv/payments.db`."""
        path = url.removeprefix(_PREFIX)
        if path == url:
            raise ConfigurationError(
                "write sqlite:/// and a path: sqlite:///payments.db, or sqlite:////srv/payments.db"
            )
        if "?" in path:
            raise ConfigurationError("the SQLite store takes no options after a question mark")
        return cls(path)

    def commit(self, change: Change) -> bool:
        """See `xpay_flow.ports.Store`."""
        with self._pool.writing() as connection:
            won = _put(connection, change)
        self._tidy(change)
        return won

    def commit_many(self, changes: Sequence[Change]) -> Sequence[bool]:
        """See `xpay_flow.ports.BatchCommitting`."""
        with self._pool.writing() as connection:
            won = [_put(connection, change) for change in changes]
        self._tidy(*changes)
        return won

    def commit_with(self, change: Change, work: Callable[[Any], object]) -> bool:
        """See `xpay_flow.ports.Transactional`; `work` is given a `sqlite3.Connection`.

        No other process can write to the file meanwhile, so `work` should take milliseconds.
        """
        try:
            # What a handler has set on its connection must not be met by the next to use it.
            with (
                self._transactions.taken(work),
                self._pool.writing(keep=False, owner=work) as connection,
            ):
                if won := _put(connection, change):
                    is_cut_off = partial(self._cut_offs.is_cut_off, work)
                    with (
                        alone_with(connection, is_cut_off),
                        self._cut_offs.around(work, connection),
                    ):
                        work(connection)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                # A constraint that is looked at last; it is not ours.
                raise HandlerRolledBack(
                    f"the database refused to commit: {error.__cause__}"
                ) from error
            raise
        self._tidy(change)
        return won

    def close_transaction(self, work: Callable[[Any], object]) -> None:
        """See `xpay_flow.ports.TransactionClosing`."""
        if self._cut_offs.cut_off(work):
            self._pool.give_back_turn(work)
            self._transactions.give_back(work)

    def blank_payloads(self, key: str) -> None:
        """See `xpay_flow.ports.Erasing`."""
        with self._pool.writing() as connection:
            for whole in _found(connection, _KEYED, {"key": key}):
                connection.executemany(_BLANK, blanked_rows(whole))

    def _tidy(self, *changes: Change) -> None:
        """What a commit has ended the need for is not left in the log, if no reader keeps it."""
        if any(change.record.erased != "no" for change in changes):
            with suppress(StoreUnavailable), self._pool.reading() as connection:
                empty_log(connection, tries=1)

    def scrub(self) -> None:
        """See `xpay_flow.ports.Erasing`: fold the log into the file, and empty it.

        What a commit replaces in the file is overwritten there (`PRAGMA secure_delete`).
        """
        with self._pool.reading() as connection:
            empty_log(connection)

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        """See `xpay_flow.ports.Store`."""
        query, values = _of(realms, _DUE[work])
        after_all, _ = _of(realms, _DUE_AFTER_ALL[work])
        sent: dict[str, str | int] = {**values, "now_ms": now_ms}
        with self._pool.reading() as connection:
            found = [key for (key,) in connection.execute(query, {**sent, "limit": limit})]
            if len(found) < limit:
                more = {"set_ms": believed_up_to(now_ms), "limit": limit - len(found)}
                found += [key for (key,) in connection.execute(after_all, {**sent, **more})]
        return found

    def reader(self) -> SQLiteReader:
        """The same records over connections that SQLite itself keeps from writing."""
        return SQLiteReader(self._readers)

    def close(self) -> None:
        """Close the file. Every later call of the store or its readers raises StoreUnavailable."""
        # Readers first: the last to close folds the log into the file, which a reader cannot.
        self._readers.close()
        self._pool.close()

    def __enter__(self) -> SQLiteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _put(connection: sqlite3.Connection, change: Change) -> bool:
    """The whole change, in the connection's transaction; False is a lost race."""
    if not _put_head(connection, change):
        return False
    key = change.record.key
    for recorded in change.new_events:
        connection.execute(_PUT_FACT, _FACT_VALUES(event_row(key, recorded)))
    for entry in change.changed_entries:
        connection.execute(_PUT_EFFECT, _EFFECT_VALUES(entry_row(key, entry)))
    _put_aliases(connection, change)
    return True


def _put_head(connection: sqlite3.Connection, change: Change) -> bool:
    """The record itself, if the stored version is the expected one."""
    key, *values = _INTENT_VALUES(intent_row(change.record))
    if not change.expected_version:
        return connection.execute(_PUT_NEW, (key, *values)).rowcount == 1
    expected = (*values, key, change.expected_version)
    return connection.execute(_PUT_NEXT, expected).rowcount == 1


def _put_aliases(connection: sqlite3.Connection, change: Change) -> None:
    key = change.record.key
    for alias in sorted(change.new_aliases):
        connection.execute(_PUT_ALIAS, (key, alias))
    for alias in sorted(change.old_aliases):
        connection.execute(_DROP_ALIAS, (key, alias))


# --- opening -------------------------------------------------------------------------------------


def _usable(path: str | os.PathLike[str]) -> Path:
    """The absolute path, unless it cannot be the path of a database."""
    name = os.fspath(path)
    if name == ":memory:":
        raise ConfigurationError("a database in memory loses payments; in tests use memory://")
    if not name or "\0" in name:
        raise ConfigurationError("the SQLite store needs the path of a file")
    # Absolute from here on: the program may change its directory.
    found = Path(name).absolute()
    if found.is_dir():
        raise ConfigurationError(f"{quoted(name)} is a folder; name a file in it")
    if not found.parent.is_dir():
        raise ConfigurationError(f"the folder of {quoted(name)} does not exist; make it first")
    return found


def _prepare(path: Path) -> None:
    """Make the database, or bring it up to date."""
    make_private(str(path))
    try:
        connection = _connect(path, "rwc", OPENING_WAIT_S)
        try:
            if is_our_file(connection) and write_ahead(connection) != "wal":
                raise ConfigurationError(f"{quoted(str(path))} is not on a local disk")
            migrate(connection)
        finally:
            # Closed again, since the program may be about to fork.
            connection.close()
    except sqlite3.Error as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: sqlite3.Error) -> ConfigurationError | StoreUnavailable:
    name = quoted(str(path))
    denied = f"{name} cannot be written; check the owner and the rights of the file and its folder"
    words = {
        sqlite3.SQLITE_NOTADB: f"{name} is a file, and not an SQLite database",
        sqlite3.SQLITE_CANTOPEN: denied,
        sqlite3.SQLITE_PERM: denied,
        sqlite3.SQLITE_READONLY: denied,
    }
    # The lower byte is the kind of error, the rest its detail.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in words:
        return ConfigurationError(words[code])
    return StoreUnavailable(f"{name} cannot be opened: {error}")


def _connect(
    path: Path, mode: Literal["ro", "rw", "rwc"], wait_s: float = WAIT_S
) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=wait_s,
        isolation_level=None,  # we execute BEGIN ourselves
        check_same_thread=False,  # the pool sees to it
    )
    try:
        keep_commits(connection)
        connection.execute(f"PRAGMA query_only = {'ON' if mode == 'ro' else 'OFF'}")
    except BaseException:
        # Such as a file that is no database: the connection is made before the file is read.
        connection.close()
        raise
    return connection
