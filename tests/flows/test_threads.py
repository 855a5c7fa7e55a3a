"""That many real threads, and then many flows on one file, decide as one would."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from xpay_flow.errors import StoreError
from xpay_flow.flow import Flow
from xpay_flow.ports import Store
from xpay_flow.sandbox import Delivery
from xpay_flow.stores import open_store
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.limits import within_s
from xpay_flow.testing.world import World

from .kit import UNHURRIED, recorded

THREADS = 6
ORDERS = 4


def stores(name: str, folder: Path) -> Callable[[], Store]:
    """What each thread opens: all of them share the records."""
    memory = MemoryStore()
    return (
        (lambda: memory) if name == "memory" else (lambda: open_store(f"sqlite:///{folder}/a.db"))
    )


def webhooks(world: World) -> list[Delivery]:
    """Declined, paid and partly refunded: every webhook of some orders, none delivered yet."""
    for number in range(ORDERS):
        x_intent_id = world.start_checkout(f"order-{number}").x_intent_id or ""
        world.xpay.open_checkout(x_intent_id)
        world.xpay.decline(x_intent_id)
        world.xpay.pay(x_intent_id)
        world.xpay.refund(x_intent_id, 5)
    return world.xpay.due()


@pytest.mark.parametrize("name", ["memory", "sqlite"])
def test_every_thread_delivers_everything(name: str, tmp_path: Path) -> None:
    """Each event comes from each thread in an order of its own, while all of them work off what is
    due: every event is on file once, every call is made once."""
    fresh = stores(name, tmp_path)
    world = World(fresh(), config=UNHURRIED)
    deliveries = webhooks(world)
    flows = [world.new_flow(fresh()) for _ in range(THREADS)]
    together = threading.Barrier(THREADS)

    def shop(number: int) -> None:
        mine = deliveries * 2
        random.Random(number).shuffle(mine)
        together.wait(10)
        for place, delivery in enumerate(mine):
            insist(lambda d=delivery: flows[number].receive_webhook(d.headers, d.body))  # type: ignore[misc]
            if place % 5 == 0:
                insist(flows[number].deliver)

    within_s(120, *(partial(shop, number) for number in range(THREADS)))
    world.flow.deliver()
    check(world, len(deliveries))
    for flow in {id(flow.store): flow for flow in [*flows, world.flow]}.values():
        flow.close()


def insist(act: Callable[[], object]) -> None:
    """What xPay and a worker do about a store that is too busy: come again."""
    for _ in range(50):
        try:
            act()
        except StoreError:
            continue
        return
    raise AssertionError("the store never answered")


def check(world: World, events: int) -> None:
    records = [
        record
        for number in range(ORDERS)
        for record in world.flow.store.history(f"receipt:order-{number}")
    ]
    assert ORDERS == len(records)
    heard = Counter(recorded(records))
    assert (events, {1}) == (len(heard), set(heard.values()))
    calls = Counter(payment.idempotency_key for _, payment in world.calls)
    assert {1} == set(calls.values())
    assert ORDERS == sum(key.endswith(":on_success") for key in calls)
    for record in records:
        assert record.intent is not None
        assert ("success", 5) == (record.intent.state, record.intent.refunded_minor)
        assert {"done", "dropped"} >= {effect.status for effect in record.outbox}


@pytest.mark.parametrize("name", ["memory", "sqlite"])
def test_many_clicks_make_one_intent(name: str, tmp_path: Path) -> None:
    """Six threads press Pay for the same order at the same moment."""
    fresh = stores(name, tmp_path)
    world = World(fresh(), config=UNHURRIED)
    together = threading.Barrier(THREADS)

    def press() -> str:
        together.wait(10)
        return world.start_checkout().url

    urls = set(within_s(120, *[press] * THREADS))
    assert (1, 1) == (len(urls), len(world.xpay.intents()))
    assert 1 == len(world.flow.store.history("receipt:order-42"))
    shut: Flow = world.flow
    shut.close()
