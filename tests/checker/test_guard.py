"""What code under check may not touch, and what does not count."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from xpay_flow.checker.guard import guarded
from xpay_flow.checker.hidden import HiddenInput, HiddenState
from xpay_flow.checker.parked import release_threads
from xpay_flow.checker.plain import PlainPorts, plain
from xpay_flow.checker.shop import Shop
from xpay_flow.checker.targets import shipped
from xpay_flow.effects import RunHandler
from xpay_flow.flows import FlowContext
from xpay_flow.payment import Payment, payment_of
from xpay_flow.sample_records import attempt
from xpay_flow.system import RandomIds, SystemClock
from xpay_flow.wire import canonical_json

HIDDEN: Mapping[str, Callable[[], Any]] = {
    "time.time": lambda: time.time(),
    "time.monotonic": lambda: time.monotonic(),
    "time.time_ns": lambda: time.time_ns(),
    "time.sleep": lambda: time.sleep(0),
    "datetime.now": lambda: datetime.now(UTC),
    "datetime.utcnow": lambda: datetime.utcnow(),  # noqa: DTZ003
    "datetime.today": lambda: datetime.today(),  # noqa: DTZ002
    "date.today": lambda: date.today(),  # noqa: DTZ011
    "random.random": lambda: random.random(),
    "random.choice": lambda: random.choice("ab"),
    "random.shuffle": lambda: random.shuffle([1, 2]),
    "random.__init__": lambda: random.Random(),
    "os.urandom": lambda: os.urandom(1),
    "secrets.token_hex": lambda: secrets.token_hex(1),
    "uuid.uuid1": lambda: uuid.uuid1(),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "os.environ": lambda: os.environ.get("HOME"),
    "os.getenv": lambda: os.getenv("HOME"),
    "socket.socket": lambda: socket.socket().close(),
    "subprocess.run": lambda: subprocess.run([sys.executable, "-V"], check=True, timeout=120),
    "os.system": lambda: os.system("true"),
    "threading.Thread.start": lambda: threading.Thread(target=int).start(),
    "pathlib.write_text": lambda: Path("never-written").write_text(""),
    "open": lambda: open("never-written", "a").close(),
    "tempfile.mkdtemp": lambda: tempfile.mkdtemp(),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_input_is_refused_by_name(name: str) -> None:
    """What brings in the world is refused before it happens, with its name, place and a way out."""
    with pytest.raises(HiddenInput) as refused, guarded():
        HIDDEN[name]()
    assert name == refused.value.name
    assert "test_guard.py:" in refused.value.where
    assert refused.value.where.endswith(" in <lambda>")
    assert f"or declare it: allows={{{name!r}}}" in str(refused.value)
    assert isinstance(refused.value, HiddenState)
    assert not Path("never-written").exists()


def test_to_catch_it_does_not_hide_it() -> None:
    """Code that catches every error is refused all the same, once it is over."""
    caught: list[Exception] = []

    def catches() -> None:
        try:
            time.time()
        except Exception as error:
            caught.append(error)

    with pytest.raises(HiddenInput, match=r"time\.time") as refused, guarded():
        catches()
    assert [refused.value] == caught


async def sleeps() -> None:
    await asyncio.sleep(0.001)
    await asyncio.wait_for(asyncio.sleep(0), 1)


def reads_a_file() -> None:
    with open(__file__) as file:
        file.read()


@attrs.frozen
class Made:
    at: float = attrs.field(factory=time.time)


@pytest.mark.parametrize(
    "harmless",
    [
        lambda: logging.getLogger("shop").warning("a log line has the time"),
        lambda: random.Random(4).random(),
        lambda: __import__("xml.sax"),
        lambda: asyncio.run(sleeps()),
        lambda: canonical_json({"of": "ours"}),
        lambda: datetime.fromtimestamp(0, UTC),
        lambda: uuid.UUID(int=5),
        reads_a_file,
    ],
)
def test_what_harms_nobody_passes(harmless: Callable[[], Any]) -> None:
    """Log lines, imports, seeded numbers, asyncio's own time and reading files are let pass."""
    sys.modules.pop("xml.sax", None)
    with guarded():
        harmless()


@pytest.mark.parametrize(
    "through",
    [lambda: Made(), lambda: SystemClock().now_ms(), lambda: RandomIds().new("key")],
)
def test_a_way_round_is_found(through: Callable[[], Any]) -> None:
    """The machine's clock and ids are refused through generated code, and through ours."""
    with pytest.raises(HiddenInput, match=r"test_guard\.py"), guarded():
        through()


def test_a_watcher_of_the_collector_is_not_the_users_doing() -> None:
    """Code that runs at garbage collection may read the clock, whichever task is at work then."""
    seen: list[float] = []

    def watcher(phase: str, info: Mapping[str, int]) -> None:
        seen.append(time.perf_counter())

    gc.callbacks.append(watcher)
    try:
        with guarded():
            gc.collect()
    finally:
        gc.callbacks.remove(watcher)
    assert seen


@pytest.mark.parametrize("word", ["time.time", "time", "clock"])
def test_it_can_be_declared(word: str) -> None:
    """A name, a module or a kind that is declared is let pass, and nothing else."""
    with guarded(frozenset({word})):
        time.time()
    with pytest.raises(HiddenInput, match=r"uuid\.uuid4"), guarded(frozenset({word})):
        uuid.uuid4()


def test_nothing_is_refused_outside() -> None:
    """After a guard, and after one that refused, the world is there again."""
    with pytest.raises(HiddenInput), guarded():
        time.time()
    with guarded(), guarded():
        pass
    assert time.time() > 0
    assert sys.getprofile() is None
    with guarded():
        pass


# --- where code under check runs ------------------------------------------------------------------


def ticks(ports: PlainPorts) -> float:
    ports.store.load("a")
    return time.time()


async def ticks_awaiting(ports: PlainPorts) -> float:
    await ports.store.load("a")
    return time.time()


@pytest.mark.parametrize("function", [ticks, ticks_awaiting])
def test_a_plain_function_is_watched_where_it_runs(function: Any) -> None:
    """A resumption under guard is watched on the thread that the function has."""
    flow = plain(function)()
    with guarded():
        next(flow)
    with pytest.raises(HiddenInput, match="in ticks"), guarded():
        flow.send(())
    release_threads()


def test_a_handler_is_watched() -> None:
    """A handler that reads the clock is refused, unless the shop declares it."""
    intent = attempt().record.intent
    assert intent is not None
    call = RunHandler("on_success", payment_of(intent, "on_success", "", "key", ()))

    def stamps(_: Payment) -> None:
        time.time()

    shop = attrs.evolve(Shop.of(shipped()), handlers={"on_success": stamps})
    with pytest.raises(HiddenInput, match=r"time\.time .* in stamps"):
        shop.ran(call)
    allowing = attrs.evolve(shop, allows=frozenset({"time.time"}))
    assert "done" == allowing.ran(call).outcome


def test_the_shipped_flows_take_no_hidden_input() -> None:
    """Our own flows make their first steps under guard."""
    shop = Shop.of(shipped())
    assert isinstance(shop.context, FlowContext)
    with guarded():
        for flow in (shop.deliver(shop.context), shop.reconcile(shop.context)):
            next(flow)
            flow.close()
