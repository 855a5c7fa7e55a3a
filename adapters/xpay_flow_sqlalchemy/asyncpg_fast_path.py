"""How does a webhook reach PostgreSQL with as little as possible in between? On asyncpg itself.

The statements are SQLAlchemy's, compiled once; asyncpg has them prepared once
for each connection. A statement is one round trip and a transaction by itself, so there is nothing
to begin, to end or to reset. Whatever is rare, or needs a transaction, goes by the engine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Final

import attrs
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from xpay_flow.stores.turns import AsyncTurns

from . import engines
from .database import Database

# A connection unused for so long was opened for a rush that is over.
UNUSED_S: Final = 60.0
# How long a close may take, in which the server cancels the running statement.
CLOSE_S: Final = 2.0
# A webhook has its own deadline; a customer waits no longer either.
TURN_WAIT_S: Final = 5.0


class Direct(Database):
    """The `Database` for single statements, over connections beside the engine's."""

    def __init__(self, where: engines.Place, engine: Engine) -> None:
        super().__init__(engine)
        most = min(engines.DIRECT, where.connections)
        self.connections = Connections(engines.asyncpg_connect(where, engine), most)
        self._words: dict[Any, _Compiled] = {}

    def _connect(self, engine: Engine) -> Any:
        # Others begin transactions, and those go by the engine.
        assert engine is self._usual
        return _Lent(await_only(self.connections.take()), self.connections, self.compiled_for)

    def compiled_for(self, statement: Any) -> _Compiled:
        """The statement compiled for asyncpg."""
        if statement not in self._words:
            compiled = statement.compile(dialect=self.engine.dialect)
            self._words[statement] = _Compiled(str(compiled), tuple(compiled.positiontup))
        return self._words[statement]


@attrs.frozen
class _Compiled:
    """A statement's text, and which value stands in which place."""

    text: str
    names: tuple[str, ...]


@attrs.define(eq=False)
class _Open:
    """A connection of asyncpg, and what we have noted about it."""

    driver_connection: Any
    info: dict[str, Any] = attrs.Factory(dict[str, Any])
    idle_since: float = 0.0
    # Its turn of the pool's, while it is lent.
    place: asyncio.Semaphore | None = None

    @property
    def idle_s(self) -> float:
        return monotonic() - self.idle_since


class _Lent:
    """A connection of the pool, with the methods of SQLAlchemy's that our statements use."""

    def __init__(
        self, lent: _Open, owner: Connections, compiled_for: Callable[[Any], _Compiled]
    ) -> None:
        self.connection, self._owner, self._compiled_for = lent, owner, compiled_for
        self.info = lent.info
        self.closed = False

    def execute(self, statement: Any, values: Mapping[str, Any]) -> _Rows:
        """The rows. Raises DBAPIError, as SQLAlchemy does."""
        words = self._compiled_for(statement)
        arguments = [values[name] for name in words.names]
        try:
            rows = await_only(self.connection.driver_connection.fetch(words.text, *arguments))
        except TimeoutError:
            # The driver's own, or the network's: the outcome is unknown, and no second wait
            # follows.
            raise
        except Exception as error:
            lost = _is_lost(self.connection.driver_connection, error)
            if lost:
                # The idle ones were connected to the same server.
                self._owner.end_all()
            raise DBAPIError(
                None, None, error, hide_parameters=True, connection_invalidated=lost
            ) from error
        return _Rows(rows)

    def commit(self) -> None:
        """Each statement has committed by itself."""

    def invalidate(self) -> None:
        """Close it for good; its statement is cancelled, if the server can be reached."""
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
    """The rows of a statement, with the methods of SQLAlchemy's result."""

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

    def __init__(self, connect: Callable[[], Awaitable[Any]], most: int) -> None:
        self._connect = connect
        self._loop: asyncio.AbstractEventLoop | None = None
        self._most = most
        self._turns = AsyncTurns(most, "connections to the database", TURN_WAIT_S)
        self._idle: list[_Open] = []
        self._left_behind: list[_Open] = []
        self._ends: set[asyncio.Task[None]] = set()
        self._pid = os.getpid()
        self._is_closed = False

    async def take(self) -> _Open:
        """An exclusive connection, until `give_back` or `give_up`."""
        self._start_afresh_in(asyncio.get_running_loop())
        place = await self._turns.take()
        try:
            return attrs.evolve(await self._idle_or_new(), place=place)
        except BaseException:
            place.release()
            raise

    async def _idle_or_new(self) -> _Open:
        while self._idle:
            found = self._idle.pop()
            if await self._lives(found):
                return found
        return _Open(await self._connect())

    def _start_afresh_in(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            if self._pid != os.getpid():
                # In a forked child what is open belongs to the parent, whose connections would end
                # if they were closed, or cleared away, here.
                self._left_behind += self._idle
            # Those of a loop that has ended cannot be used, nor closed, in another.
            self._idle, self._ends = [], set()
            self._loop, self._pid = loop, os.getpid()

    async def _lives(self, found: _Open) -> bool:
        if found.driver_connection.is_closed():
            return False
        if found.idle_s <= engines.IDLE_S:
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
        """Return a usable connection to the pool."""
        if self._is_closed:
            self.give_up(lent)
            return
        lent.idle_since = monotonic()
        self._idle.append(lent)
        if self._idle[0].idle_s > UNUSED_S:
            self._end(self._idle.pop(0))
        _place(lent).release()

    def give_up(self, lent: _Open) -> asyncio.Task[None]:
        """Close it; its place is free once it is closed, so the pool's limit always holds."""
        end = self._end(lent)
        end.add_done_callback(lambda _: _place(lent).release())
        return end

    def end_all(self) -> None:
        """Close all that are idle."""
        while self._idle:
            self._end(self._idle.pop())

    def _end(self, ended: _Open) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(_close(ended.driver_connection))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        return task

    async def close(self) -> None:
        """Close all that are idle, and those in use as they come back."""
        self._start_afresh_in(asyncio.get_running_loop())
        self._is_closed = True
        self.end_all()
        await asyncio.gather(*self._ends)


def _place(lent: _Open) -> asyncio.Semaphore:
    assert lent.place is not None
    return lent.place


async def _close(driver: Any) -> None:
    """Close it; a statement that is under way is stopped first."""
    try:
        await driver.close(timeout=CLOSE_S)
    except Exception:
        driver.terminate()
