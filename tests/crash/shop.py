"""A small shop in processes of its own, to be killed: `python shop.py`, with a socket as its stdin.

The first process is a stable: it imports everything once and forks a shop whenever it is sent a
socket, then reports how that shop ended. A shop reads one command per line and answers one line. It
kills itself, as `kill -9` would, before the effect that `KILL_AT` counts to.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

import httpx

from xpay_flow import drive
from xpay_flow.effects import Effect
from xpay_flow.errors import MerchantError, OutcomeUnknown, StoreError, XPayFlowError, XPayRefused
from xpay_flow.flow import Flow
from xpay_flow.httpx_transport import HttpxTransport
from xpay_flow.money import Money
from xpay_flow.payment import Payment
from xpay_flow.settings import Settings

Fields = dict[str, Any]

# Reading the authorities takes longer than a whole purchase, so the stable does it once.
TLS = ssl.create_default_context()


class TheParentsClock:
    """The time that each command names; pausing moves it on, and is reported to the parent."""

    def __init__(self) -> None:
        self.at_ms = 0

    def now_ms(self) -> int:
        return self.at_ms

    def pause(self, seconds: float) -> None:
        self.at_ms += round(seconds * 1000)


class Shop:
    """What a shop's process has in its hands."""

    def __init__(self, config: Fields) -> None:
        self.clock = TheParentsClock()
        self.ledger: str = config["ledger"]
        self.printer_works = True
        settings = Settings.sandbox(
            base_url=config["xpay"], requests_per_minute=600, retry_schedule_s=(5, 30)
        )
        self.flow = Flow.open(
            config["store"],
            settings,
            transport=HttpxTransport(settings, client=httpx.Client(verify=TLS, trust_env=False)),
            clock=self.clock,
            background=False,
        )
        for name in ("on_success", "on_failed", "on_refunded", "on_attention"):
            getattr(self.flow, name)(self.write_down)

    def write_down(self, payment: Payment) -> None:
        """The handler: one durable line in a ledger outside of our store."""
        if not self.printer_works:
            raise RuntimeError("no paper")
        with open(self.ledger, "a", encoding="ascii") as ledger:
            ledger.write(payment.idempotency_key + "\n")
            ledger.flush()
            os.fsync(ledger.fileno())

    def start(self, amount: int, currency: str) -> str:
        try:
            checkout = self.flow.start_checkout(
                receipt_id="order-42",
                money=Money(amount, currency),
                callback_url="https://shop.example/thanks",
                customer={"name": "Ada Example", "email": "ada@example.org"},
            )
        except (OutcomeUnknown, XPayRefused, MerchantError):
            return ""
        return checkout.x_intent_id or ""

    def send_to_checkout(self) -> str:
        return self.flow.send_to_checkout(self.intent_id())

    def intent_id(self) -> str:
        intent = self.flow.timeline("order-42").intent
        assert intent is not None
        return intent.id

    def webhook(self, headers: list[list[str]], body: str) -> int:
        pairs = [(name, value) for name, value in headers]
        try:
            self.flow.receive_webhook(pairs, base64.b64decode(body))
        except XPayFlowError as error:
            return 503 if isinstance(error, StoreError) else error.status_hint
        return 200

    def status(self, x_intent_id: str) -> str:
        return self.flow.status(x_intent_id).status

    def deliver(self, printer_works: bool) -> int:
        self.printer_works = printer_works
        return len(self.flow.deliver())

    def reconcile(self) -> int:
        return len(self.flow.reconcile())

    def redeliver(self) -> str:
        return self.flow.redeliver("order-42", f"{self.intent_id()}:on_success").id

    def answer(self, command: Fields) -> object:
        self.clock.at_ms = command.pop("now_ms")
        act: Callable[..., object] = getattr(self, command.pop("do"))
        return act(**command)


def kill_at(effect_number: int | None) -> Callable[[], int]:
    """Count effects from now on, and die before one of them; returns the count so far."""
    performed = 0
    perform = drive.perform

    def counted(effect: Effect, ports: drive.Ports) -> object:
        nonlocal performed
        if performed == effect_number:
            os.kill(os.getpid(), signal.SIGKILL)
        performed += 1
        return perform(effect, ports)

    drive.perform = counted
    return lambda: performed


def serve(line: socket.socket) -> None:
    """One shop, from its opening until its line is closed, or until it is killed."""
    wanted = os.environ["KILL_AT"]
    count = kill_at(int(wanted) if wanted else None)
    with line.makefile("rw", encoding="utf-8") as talk:
        shop = Shop(json.loads(talk.readline()))
        for text in talk:
            result = shop.answer(json.loads(text))
            reply = {"result": result, "now_ms": shop.clock.at_ms, "outbox": count()}
            talk.write(json.dumps(reply) + "\n")
            talk.flush()
    shop.flow.close()


def stable(parent: socket.socket) -> None:
    """Fork a shop for each socket that comes, one at a time, and report how it ended."""
    while True:
        word, sockets, _, _ = socket.recv_fds(parent, 64, 1)
        if not sockets:
            return
        line = socket.socket(fileno=sockets[0])
        child = os.fork()
        if child == 0:
            os.environ["KILL_AT"] = word.decode().removeprefix("kill at ").strip()
            parent.close()
            serve(line)
            os._exit(0)
        line.close()
        _, status = os.waitpid(child, 0)
        parent.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    stable(socket.socket(fileno=sys.stdin.fileno()))
