"""How does a request stop before each transition, without the app's help? Its drivers are wrapped.

What `sqlite3.connect` gives is a subclass that stops; SQLAlchemy and Django go down to it. HTTP
clients and SMTP stop too, and nothing of them leaves the machine: the answer is made up here.

The wrappers do nothing in a process whose gate is open, so that an app starts as usual.
"""

from __future__ import annotations

import importlib
import io
import itertools
import json
import re
import socket
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from email.message import Message as Headers
from functools import cache, partial
from multiprocessing.connection import Connection as Pipe
from typing import Any, Final, TypeVar

import httpx

from xpay_flow.errors import ConfigurationError

from ..contract.drivers import DRIVERS, QUIET_SQL
from ..contract.statements import READING, resolved
from . import points
from .points import MAIL, At, Blocked, Done, Order, Point, user_line

Answer = TypeVar("Answer")
# Gives the file that is used in place of the one that the app opens.
Redirect = Callable[[Any], Any]

_INSIDE: ContextVar[bool] = ContextVar("inside", default=False)
_TIMEOUT: Final = re.compile(r"\s*PRAGMA\s+busy_timeout\s*=\s*(\d+)", re.IGNORECASE)
_QUIET: Final = re.compile(r"\s*(SAVEPOINT|ROLLBACK\s+TO)\b", re.IGNORECASE)
# A question about SQLite itself.
_TABLELESS: Final = re.compile(r"\s*SELECT\b(?!.*\bFROM\b)", re.IGNORECASE | re.DOTALL)
_ENDS: Final = re.compile(r"\s*(COMMIT|END|ROLLBACK)\b", re.IGNORECASE)
_BUSY, _BUSY_SNAPSHOT = 5, 517
_NUMBERS = itertools.count(1)


class Gate:
    """The gate of one process: each transition waits here for its order."""

    def __init__(self) -> None:
        self._pipe: Pipe | None = None
        self._turn = threading.Lock()
        self._done: Done | None = None

    def close(self, pipe: Pipe | None) -> None:
        """From now on each transition waits."""
        self._pipe = pipe

    def open(self) -> Done | None:
        """From now on nothing waits; gives what became of the last transition."""
        self._pipe = None
        return self._done

    @property
    def is_closed(self) -> bool:
        return self._pipe is not None and not _INSIDE.get()

    def step(
        self,
        point: Point,
        act: Callable[[], Answer],
        *,
        lost: Callable[[str], BaseException],
        shown: Callable[[Answer], str] = lambda _: "",
        is_open: Callable[[], bool] = lambda: False,
        waits: Callable[[Exception], bool] = lambda _: False,
    ) -> Answer:
        """Do it once its order has come.

        Args:
            lost: what the caller is given instead of an answer that was lost.
            shown: its answer, for a trace.
            is_open: whether a transaction is open now.
            waits: whether this error only states that another holds a lock.
        """
        with self._turn:
            order = self._arrive(point)
            inside = _INSIDE.set(True)
            try:
                if order in ("fail", "timeout"):
                    raise lost("timed out" if order == "timeout" else "connection lost")
                answer = self._patiently(act, waits)
                if order == "lose":
                    raise lost("connection lost")
            except BaseException as error:
                self._done = Done(error=points.words(error), in_transaction=is_open())
                raise
            finally:
                _INSIDE.reset(inside)
            self._done = Done(shown=shown(answer), in_transaction=is_open())
            return answer

    def _patiently(self, act: Callable[[], Answer], waits: Callable[[Exception], bool]) -> Answer:
        while True:
            try:
                return act()
            except Exception as error:
                if not waits(error) or self._sent(Blocked(points.words(error))) == "timeout":
                    raise

    def _arrive(self, point: Point) -> Order:
        done, self._done = self._done, None
        return self._sent(At(point, done))

    def _sent(self, message: At | Blocked) -> Order:
        assert self._pipe is not None
        self._pipe.send(message)
        order: Order = self._pipe.recv()
        return order


GATE: Final = Gate()


