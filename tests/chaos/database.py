"""How is a PostgreSQL server killed, and started again on what it left behind?

Unlike the server of the other tests this one waits for its disk, and keeps check sums.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import servers
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

READY_S: Final = 30.0
LOOK_S: Final = 0.1
STARTS: Final = 50
LOG_CHARS: Final = 3000
RECOVERED: Final = "database system was not properly shut down; automatic recovery in progress"


class Broken(Exception):
    """The server did not come back, or its pages are damaged; the text is its log's."""


class Server:
    """A PostgreSQL server of our own, on a loopback port and in the folder `home`.

    Raises:
        NotThere: there is no PostgreSQL on this machine; the text names what to install.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.data = home, home / "data"
        self.port = servers.free_port()
        self.kills = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries = servers.postgresql_binaries(home)
        servers.give_away(home)
        how = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--username=postgres"]
        self._run("initdb", "-D", str(self.data), *how, "--no-sync", "--data-checksums")

    def url(self, driver: str) -> str:
        return f"postgresql+{driver}://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Come back when it answers; after a kill that is when it has recovered. Raises Broken."""
        for _ in range(STARTS):
            self._process = self._started()
            if self._answers(self._process):
                return
            # A killed back end may still be ending, and until then the server refuses to start.
            time.sleep(LOOK_S)
        raise Broken(f"PostgreSQL did not start:\n{self.log()[-LOG_CHARS:]}")

    def _started(self) -> subprocess.Popen[bytes]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.home / "log").open("a") as log:
            return subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(self.data), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **servers.as_somebody(self.home),
            )

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether it does, sooner or later; False if it has ended instead."""
        engine = create_engine(self.url("psycopg"), poolclass=NullPool)
        for _ in range(int(READY_S / LOOK_S)):
            if process.poll() is not None:
                return False
            try:
                with engine.connect() as connection:
                    connection.execute(text("SELECT 1"))
                return True
            except SQLAlchemyError:
                time.sleep(LOOK_S)
        raise Broken(f"PostgreSQL does not answer:\n{self.log()[-LOG_CHARS:]}")

    def kill(self) -> None:
        """SIGKILL to it and to all that it has started, as if the machine had stopped."""
        assert self._process is not None
        self.kills += 1
        # Stopped, it starts no process any more; and it dies first, or it would repair what they
        # leave.
        self._process.send_signal(signal.SIGSTOP)
        started = children(self._process.pid)
        self._process.kill()
        for child in started:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(READY_S)

    def stop(self) -> None:
        """An orderly end; twice is once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(READY_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def recoveries(self) -> int:
        """How often its log reports recovery from an unclean shutdown."""
        return self.log().count(RECOVERED)

    def check_pages(self) -> None:
        """Every page on disk has the sum that it was written with; the server has stopped.

        Raises:
            Broken: some have not.
        """
        try:
            self._run("pg_checksums", "--check", "-D", str(self.data))
        except servers.NotThere as error:
            raise Broken(str(error)) from error

    def log(self) -> str:
        path = self.home / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _run(self, program: str, *words: str) -> None:
        servers.run_as_somebody([str(self._binaries / program), *words], self.home)


def children(pid: int) -> list[int]:
    """The processes that it has started and that are there."""
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        # Elsewhere than on Linux they see by themselves that it is gone.
        return []
