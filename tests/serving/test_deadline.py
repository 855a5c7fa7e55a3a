"""A webhook is answered before xPay gives up, also when the store is slow."""

from __future__ import annotations

from collections.abc import Sequence

from xpay_flow.endpoints import WebRequest
from xpay_flow.events import EventIdentity
from xpay_flow.records import Change, Record
from xpay_flow.sandbox import Delivery
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import World


class SlowStore(MemoryStore):
    """Every read takes two seconds of the world's time."""

    world: World | None = None
    commits = 0

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        if self.world is not None:
            self.world.advance(2)
        return super().load(alias, event)

    def commit(self, change: Change) -> bool:
        self.commits += 1
        return super().commit(change)


def slow_world() -> tuple[World, SlowStore, Delivery]:
    store = SlowStore()
    world = World(store)
    checkout = world.start_checkout()
    assert checkout.x_intent_id is not None
    world.xpay.pay(checkout.x_intent_id)
    [paid] = [d for d in world.xpay.due() if d.event_type == "intent.success"]
    store.world, store.commits = world, 0
    return world, store, paid


def post(world: World, delivery: Delivery) -> int:
    request = WebRequest(
        method="POST", path="/webhook", headers=delivery.headers, body=delivery.body
    )
    return world.flow.handle(request).status


def test_a_slow_store_is_answered_503_and_written_to_no_more() -> None:
    """After the deadline no store operation is begun, and xPay must send again (503)."""
    world, store, paid = slow_world()
    assert 503 == post(world, paid)
    assert 0 == store.commits


def test_what_came_too_late_is_recorded_when_it_comes_again() -> None:
    """The delivery that was answered 503 is accepted once the store is quick again."""
    world, store, paid = slow_world()
    post(world, paid)
    store.world = None
    assert 200 == post(world, paid)
    assert 1 == store.commits