# --- SQLite --------------------------------------------------------------------------------------


class _Connection(sqlite3.Connection):
    """Stops before statements, and gives up no lock before it is ordered to."""

    patience = True
    has_read = has_written = False
    number = 0

    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        return super().cursor(_stopping(_Cursor, factory) if isinstance(factory, type) else factory)

    def execute(self, *arguments: Any) -> Any:
        return self.cursor().execute(*arguments)

    def executemany(self, *arguments: Any) -> Any:
        return self.cursor().executemany(*arguments)

    def executescript(self, *arguments: Any) -> Any:
        return self.cursor().executescript(*arguments)

    def commit(self) -> None:
        self.stop("COMMIT", (), super().commit)

    def rollback(self) -> None:
        self.stop("ROLLBACK", (), super().rollback)

    def close(self) -> None:
        self.stop("ROLLBACK", (), super().close)

    def __exit__(self, kind: Any, *_: Any) -> Any:
        if kind is not None:
            self.rollback()
            return False
        try:
            self.commit()
        except BaseException:
            self.rollback()
            raise
        return False

    def stop(self, sql: str, parameters: Any, act: Callable[[], Answer]) -> Answer:
        """Do it once its order has come, and see what it did to the transaction."""
        before = self._is_in_transaction()
        ends = _ENDS.match(sql)
        quiet = any(look.match(sql) for look in (QUIET_SQL, _QUIET, _TABLELESS))
        quiet = quiet or (ends is not None and not before)
        if quiet or not GATE.is_closed:
            return act()
        where, code = user_line()
        word = ends[1].upper() if ends else ""
        point = Point(
            kind="rollback" if word == "ROLLBACK" else "commit" if word else "sql",
            text=sql.strip(),
            parameters=_plain(parameters),
            where=where,
            code=code,
            connection=self.number,
            in_transaction=before,
            has_read=self.has_read,
            has_written=self.has_written,
            database="sqlite3",
        )
        try:
            answer = GATE.step(
                point,
                act,
                lost=_lost_sql,
                shown=lambda answer: answer.shown() if isinstance(answer, _Cursor) else "",
                is_open=self._is_in_transaction,
                waits=self._waits,
            )
        except BaseException:
            # What failed has taken no lock, and no snapshot.
            is_open = self._is_in_transaction()
            self.has_read, self.has_written = (
                is_open and self.has_read,
                is_open and self.has_written,
            )
            raise
        self.has_read = self._is_in_transaction()
        self.has_written = self.has_read and (self.has_written or not READING.match(sql))
        return answer

    def _is_in_transaction(self) -> bool:
        try:
            return self.in_transaction
        except sqlite3.ProgrammingError:
            return False  # closed

    def _waits(self, error: Exception) -> bool:
        # SQLite waits for no lock in a transaction that has read and now wants to write: the other
        # could be waiting for it to end.
        code = getattr(error, "sqlite_errorcode", 0)
        ending = self.has_written or not self.has_read
        return self.patience and code & 0xFF == _BUSY and code != _BUSY_SNAPSHOT and ending


