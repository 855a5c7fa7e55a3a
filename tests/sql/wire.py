"""What goes over the wire to a database? A loopback proxy that counts turns, and can cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

CHUNK_BYTES = 65536


class Wire:
    """Connections on `port` reach the database; each change of speaker to the client is a turn.

    A client that waits for its answer takes one turn for each round trip.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.turns = 0
        self._cut_after: bytes | None = None
        self.was_cut = False
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut_after(self, words: bytes) -> None:
        """Carry what holds these words to the database, and its answer nowhere."""
        self._cut_after, self.was_cut = words, False

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for end in self._open:
            _end(end)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                carrying = threading.Thread(target=self._carry, args=(client, server), daemon=True)
                self._threads.append(carrying)
                carrying.start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        """Both directions of one connection, the server's in a thread of its own."""
        state = {"speaker": "server", "silent": ""}

        def answers() -> None:
            with suppress(OSError):
                while data := server.recv(CHUNK_BYTES):
                    if state["silent"]:
                        break
                    state["speaker"] = "server"
                    client.sendall(data)
            _end(client)

        answering = threading.Thread(target=answers, daemon=True)
        answering.start()
        with suppress(OSError):
            while data := client.recv(CHUNK_BYTES):
                if state["speaker"] == "server":
                    self.turns += 1
                state["speaker"] = "client"
                if self._cut_after is not None and self._cut_after in data:
                    state["silent"] = "from now on"
                    self._cut_after, self.was_cut = None, True
                server.sendall(data)
        _end(server)
        answering.join(10)
        client.close()
        server.close()


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire_to(host: str | None, port: int | None) -> Generator[Wire]:
    wire = Wire((host or "127.0.0.1", port or 0))
    try:
        yield wire
    finally:
        wire.close()
