"""How does a test get a connection pooler in front of PostgreSQL? With Debian's PgBouncer."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from servers import (
    READY_S,
    WANTS,
    NotThere,
    absent,
    as_somebody,
    brief_wait,
    free_port,
    give_away,
)
from sqlalchemy import URL

from .kit import Place

ENDS_S: Final = 10.0
# What a pooler must be told that ignores settings of a session, and does not refuse them.
IGNORES_SETTINGS: Final = {
    "ignore_startup_parameters": "options,statement_timeout,lock_timeout,extra_float_digits"
}


class Pooler:
    """PgBouncer in front of a database, in the folder `home`, which is its own.

    Raises:
        NotThere: there is none on this machine; the text names what to install.
    """

    def __init__(self, url: URL, home: Path, **options: object) -> None:
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        if program is None:
            raise NotThere(f"{WANTS}PgBouncer: apt-get install pgbouncer")
        self.port, self.kills = free_port(), 0
        self._home, self._process = home, None
        self._command = [program, str(home / "pgbouncer.ini")]
        home.chmod(0o755)
        config = home / "pgbouncer.ini"
        config.write_text(_config(url, self.port, {"pool_mode": "transaction", **options}))
        config.chmod(0o644)
        give_away(home)

    _process: subprocess.Popen[bytes] | None

    def start(self) -> None:
        """Come back when it listens."""
        with (self._home / "out").open("a") as out:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **as_somebody(self._home),
            )
        _await_port(self._process, self.port, self._home / "out")

    def kill(self) -> None:
        """SIGKILL, as if its machine had stopped."""
        self.kills += 1
        self.stop()

    def stop(self) -> None:
        """The end, which it does not notice; twice is once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(ENDS_S)
            self._process = None


@contextmanager
def pooler(place: Place, mode: str = "transaction", **options: object) -> Generator[Place]:
    """The same database through PgBouncer."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            it = Pooler(place.url, Path(folder), pool_mode=mode, **options)
        except NotThere as error:
            absent(str(error))
            raise
        try:
            it.start()
            yield Place(place.url.set(host="127.0.0.1", port=it.port), place.kind)
        finally:
            it.stop()


def _config(url: URL, port: int, options: dict[str, object]) -> str:
    server = {"host": url.host, "port": url.port or 5432, "user": url.username or "postgres"}
    if url.password:
        server["password"] = url.password
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        **options,
    }
    return "\n".join(
        [
            "[databases]",
            f"* = {' '.join(f'{name}={value}' for name, value in server.items())}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
            "",
        ]
    )


def _await_port(process: subprocess.Popen[bytes], port: int, out: Path) -> None:
    for _ in range(int(READY_S * 20)):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            brief_wait()
            continue
        return
    raise AssertionError(f"PgBouncer did not start:\n{out.read_text()}")