class _Cursor(sqlite3.Cursor):
    """Stops before statements, and takes all rows at once."""

    kept: deque[Any] | None = None

    def execute(self, sql: str, *parameters: Any) -> Any:
        connection: Any = self.connection
        if set_timeout := _TIMEOUT.match(sql):
            connection.patience = set_timeout[1] != "0"
            sql = "PRAGMA busy_timeout = 0"
        given = parameters[0] if parameters else ()
        run = super().execute
        return connection.stop(sql, given, lambda: self._run(lambda: run(sql, *parameters)))

    def executemany(self, sql: str, parameters: Any) -> Any:
        given = list(parameters)
        run = super().executemany
        return self._stopped(sql, lambda: run(sql, given))

    def executescript(self, script: str) -> Any:
        run = super().executescript
        return self._stopped(script, lambda: run(script))

    def _stopped(self, sql: str, run: Callable[[], Any]) -> Any:
        connection: Any = self.connection
        return connection.stop(sql, (), lambda: self._run(run))

    def _run(self, run: Callable[[], Any]) -> _Cursor:
        self.kept = None
        run()
        if GATE.is_closed or _INSIDE.get():
            self.kept = deque(super().fetchall()) if self.description is not None else None
        return self

    def shown(self) -> str:
        """What it gave, for a trace."""
        if self.kept is None:
            return f"{self.rowcount} row{'s' * (self.rowcount != 1)}" if self.rowcount >= 0 else ""
        rows = [
            ", ".join(map(repr, tuple(row)))
            for row in itertools.islice(self.kept, points.ROWS_SHOWN_MAX)
        ]
        more = len(self.kept) - len(rows)
        return "; ".join(rows) + (f"; {more} more" if more else "") if rows else "no row"

    def fetchone(self) -> Any:
        if self.kept is None:
            return super().fetchone()
        return self.kept.popleft() if self.kept else None

    def fetchmany(self, size: int | None = None) -> Any:
        wanted = self.arraysize if size is None else size
        if self.kept is None:
            return super().fetchmany(wanted)
        return [self.kept.popleft() for _ in range(min(wanted, len(self.kept)))]

    def fetchall(self) -> Any:
        if self.kept is None:
            return super().fetchall()
        rows = list(self.kept)
        self.kept.clear()
        return rows

    def __iter__(self) -> Any:
        return iter(self.fetchone, None)

    def __next__(self) -> Any:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row


@cache
def _stopping(kind: type, base: type) -> type:
    return base if issubclass(base, kind) else type(base.__name__, (kind, base), {})


