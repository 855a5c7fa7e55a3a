"""The shop in processes of its own, which die by SIGKILL and are started again.

xPay is in this process, on a real socket; commands and answers go over another one. No process
waits for time to pass: the time is in each command, and a death is seen when the line breaks.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xpay_flow.money import Money
from xpay_flow.sandbox import NO_ANSWER, Delivery, Request, Sandbox, SandboxConfig, VirtualClock
from xpay_flow.stores import open_store

from .endings import Books
from .stories import MUG, Shop

# Far longer than any step takes, so that a fault in a test ends it.
DEADLINE_S = 30
SHOP = str(Path(__file__).with_name("shop.py"))


class Stable:
    """The process that forks shops; imports are paid for once."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._line = ours
        ours.settimeout(DEADLINE_S)
        self._process = subprocess.Popen([sys.executable, SHOP], stdin=theirs.fileno())
        theirs.close()

    def fork(self, kill_at: int | None) -> socket.socket:
        """A line to a new shop."""
        ours, theirs = socket.socketpair()
        ours.settimeout(DEADLINE_S)
        word = "" if kill_at is None else str(kill_at)
        socket.send_fds(self._line, [f"kill at {word}".encode()], [theirs.fileno()])
        theirs.close()
        return ours

    def ended(self) -> int:
        """How the last shop ended: 0, or minus the signal that killed it."""
        return int(self._line.recv(16))

    def close(self) -> None:
        self._line.close()
        self._process.wait(DEADLINE_S)


@contextmanager
def on_a_socket() -> Generator[Address, None, None]:
    """An HTTP server that answers for whichever sandbox is put into it."""
    address = Address()
    server = ThreadingHTTPServer(("127.0.0.1", 0), address.handler())
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    address.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield address
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()


class Address:
    """Where xPay is, while its sandbox changes from story to story."""

    url = ""
    sandbox: Sandbox

    def handler(self) -> type[BaseHTTPRequestHandler]:
        address = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                request = Request(
                    self.command, url.path, url.query, tuple(self.headers.items()), body
                )
                response = address.sandbox.handle(request)
                if response is NO_ANSWER:
                    self.close_connection = True
                    return
                self.send_response(response.status)
                for name, value in response.headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)

            do_GET = answer
            do_POST = answer

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
                """Quietly."""

        return Handler


class ShopElsewhere(Shop):
    """A shop whose first process is killed before one of its effects, and then started again."""

    def __init__(
        self, stable: Stable, address: Address, folder: Path, kill_at: int | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.xpay = address.sandbox = Sandbox(
            SandboxConfig(
                webhook_url="http://127.0.0.1:9/webhook",
                checkout_base_url=address.url,
                rate_limit=None,
            ),
            clock=self.clock,
            seed=0,
        )
        self.outbox = 0
        self._stable = stable
        self._ledger = folder / "ledger.txt"
        self._config = {
            "xpay": address.url,
            "store": f"sqlite:///{folder / 'shop.db'}",
            "ledger": str(self._ledger),
        }
        self._open(kill_at)

    def _open(self, kill_at: int | None) -> None:
        self._line = self._stable.fork(kill_at)
        self._talk = self._line.makefile("rw", encoding="utf-8")
        self._write(self._config)

    def _write(self, words: dict[str, Any]) -> None:
        self._talk.write(json.dumps(words) + "\n")
        self._talk.flush()

    def _do(self, do: str, **fields: Any) -> Any:
        """Have the shop do something; if it dies of it, the next process does it again."""
        while True:
            try:
                self._write({"do": do, "now_ms": self.clock.now_ms(), **fields})
                answer = self._talk.readline()
            except (BrokenPipeError, ConnectionResetError):
                answer = ""
            if answer:
                reply = json.loads(answer)
                self.clock.advance((reply["now_ms"] - self.clock.now_ms()) / 1000)
                self.outbox = reply["outbox"]
                return reply["result"]
            self._bury()
            self._open(None)

    def _bury(self) -> None:
        """The line broke: the process must have been killed, and not have failed."""
        self._hang_up()
        ended = self._stable.ended()
        assert -signal.SIGKILL == ended, f"the shop failed: {ended}"
        self.crashes += 1

    def _hang_up(self) -> None:
        # A command that was never read may still be on its way out.
        with suppress(BrokenPipeError):
            self._talk.close()
        self._line.close()

    def start(self, money: Money = MUG) -> str:
        x_intent_id: str = self._do("start", amount=money.amount_minor, currency=money.currency)
        return x_intent_id

    def send_to_checkout(self) -> None:
        self._do("send_to_checkout")

    def status(self, x_intent_id: str) -> str:
        status: str = self._do("status", x_intent_id=x_intent_id)
        return status

    def hear(self) -> None:
        self.xpay.deliver_due(self._post)

    def _post(self, delivery: Delivery) -> int:
        body = base64.b64encode(delivery.body).decode()
        status: int = self._do("webhook", headers=delivery.headers, body=body)
        return status

    def deliver(self) -> None:
        self._do("deliver", printer_works=self.printer_works)

    def ask(self) -> None:
        self._do("reconcile")

    def redeliver(self) -> None:
        self._do("redeliver")

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def books(self) -> Books:
        """What the files say after the last process has ended."""
        store: Any = open_store(self._config["store"])
        records = reversed(store.recent(100))
        books = Books(
            records=tuple(sorted(records, key=lambda record: record.key)),
            xpay=self.xpay,
            keys=tuple(self._ledger.read_text("ascii").split()),
            crashes=self.crashes,
        )
        store.close()
        return books

    def close(self) -> None:
        """The shop's processes end well when they are stopped."""
        self._hang_up()
        assert 0 == self._stable.ended()
        assert os.path.exists(self._ledger)
