"""How does a webhook reach PostgreSQL with as little as possible in between? On asyncpg itself.

The statements are those that SQLAlchemy knows, put into words once; asyncpg has them prepared once
for each connection. A statement is one round trip and a transaction by itself, so there is nothing
to begin, to end or to reset. Whatever is rare, or needs a transaction, goes by the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Final

import attrs
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from . import engines
from .database import Database

# A connection that nobody has needed for so long was for a rush that is over.
UNUSED_S: Final = 60.0
# How long an end may take, in which the server is told to stop what it was at.
GOODBYE_S: Final = 2.0


class Direct(Database):
    """What an engine's database is for single statements, over connections beside the engine's."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.connections = Connections(engines.asyncpg_connect(engine))
        self._words: dict[Any, _Words] = {}

    def _connect(self, engine: Engine) -> Any:
        # Others begin transactions, and those go by the engine.
        assert engine is self._usual
        return _Lent(await_only(self.connections.take()), self.connections, self.words_of)

    def words_of(self, statement: Any) -> _Words:
        """The statement as asyncpg takes it."""
        if statement not in self._words:
            compiled = statement.compile(dialect=self.engine.dialect)
            self._words[statement] = _Words(str(compiled), tuple(compiled.positiontup))
        return self._words[statement]


@attrs.frozen
class _Words:
    """A statement's text, and which value stands in which place."""

    text: str
    names: tuple[str, ...]


@attrs.define(eq=False)
class _Open:
    """A connection of asyncpg, and what we have noted about it."""

    driver_connection: Any
    info: dict[str, Any] = attrs.Factory(dict[str, Any])
    rests_since: float = 0.0

    @property
    def rested_s(self) -> float:
        return monotonic() - self.rests_since


class _Lent:
    """One of them, as far as our statements need a connection of SQLAlchemy's."""

    def __init__(self, lent: _Open, owner: Connections, words_of: Callable[[Any], _Words]) -> None:
        self.connection, self._owner, self._words_of = lent, owner, words_of
        self.info = lent.info
        self.closed = False

    def execute(self, statement: Any, values: Mapping[str, Any]) -> _Rows:
        """The rows. Raises DBAPIError, as SQLAlchemy does."""
        words = self._words_of(statement)
        arguments = [values[name] for name in words.names]
        try:
            rows = await_only(self.connection.driver_connection.fetch(words.text, *arguments))
        except TimeoutError:
            # The driver's own, or the network's: nobody knows, and nobody should wait again.
            raise
        except Exception as error:
            lost = _is_lost(self.connection.driver_connection, error)
            if lost:
                # Those that rest were connected to the same server.
                self._owner.end_all()
            raise DBAPIError(
                None, None, error, hide_parameters=True, connection_invalidated=lost
            ) from error
        return _Rows(rows)

    def commit(self) -> None:
        """Each statement has committed by itself."""

    def invalidate(self) -> None:
        """Nobody uses it again; what it was at has been stopped, if the server can be reached."""
        self.closed = True
        await_only(asyncio.shield(self._owner.give_up(self.connection)))

    def __enter__(self) -> _Lent:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.closed:
            self._owner.give_back(self.connection)


def _is_lost(driver: Any, error: Any) -> bool:
    """Whether this is the end of the connection, and not the answer to a statement."""
    asyncpg = engines.asyncpg_module()
    if not isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return True
    return bool(driver.is_closed()) or getattr(error, "severity_en", None) in ("FATAL", "PANIC")


class _Rows:
    """What a statement has found, in SQLAlchemy's words."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def all(self) -> Sequence[Any]:
        return self._rows

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def scalars(self) -> Iterable[Any]:
        return (row[0] for row in self._rows)


# --- the pool ------------------------------------------------------------------------------------


class Connections:
    """A bounded number of connections in one event loop; who comes first is served first.

    The one used last is taken first, so that those of a rush grow old, and are closed.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = asyncio.Semaphore()
        self._idle: list[_Open] = []
        self._left_behind: list[_Open] = []
        self._ends: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def take(self) -> _Open:
        """One that nobody else uses, to be given back or up."""
        self._start_afresh_in(asyncio.get_running_loop())
        await self._turns.acquire()
        try:
            while self._idle:
                found = self._idle.pop()
                if await self._lives(found):
                    return found
            return _Open(await self._connect())
        except BaseException:
            self._turns.release()
            raise

    def _start_afresh_in(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            # Perhaps in a forked child: what is open belongs to the parent, whose connections
            # would end if they were closed, or cleared away, here.
            self._left_behind += self._idle
            self._idle, self._loop = [], loop
            self._turns = asyncio.Semaphore(engines.KEPT + engines.MORE_IN_A_RUSH)

    async def _lives(self, found: _Open) -> bool:
        if found.driver_connection.is_closed():
            return False
        if found.rested_s <= engines.RESTED_S:
            return True
        try:
            await found.driver_connection.fetchrow(";")
        except BaseException as error:
            self._end(found)
            if isinstance(error, Exception):
                return False
            raise
        return True

    def give_back(self, lent: _Open) -> None:
        """It is as it was."""
        if self._is_closed:
            self.give_up(lent)
            return
        lent.rests_since = monotonic()
        self._idle.append(lent)
        if self._idle[0].rested_s > UNUSED_S:
            self._end(self._idle.pop(0))
        self._turns.release()

    def give_up(self, lent: _Open) -> asyncio.Task[None]:
        """Its turn ends when it has ended, so that there are never more than there may be."""
        end = self._end(lent)
        end.add_done_callback(lambda _: self._turns.release())
        return end

    def end_all(self) -> None:
        """Close all that rest."""
        while self._idle:
            self._end(self._idle.pop())

    def _end(self, ended: _Open) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(_said_goodbye(ended.driver_connection))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        return task

    async def close(self) -> None:
        """End all that rest, and then those in use as they come back."""
        self._is_closed = True
        self.end_all()
        await asyncio.gather(*self._ends)


async def _said_goodbye(driver: Any) -> None:
    """Close it; a statement that is under way is stopped first."""
    try:
        await driver.close(timeout=GOODBYE_S)
    except Exception:
        driver.terminate()
