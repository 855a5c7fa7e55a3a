"""What a handler writes with the ORM, in our transaction, is kept once or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db import DatabaseError, connections, transaction

from xpay_flow import sample_records as b
from xpay_flow.ports import AsyncTransactional, HandlerRolledBack, Transactional
from xpay_flow.testing.store_suite import put
from xpay_flow.testing.world import World
from xpay_flow_django import AsyncDjangoStore, DjangoStore


@pytest.fixture(autouse=True)
def _empty_shop(alias: str) -> None:
    Group.objects.using(alias).all().delete()


def packed(alias: str) -> list[str]:
    """The orders that the shop has packed. Groups stand in for a table of the shop's own."""
    return [group.name for group in Group.objects.using(alias).order_by("id")]


def pack(connection: Any) -> None:
    Group.objects.using(connection.alias).create(name="order-1")


def test_both_are_written_or_neither(alias: str) -> None:
    """The handler's row and our change are one transaction."""
    store = DjangoStore(alias)
    assert isinstance(store, Transactional)
    first = put(store, b.attempt())
    step = b.next_change(first, b.paid())

    def fail(connection: Any) -> None:
        pack(connection)
        raise HandlerRolledBack("the shelf is empty")

    with pytest.raises(HandlerRolledBack, match="shelf"):
        store.commit_with(step, fail)
    assert ([], [first]) == (packed(alias), list(store.history(first.key)))
    assert store.commit_with(step, pack) is True
    assert (["order-1"], [step.record]) == (packed(alias), list(store.history(first.key)))


def test_a_lost_race_calls_no_handler(alias: str) -> None:
    """A handler is not called for a change that another has made."""
    store = DjangoStore(alias)
    first = put(store, b.attempt())
    put(store, b.next_change(first, b.paid()))
    for step in (b.next_change(first, b.failed()), b.attempt()):
        assert store.commit_with(step, pack) is False
    assert [] == packed(alias)


def swallow(connection: Any) -> None:
    """Go on after an error of the database, as a careless handler does."""
    pack(connection)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense FROM nowhere")
    except DatabaseError:
        connection.set_rollback(True)


def ask_for_rollback(connection: Any) -> None:
    pack(connection)
    transaction.set_rollback(True, using=connection.alias)


def break_a_foreign_key(connection: Any) -> None:
    """Django has foreign keys looked at when the transaction ends."""
    pack(connection)
    LogEntry.objects.using(connection.alias).create(user_id=9_999_999, action_flag=1)


@pytest.mark.parametrize("spoil", [swallow, ask_for_rollback, break_a_foreign_key])
def test_a_spoilt_transaction_is_the_handlers_fault(
    alias: str, spoil: Callable[[Any], None]
) -> None:
    """What cannot be committed is undone whole, and counts as a failure of the handler."""
    store = DjangoStore(alias)
    first = put(store, b.attempt())
    with pytest.raises(HandlerRolledBack):
        store.commit_with(b.next_change(first, b.paid()), spoil)
    assert ([], [first]) == (packed(alias), list(store.history(first.key)))


def test_an_error_that_postgresql_remembers_is_not_acknowledged(postgresql: str) -> None:
    """PostgreSQL rolls an aborted transaction back in silence; the store notices."""
    store = DjangoStore(postgresql)
    first = put(store, b.attempt())

    def hide(connection: Any) -> None:
        pack(connection)
        try:
            connection.connection.execute("SELECT nonsense FROM nowhere")
        except Exception:
            return

    with pytest.raises(HandlerRolledBack):
        store.commit_with(b.next_change(first, b.paid()), hide)
    assert ([], [first]) == (packed(postgresql), list(store.history(first.key)))


def test_an_awaited_handler_writes_in_the_same_transaction(alias: str) -> None:
    """Asynchronous queries of a handler belong to the transaction, and are undone with it."""
    store = AsyncDjangoStore(alias)
    assert isinstance(store, AsyncTransactional)
    first = put(DjangoStore(alias), b.attempt())
    step = b.next_change(first, b.paid())

    async def pack_later(connection: Any) -> None:
        await Group.objects.using(connection.alias).acreate(name="order-1")

    async def fail_later(connection: Any) -> None:
        await pack_later(connection)
        raise HandlerRolledBack("the shelf is empty")

    async def story() -> bool:
        with pytest.raises(HandlerRolledBack, match="shelf"):
            await store.commit_with(step, fail_later)
        return await store.commit_with(step, pack_later)

    assert asyncio.run(story()) is True
    assert ["order-1"] == packed(alias)
    assert [step.record] == list(DjangoStore(alias).history(first.key))


def test_a_paid_order_is_packed_once(alias: str) -> None:
    """From the customer's click to the packed order, with a handler that fails at first."""
    world = World(DjangoStore(alias))
    fails = [RuntimeError("the printer is out of paper")]

    @world.flow.on_success(transactional=True)
    def fulfil(payment: Any, connection: Any) -> None:
        Group.objects.using(connection.alias).create(name=payment.receipt_id)
        if fails:
            raise fails.pop()

    checkout = world.start_checkout("order-7")
    world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    assert [] == packed(alias)
    world.advance(60)
    world.settle()
    assert ["order-7"] == packed(alias)
    connections.close_all()
