"""That the recipes of `docs/how-to/run-in-processes.md` fulfil orders under each kind of server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from servers import brief_wait, free_port

pytestmark = pytest.mark.slow

SIGNING_KEY: Final = b"sandbox_signing_key_0123456789"
ENDS_S: Final = 40.0
HERE: Final = Path(__file__).parent

GUNICORN: Final = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:PORT"]
STARTS: Final = ["-c", str(HERE / "process_gunicorn.py")]
UVICORN: Final = [sys.executable, "-m", "uvicorn", "--port", "PORT"]
WSGI: Final = "serving.process_shop:wsgi"
ASGI: Final = "serving.process_shop_asgi:app"
# Made from source by pip, so it is tried where it is installed.
UWSGI: Final = os.environ.get("TEST_UWSGI") or shutil.which("uwsgi")


@attrs.define
class Server:
    """A server program with the shop, in a process group of its own."""

    command: list[str]
    home: Path
    more: dict[str, str]
    port: int = 0
    process: Any = None

    def start(self) -> None:
        self.port = free_port()
        path = os.pathsep.join([str(HERE.parent), *filter(None, sys.path)])
        env = {**os.environ, "PYTHONPATH": path, "SHOP_HOME": str(self.home), **self.more}
        with (self.home / "out").open("a") as out:
            self.process = subprocess.Popen(
                [word.replace("PORT", str(self.port)) for word in self.command],
                cwd=self.home,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.until(self._listens, "listens")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.out()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def until(self, is_so: Any, what: str) -> None:
        for _ in range(int(ENDS_S * 20)):
            if is_so():
                return
            brief_wait()
        raise AssertionError(f"it never was so: {what}\n{self.log()}\n{self.out()}")

    def out(self) -> str:
        return (self.home / "out").read_text()

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ENDS_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def purchase(self, order: str) -> int:
        """A checkout, and xPay's webhook; the status that it is answered."""
        status, _ = self.request("GET", f"/{order}")
        assert 200 == status, self.out()
        body = json.dumps(
            {
                "eventId": f"whe_{order}",
                "eventType": "intent.success",
                "eventTime": 1,
                "intentId": f"in_{order.replace('-', '')}",
                "receiptId": order,
                "status": "SUCCESS",
                "amount": 1999,
                "currency": "USD",
                "metadata": {},
            }
        ).encode()
        digest = hmac.digest(SIGNING_KEY, body, hashlib.sha512)
        headers = {
            "content-type": "application/json",
            "xpay-signature": base64.b64encode(digest).decode(),
        }
        return self.request("POST", "/xpay/webhook", body, headers)[0]

    def log(self) -> list[list[str]]:
        try:
            return [line.split() for line in (self.home / "log").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def done(self) -> list[str]:
        return sorted(order for word, order, _ in self.log() if word == "done")

    def kill(self, how: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, how)
        self.process.wait(ENDS_S)


@contextmanager
def serving(command: list[str], home: Path, **more: str) -> Generator[Server]:
    server = Server(command, home, more)
    try:
        server.start()
        yield server
    finally:
        server.kill()


ORDERS: Final = [f"order-{n}" for n in range(6)]


@pytest.mark.parametrize(
    "command",
    [
        [*GUNICORN, "-w", "2", WSGI],
        [*GUNICORN, "-w", "2", *STARTS, "--preload", WSGI],
        [*GUNICORN, "-w", "2", "-k", "gthread", "--threads", "4", WSGI],
        [*UVICORN, ASGI],
        [*UVICORN, "--workers", "2", ASGI],
    ],
    ids=["gunicorn", "gunicorn --preload", "gunicorn gthread", "uvicorn", "uvicorn --workers"],
)
def test_orders_are_fulfilled_once_under_a_server(command: list[str], tmp_path: Path) -> None:
    """Each webhook is answered 200, and each order fulfilled, once, by a process that serves."""
    with serving(command, tmp_path) as server:
        assert [200] * 6 == [server.purchase(order) for order in ORDERS]
        server.until(lambda: server.done() == ORDERS, "all are fulfilled, once")


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_nothing_crosses_the_fork_of_gunicorn_preload(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A flow that was used, with threads and connections, before the fork: each worker has its
    own."""
    command = [*GUNICORN, "-w", "2", *STARTS, "--preload", WSGI]
    more = {"SHOP_USED_BEFORE_FORK": "1"}
    if store == "postgresql":
        more["SHOP_STORE"] = request.getfixturevalue("store_on_postgresql")
    with serving(command, tmp_path, **more) as server:
        assert [200] * 6 == [server.purchase(order) for order in ORDERS]
        server.until(lambda: server.done() == ORDERS, "all are fulfilled, once")
        assert "Traceback" not in server.out()


@pytest.fixture
def store_on_postgresql(postgresql_server: str) -> Any:
    from sql.kit import POSTGRESQL, owned

    with owned(postgresql_server, POSTGRESQL) as place:
        yield place.by("postgresql")


@pytest.mark.parametrize(
    "command",
    [[*GUNICORN, "-w", "2", *STARTS, WSGI], [*UVICORN, ASGI]],
    ids=["gunicorn", "uvicorn"],
)
def test_a_killed_shop_heals_by_being_started(command: list[str], tmp_path: Path) -> None:
    """Killed in the middle of a handler, and started again without traffic: the call is made."""
    (tmp_path / "hang").touch()
    with serving(command, tmp_path) as server:
        assert 200 == server.purchase("order-1")
        server.until(lambda: bool(server.log()), "the handler has begun")
        server.kill()
        assert [] == server.done()
        (tmp_path / "hang").unlink()
        server.start()
        server.until(lambda: server.done() == ["order-1"], "fulfilled without traffic")


@pytest.mark.parametrize(("recipe", "starts"), [(STARTS, True), ([], False)])
def test_the_recipe_is_what_starts_threads_without_traffic(
    recipe: list[str], starts: bool, tmp_path: Path
) -> None:
    """Planted: without it, a request that does not concern the flow finds no thread of it."""
    with serving([*GUNICORN, "-w", "1", *recipe, WSGI], tmp_path) as server:
        assert starts == ("xpay-flow deliver" in server.request("GET", "/")[1])


# --- uWSGI ---------------------------------------------------------------------------------------


def uwsgi(*more: str) -> list[str]:
    if UWSGI is None:
        pytest.skip("there is no uWSGI: pip install uwsgi, with a compiler, or TEST_UWSGI")
    socket_ = ["--http-socket", "127.0.0.1:PORT"]
    return [str(UWSGI), *socket_, "--master", "-p", "2", "--module", WSGI, *more]


def test_orders_are_fulfilled_under_uwsgi_with_threads(tmp_path: Path) -> None:
    """With `enable-threads`, as the recipe has it."""
    with serving(uwsgi("--enable-threads"), tmp_path) as server:
        assert [200] * 6 == [server.purchase(order) for order in ORDERS]
        server.until(lambda: server.done() == ORDERS, "all are fulfilled, once")
        assert "enable-threads = true" not in server.out()


def test_uwsgi_without_threads_is_reported(tmp_path: Path) -> None:
    """Without it no thread runs, and the log has a line that names the option."""
    with serving(uwsgi(), tmp_path) as server:
        assert 200 == server.purchase("order-1")
        server.until(lambda: "enable-threads" in server.out(), "it is reported")
