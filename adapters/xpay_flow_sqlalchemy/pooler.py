"""Is a connection pooler between us and PostgreSQL, and what must we leave out because of it?

A pooler in transaction mode (PgBouncer and its likes) lends a connection of the server to a client
for one transaction. What a session keeps is then lost, or is another
client's: prepared statements, settings, locks of the session. With `pooler=transaction` in the URL
we use none of them, and hold no row lock while a handler runs: it would keep a connection of the
server for as long.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from time import monotonic
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, Engine, event, text

from xpay_flow.errors import ConfigurationError, StoreUnavailable

from .database import Database

TRANSACTION: Final = "transaction"

# What the start has found: `unknown` is a pooler that may have any mode but shows no change.
Found: TypeAlias = Literal["none", "transaction", "unknown"]

ADD_OPTION: Final = (
    "a connection pooler in transaction mode is between this program and PostgreSQL: add "
    '?pooler=transaction to the URL of the store (pooler="transaction" with an engine of your '
    "own), or connect to PostgreSQL itself"
)
PREPARES: Final = (
    "this engine prepares statements, which a pooler in transaction mode mixes up: create it with "
    'connect_args={"prepare_threshold": None} for psycopg, or for asyncpg with '
    '"statement_cache_size": 0, "prepared_statement_cache_size": 0 and '
    '"prepared_statement_name_func": lambda: ""'
)

# A pooler answers so to start-up parameters that it would have to keep for each client.
_REFUSES_SETTINGS: Final = "unsupported startup parameter"
# Clients beside the first; with so many transactions open, one of them is likely to have been
# given the first one's connection of the server.
_OTHERS: Final = 3
_PID: Final = text("SELECT pg_backend_pid()")


def options(driver: str, limit_s: float | None) -> dict[str, Any]:
    """The options with which a driver prepares nothing, in its own words.

    Args:
        limit_s: of the wait for one statement; a limit in the server would be a setting.
    """
    match driver:
        case "psycopg":
            return {"prepare_threshold": None}
        case "psycopg_async":
            limited = {"async_creator_fn": _limited_async(limit_s)} if limit_s else {}
            return {"prepare_threshold": None, **limited}
        case "asyncpg":
            return {
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": str,
                "command_timeout": limit_s,
            }
        case _:
            raise ConfigurationError(f"pooler={TRANSACTION} is for PostgreSQL, not for {driver}")


# --- a limit for each statement of psycopg -------------------------------------------------------


def limit_statements(engine: Engine, limit_s: float) -> None:
    """Have the blocking psycopg give up a statement that is not answered in time."""
    if engine.dialect.driver == "psycopg":

        @event.listens_for(engine, "do_connect")
        def connect(_: Any, __: Any, words: Any, arguments: Any) -> Any:
            return _limited(limit_s).connect(*words, **arguments)


def _limited(limit_s: float) -> Any:
    import psycopg

    class LimitedConnection(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
            return super().wait(_in_time(gen, limit_s), *args, **options)

    return LimitedConnection


def _limited_async(limit_s: float) -> Any:
    import psycopg

    class LimitedAsyncConnection(psycopg.AsyncConnection[Any]):
        async def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
            return await super().wait(_in_time(gen, limit_s), *args, **options)

    return LimitedAsyncConnection.connect


def _in_time(gen: Any, limit_s: float) -> Generator[Any, Any, Any]:
    """What psycopg waits for, which it looks at ten times a second also while nothing comes."""
    import psycopg

    ends = monotonic() + limit_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and monotonic() > ends:
                raise psycopg.OperationalError(f"no answer within {limit_s:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


# --- what is in between --------------------------------------------------------------------------


def found(database: Database, clients: int) -> Found:
    """What is between us and the server.

    Args:
        clients: how many connections may be open at once.
    """
    # A pooler gives each client a number of its own, which is no process of the server.
    with database.connected(database.engine) as first:
        server = _server(first)
        if server == _announced(first):
            return "none"
        with ExitStack() as stack:
            for _ in range(min(_OTHERS, clients - 1)):
                other = stack.enter_context(database.connected(database.engine))
                # It keeps its transaction, and with it the server's process.
                if _server(other, end=False) == server:
                    return "transaction"
        return "unknown" if _server(first) == server else "transaction"


def _server(connection: Connection, *, end: bool = True) -> int:
    pid = connection.execute(_PID).scalar_one()
    if end:
        connection.commit()
    return int(pid)


def _announced(connection: Connection) -> int:
    driver: Any = connection.connection.driver_connection
    if hasattr(driver, "get_server_pid"):
        return int(driver.get_server_pid())
    return int(driver.pgconn.backend_pid)


def refuse_unless_named(database: Database, clients: int) -> Found:
    """What is in between, where the option is not given.

    Raises:
        ConfigurationError: a pooler in transaction mode.
    """
    it = _looked(lambda: found(database, clients))
    if it == "transaction":
        raise ConfigurationError(ADD_OPTION)
    return it


def _looked(look: Callable[[], Found]) -> Found:
    try:
        return look()
    except StoreUnavailable as error:
        if _REFUSES_SETTINGS in str(error.__cause__):
            raise ConfigurationError(ADD_OPTION) from error
        raise


def refuse_prepared(connection: Connection) -> None:
    """Raise ConfigurationError if the engine would prepare statements under names."""
    driver: Any = connection.connection.driver_connection
    adapted: Any = connection.connection.dbapi_connection
    name = getattr(adapted, "_prepared_statement_name_func", None)
    if getattr(driver, "prepare_threshold", None) is not None or (name is not None and name()):
        raise ConfigurationError(PREPARES)
