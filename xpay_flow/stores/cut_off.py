"""How does one thread end a transaction that hangs in another thread?

No driver may be called by two threads at once, so a connection over a network is shut down below
it: the server rolls back, and the driver finds its connection broken when it is next used. SQLite
itself lets two threads use a connection, but not while one of them closes it.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

# How long a statement of the other thread may still run.
PATIENCE_S: Final = 0.2


class CutOffs:
    """The transactions in which handlers run, by what the handler was given to a store as."""

    def __init__(self) -> None:
        self._open: dict[int, _Transaction] = {}

    @contextmanager
    def around(self, work: object, connection: Any) -> Generator[None, None, None]:
        """A block in which `work` uses the connection. It ends after a cut that has begun."""
        opened = self._open[id(work)] = _Transaction(connection)
        try:
            yield
        finally:
            self._open.pop(id(work), None)
            with opened.lock:
                opened.has_ended = True

    def cut_off(self, work: object) -> bool:
        """Roll back the transaction of this work; False if it has ended by itself."""
        opened = self._open.get(id(work))
        if opened is None:
            return False
        with opened.lock:
            if opened.has_ended:
                return False
            opened.is_cut_off = True
            _cut_off(opened.connection)
            return True

    def is_cut_off(self, work: object) -> bool:
        """Whether the transaction of this work is being ended, or was."""
        opened = self._open.get(id(work))
        return opened is not None and opened.is_cut_off


class _Transaction:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        # Held by the thread that cuts it off; the other must not close the connection meanwhile.
        self.lock = threading.Lock()
        self.has_ended = self.is_cut_off = False


def _cut_off(connection: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        _roll_back(connection)
        return
    with suppress(OSError, ValueError):
        # PyMySQL names its socket, and others the number of its file.
        open_socket = getattr(connection, "_sock", None)
        if open_socket is not None:
            open_socket.shutdown(socket.SHUT_RDWR)
        elif callable(number_of := getattr(connection, "fileno", None)):
            number = cast(int, number_of())
            with socket.socket(fileno=os.dup(number)) as copy:
                copy.shutdown(socket.SHUT_RDWR)


def _roll_back(connection: sqlite3.Connection) -> None:
    # A statement that is running keeps us waiting; after a while it is interrupted. Not before:
    # with a cursor that is in use, our own statement would be interrupted, too. (Other calls, such
    # as `set_authorizer`, would wait without letting the other thread go on.)
    interrupts = threading.Timer(PATIENCE_S, _interrupt, (connection,))
    interrupts.daemon = True
    interrupts.start()
    try:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
    finally:
        interrupts.cancel()


def _interrupt(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        connection.interrupt()
