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

from servers import READY_S, WANTS, absent, as_somebody, brief_wait, free_port, give_away

from .kit import Place

ENDS_S: Final = 10.0
# What a pooler must be told that ignores settings of a session, and does not refuse them.
IGNORES_SETTINGS: Final = {
    "ignore_startup_parameters": "options,statement_timeout,lock_timeout,extra_float_digits"
}


@contextmanager
def pooler(place: Place, mode: str = "transaction", **options: object) -> Generator[Place]:
    """The same database through PgBouncer."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    if program is None:
        absent(f"{WANTS}PgBouncer: apt-get install pgbouncer")
    assert program is not None
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        config = home / "pgbouncer.ini"
        config.write_text(_config(place, home, port, {"pool_mode": mode, **options}))
        config.chmod(0o644)
        give_away(home)
        with (home / "out").open("w") as out:
            process = subprocess.Popen(
                [program, str(config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                **as_somebody(home),
            )
        try:
            _await_port(process, port, home / "out")
            yield Place(place.url.set(host="127.0.0.1", port=port), place.kind)
        finally:
            process.kill()
            process.wait(ENDS_S)


def _config(place: Place, home: Path, port: int, options: dict[str, object]) -> str:
    url = place.url
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