def _plain(parameters: Any) -> Any:
    if isinstance(parameters, dict):
        return {str(name): _plain_value(value) for name, value in parameters.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return tuple(_plain_value(value) for value in parameters or ())


def _plain_value(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bytes | None) else repr(value)


def _lost_sql(why: str) -> Exception:
    return sqlite3.OperationalError(why)


def _wrap_sqlite(redirect: Redirect) -> None:
    real = sqlite3.connect
    names = ["database", "timeout", "detect_types", "isolation_level", "check_same_thread"]
    names += ["factory", "cached_statements", "uri"]

    def connect(*arguments: Any, **named: Any) -> Any:
        given = dict(zip(names, arguments, strict=False)) | named
        base = given.get("factory") or sqlite3.Connection
        if isinstance(base, type):
            given["factory"] = _stopping(_Connection, base)
        patience = given.pop("timeout", 5.0) > 0
        connection: Any = real(redirect(given.pop("database")), timeout=0, **given)
        connection.patience, connection.number = patience, next(_NUMBERS)
        return connection

    dbapi: Any = sqlite3.dbapi2  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
    sqlite3.connect = dbapi.connect = connect


# --- outgoing calls ------------------------------------------------------------------------------


def _call(
    text: str, act: Callable[[], Answer], lost: Callable[[str], BaseException], key: str = ""
) -> Answer:
    """An outgoing call; nothing of it leaves the machine."""
    if not GATE.is_closed:
        return act()
    where, code = user_line()
    point = Point(kind="call", text=text, where=where, code=code, key=key)
    return GATE.step(point, act, lost=lost)


def _wrap_httpx() -> None:
    def answered(request: httpx.Request) -> httpx.Response:
        return _call(
            f"{request.method} {request.url.copy_with(query=None)}",
            lambda: httpx.Response(200, json={}, request=request),
            lambda why: (httpx.ReadTimeout if why == "timed out" else httpx.ReadError)(why),
            request.headers.get("idempotency-key", ""),
        )

    def handle(_: Any, request: httpx.Request) -> httpx.Response:
        return answered(request)

    async def handle_later(_: Any, request: httpx.Request) -> httpx.Response:
        return answered(request)

    transports: Any = httpx
    transports.HTTPTransport.handle_request = handle
    transports.AsyncHTTPTransport.handle_async_request = handle_later


def _wrap_requests() -> None:
    try:
        module: Any = importlib.import_module("requests")
    except ImportError:
        return

    def send(_: Any, request: Any, **__: Any) -> Any:
        def act() -> Any:
            response = module.Response()
            response.status_code, response._content = 200, b"{}"
            response.request, response.url = request, request.url
            return response

        key = request.headers.get("idempotency-key", "")
        where = request.url.partition("?")[0]
        errors = module.exceptions
        return _call(
            f"{request.method} {where}",
            act,
            lambda why: (errors.Timeout if why == "timed out" else errors.ConnectionError)(why),
            key,
        )

    module.adapters.HTTPAdapter.send = send


def _wrap_urllib() -> None:
    import urllib.request
    import urllib.response

    def opened(_: Any, fullurl: Any, data: Any = None, __: Any = None) -> Any:
        request = fullurl if not isinstance(fullurl, str) else urllib.request.Request(fullurl, data)
        url = request.full_url.partition("?")[0]
        headers = {name.lower(): value for name, value in request.header_items()}

        def act() -> Any:
            return urllib.response.addinfourl(
                io.BytesIO(json.dumps({}).encode()), Headers(), url, 200
            )

        key = headers.get("idempotency-key", "")
        return _call(f"{request.get_method()} {url}", act, _lost_socket, key)

    director: Any = urllib.request.OpenerDirector
    director.open = opened


def _wrap_smtp() -> None:
    import smtplib

    smtp: Any = smtplib.SMTP
    for name in ("ehlo", "helo", "starttls", "login", "quit", "noop", "rset"):
        setattr(smtp, name, _always((250, b"ok")))
    smtp.connect = _always((220, b"ready"))
    smtp.ehlo_or_helo_if_needed = smtp.close = _always(None)

    def docmd(_: Any, command: str, *__: Any) -> Any:
        return (221 if command.upper() == "QUIT" else 250, b"ok")

    def sendmail(_: Any, __: Any, to: Any, *___: Any, **____: Any) -> Any:
        receivers = to if isinstance(to, str) else ", ".join(to)
        return _call(f"{MAIL}{receivers}", dict[str, Any], _lost_socket)

    smtp.docmd, smtp.sendmail = docmd, sendmail


def _always(answer: Any) -> Callable[..., Any]:
    return lambda *_, **__: answer  # pyright: ignore[reportUnknownLambdaType]


def _lost_socket(why: str) -> Exception:
    return TimeoutError(why) if why == "timed out" else ConnectionResetError(why)


def _bar_sockets(allowed: frozenset[str]) -> None:
    """What is no known client cannot be answered here, and may do harm: it is refused."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        host = address if isinstance(address, str) else str(address[0])
        if host not in allowed:
            raise ConfigurationError(
                f"the app opens a connection to {host}, at {user_line()[0]}; nothing leaves a "
                f"check, so put a stand-in there, or allow it by name"
            )
        real(self, address)

    sockets: Any = socket.socket
    sockets.connect = connect


def _bar_databases() -> None:
    """A database server cannot be put back here, and a check would write into the real one."""
    for driver in DRIVERS:
        if driver.name in ("sqlite3", "logging", "files"):
            continue
        with suppress(ImportError):
            module: Any = importlib.import_module(driver.module)
            for path in ("connect", "Connection.connect", "AsyncConnection.connect", *driver.opens):
                owner, _, name = path.rpartition(".")
                target = resolved(driver.module, owner) if owner else module
                if target is not None and hasattr(target, name):
                    setattr(target, name, partial(_refused, driver.name))


def _refused(driver: str, *_: Any, **__: Any) -> Any:
    raise ConfigurationError(
        f"the app opens a database by {driver}, at {user_line()[0]}; a check of an app runs on "
        "SQLite only, so point it at an SQLite file for the check"
    )


def wrap_drivers(redirect: Redirect, allowed: frozenset[str]) -> None:
    """Wrap all drivers that are known, for this process and those that it forks."""
    _wrap_sqlite(redirect)
    _wrap_httpx()
    _wrap_requests()
    _wrap_urllib()
    _wrap_smtp()
    _bar_sockets(allowed)
    _bar_databases()
