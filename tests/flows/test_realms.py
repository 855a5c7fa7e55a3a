"""That modes and accounts do not mix: what was made in one realm is another's in nothing.

Two shops share a store, and each has an xPay of its own that gives out the same ids.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs
import pytest

from xpay_flow import drive, flows
from xpay_flow.errors import ConfigurationError, InvalidValue, OutcomeUnknown, UnknownIntent
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.flows import HandlerResult, parking
from xpay_flow.flows import checkout as checkout_flow
from xpay_flow.money import Money
from xpay_flow.ports import NoAnswer
from xpay_flow.realm import EVERY_REALM, UNNAMED, Realms, fingerprint
from xpay_flow.records import Record, change, receipt_alias
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import AsyncManualClock, AsyncSandboxTransport, World

from .kit import UNHURRIED, send_webhook

HOUR_S: Final = 3600
LIVE: Final = Settings(
    mode="live",
    public_key="pk_live_A1b2C3d4",
    private_key="sk_live_Z9y8X7w6",
    webhook_secrets=("whk_9f8e7d6c5b4a3210",),
)


class _Unreachable:
    """An xPay that must not be called."""

    def send(self, request: object) -> Any:
        raise NoAnswer("not reached")


def live_flow(store: Any, **settings: Any) -> tuple[Flow, list[str]]:
    """A live process on a store, and the receipts that it has fulfilled."""
    transport: Any = _Unreachable()
    flow = Flow(store, attrs.evolve(LIVE, **settings), transport=transport, background=False)
    fulfilled: list[str] = []
    flow.on_success(lambda payment: fulfilled.append(payment.receipt_id))
    return flow, fulfilled


def shop(store: Any, **settings: Any) -> World:
    keys = {name: key for name, key in settings.items() if name.endswith("_key")}
    return World(store, config=attrs.evolve(UNHURRIED, **keys), **settings)


# --- two shops in one store are as two stores ----------------------------------------------------


STRANGE: Final = {"intentId": "in_nobody", "status": "SUCCESS", "amount": 1, "currency": "USD"}


def day(world: World) -> Iterator[None]:
    """What happens at one shop; it pauses wherever another may come in between."""
    paid, declined = world.start_checkout("order-1"), world.start_checkout("order-2")
    yield
    world.flow.send_to_checkout(paid.intent_id)
    world.xpay.open_checkout(paid.x_intent_id or "")
    yield
    world.xpay.decline(declined.x_intent_id or "")
    # The same event reaches both, and belongs to no intent of either.
    send_webhook(world, "intent.success", **STRANGE)
    yield
    world.deliver_webhooks()
    yield
    world.xpay.pay(paid.x_intent_id or "")
    world.deliver_webhooks()
    yield
    (result,) = world.flow.deliver(limit=1)
    assert isinstance(result, HandlerResult)
    yield
    world.flow.deliver()
    yield
    world.start_checkout("order-2")
    world.start_checkout("order-2", new_attempt=True)
    yield
    world.advance(HOUR_S)
    world.flow.reconcile()
    yield
    world.settle()
    world.xpay.refund(paid.x_intent_id or "", 500)
    world.settle()


def seen(world: World) -> dict[str, Any]:
    """All that a shop and its customers see of its own."""
    mine = [timeline for timeline in world.flow.recent(99) if timeline.is_ours]
    statuses = {
        x: world.status(x)
        for timeline in mine
        if timeline.intent
        for x in timeline.intent.x_intent_ids
    }
    return {
        "calls": world.calls,
        "counters": dict(world.flow.counters),
        "timelines": [timeline.to_json() for timeline in mine],
        "statuses": statuses,
    }


def alone(account: str) -> dict[str, Any]:
    world = shop(MemoryStore(), account=account)
    for _ in day(world):
        pass
    return seen(world)


def beside_each_other() -> dict[str, dict[str, Any]]:
    store = MemoryStore()
    worlds = {account: shop(store, account=account) for account in ("one", "two")}
    days = [day(world) for world in worlds.values()]
    while days:
        days = [each for each in days if next(each, "over") is None]
    return {account: seen(world) for account, world in worlds.items()}


def test_two_accounts_in_one_store_are_as_two_stores() -> None:
    """Each sees, calls, answers and counts what it does alone, whatever the other does."""
    assert {account: alone(account) for account in ("one", "two")} == beside_each_other()


def without_a_realm(key_of: Callable[..., str]) -> Callable[..., str]:
    return lambda name, *rest: key_of(name, *rest[:-1], "everybody")


PLANTED: Final[dict[str, tuple[object, str, object]]] = {
    "loads see everything": (drive, "_own", lambda effect, answer, realms: answer),
    "work of every realm": (
        drive,
        "_due",
        lambda it, ports: ports.store.due(it.work, it.now_ms, it.limit),
    ),
    "attempts share a key": (
        checkout_flow,
        "attempt_key",
        without_a_realm(checkout_flow.attempt_key),
    ),
    "parked events share a record": (
        parking,
        "parking_key",
        without_a_realm(parking.parking_key),
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_shop_that_meets_the_other_is_found(
    planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison finds each way in which one account could meet another."""
    expected = {account: alone(account) for account in ("one", "two")}
    monkeypatch.setattr(*PLANTED[planted])
    try:
        found = beside_each_other()
    except Exception:
        return  # It cannot even come to an end.
    assert expected != found


# --- a sandbox's store in live mode --------------------------------------------------------------


def test_a_live_process_does_nothing_with_what_the_sandbox_made() -> None:
    """It neither delivers, resumes, reconciles, records nor shows it; nothing of it changes."""
    store = MemoryStore()
    sandbox = shop(store)
    paid, opened = sandbox.start_checkout("order-1"), sandbox.start_checkout("order-2")
    sandbox.xpay.pay(paid.x_intent_id or "")
    sandbox.deliver_webhooks()
    before = store.snapshot()
    live, fulfilled = live_flow(store)

    assert () == live.deliver()
    assert [] == fulfilled
    assert () == live.reconcile()
    assert False is live.status(paid.x_intent_id or "").known
    for act in (
        lambda: live.send_to_checkout(opened.intent_id),
        lambda: live.record(opened.intent_id, "shop.packed"),
    ):
        with pytest.raises((UnknownIntent, InvalidValue)):
            act()
    assert before == store.snapshot()

    # A fresh attempt, and no page of the sandbox's.
    with pytest.raises(OutcomeUnknown, match="not reached"):
        live.start_checkout(
            receipt_id="order-2", money=Money(1999, "USD"), callback_url="https://s.example/r"
        )
    assert [sandbox.settings.realm, live.settings.realm] == [
        record.realm for record in store.load(receipt_alias("order-2"))
    ]


def test_a_handler_call_of_another_realm_is_not_made_again_by_hand() -> None:
    """`redeliver` refuses it in words that name whose it is."""
    store = MemoryStore()
    sandbox = shop(store)
    paid = sandbox.start_checkout("order-1")
    sandbox.xpay.pay(paid.x_intent_id or "")
    sandbox.deliver_webhooks()
    live, _ = live_flow(store)
    with pytest.raises(InvalidValue, match="belongs to sandbox/local"):
        live.redeliver("order-1", f"{paid.intent_id}:on_success")


def test_operators_see_what_belongs_to_others_and_whose_it_is() -> None:
    """A timeline of another realm is shown and marked; of two with one name, the own one."""
    store = MemoryStore()
    sandbox = shop(store)
    sandbox.start_checkout("order-1")
    live, _ = live_flow(store)
    theirs = live.timeline("order-1")
    assert ("sandbox/local", False) == (theirs.realm, theirs.is_ours)
    assert (False, "sandbox/local") == tuple(theirs.to_json()[k] for k in ("is_ours", "realm"))
    assert [False] == [timeline.is_ours for timeline in live.recent()]
    with pytest.raises(OutcomeUnknown):
        live.start_checkout(
            receipt_id="order-1", money=Money(1999, "USD"), callback_url="https://s.example/r"
        )
    assert True is live.timeline("order-1").is_ours
    assert True is sandbox.flow.timeline("order-1").is_ours


# --- unserved work -------------------------------------------------------------------------------


def test_due_work_of_an_account_that_no_setting_names_is_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names it once in a process, as an error, and names the settings that decide."""
    store = MemoryStore()
    sandbox = shop(store)
    paid = sandbox.start_checkout("order-1")
    sandbox.start_checkout("order-2")
    sandbox.xpay.pay(paid.x_intent_id or "")
    sandbox.deliver_webhooks()
    live, _ = live_flow(store)
    live.deliver()
    live.reconcile()
    (line,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    for words in (
        "1 payment(s) with pending handler calls and 1 open one(s) belong to sandbox/local",
        "add local to XPAY_EARLIER_ACCOUNTS in sandbox mode",
        "add sandbox/local to XPAY_OTHER_ACCOUNTS",
    ):
        assert words in line.getMessage()


@pytest.mark.parametrize("name", ["two", "sandbox/two"])
def test_work_that_others_do_is_no_error(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """An account that `other_accounts` names is served elsewhere."""
    store = MemoryStore()
    shop(store, account="two").start_checkout("order-1")
    one = shop(store, account="one", other_accounts=(name,))
    one.flow.deliver()
    assert () == one.flow.unserved_work()
    assert [] == [r for r in caplog.records if r.levelno == logging.ERROR]


def test_all_unserved_accounts_are_named_and_the_search_ends() -> None:
    """Each realm is named once, and so many at most."""
    store = MemoryStore()
    for number in range(flows.unserved.REALMS_MAX + 3):
        shop(store, account=f"shop-{number}").start_checkout("order-1")
    found = live_flow(store)[0].unserved_work()
    assert flows.unserved.REALMS_MAX == len({work.realm for work in found}) == len(found)


# --- one account under several names -------------------------------------------------------------

FIRST: Final = {"public_key": "pk_test_first_9c1e", "private_key": "sk_test_first_77aa"}
SECOND: Final = {"public_key": "pk_test_second_4b0d", "private_key": "sk_test_second_31f7"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FIRST, SECOND | {"earlier_accounts": (FIRST["public_key"],)}),
        (FIRST, SECOND | {"earlier_accounts": (fingerprint(FIRST["public_key"]),)}),
        (FIRST | {"account": "shop"}, SECOND | {"account": "shop"}),
        (
            FIRST | {"account": "old-name"},
            FIRST | {"account": "new-name", "earlier_accounts": ("other", "old-name")},
        ),
    ],
    ids=["by key", "by fingerprint", "by name", "renamed"],
)
def test_a_reissued_key_pair_loses_nothing(before: Any, after: Any) -> None:
    """Under its earlier names the account goes on: page, webhook, handlers, parked events."""
    store = MemoryStore()
    old = shop(store, **before)
    paid, opened = old.start_checkout("order-1"), old.start_checkout("order-2")
    old.xpay.pay(paid.x_intent_id or "")
    old.deliver_webhooks()

    new = shop(store, **after)
    new_config = new.xpay.config
    # The same xPay, which takes the new keys now.
    new.xpay, new.clock, new.ids = old.xpay, old.clock, old.ids
    old.xpay._api._config = new_config
    new.flow = new.new_flow(store)
    again = new.start_checkout("order-2")
    assert (opened.intent_id, opened.url, True) == (again.intent_id, again.url, again.resumed)
    new.flow.deliver()
    assert [f"{paid.intent_id}:on_success"] == new.called("on_success")
    new.xpay.pay(opened.x_intent_id or "")
    new.settle()
    assert 2 == len(new.called("on_success"))
    assert () == new.flow.unserved_work()
    assert all(timeline.is_ours for timeline in new.flow.recent())


def test_records_of_no_realm_are_taken_over_only_by_a_setting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was stored before there were realms has no owner until `unnamed` is listed."""
    store = MemoryStore()
    world = shop(store)
    paid = world.start_checkout("order-1")
    world.xpay.pay(paid.x_intent_id or "")
    world.deliver_webhooks()
    nameless = as_of_version_1(store)

    world.flow = world.new_flow(nameless)
    assert () == world.flow.deliver()
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert "add unnamed to XPAY_EARLIER_ACCOUNTS" in line
    world.settings = attrs.evolve(world.settings, earlier_accounts=("unnamed",))
    world.flow = world.new_flow(nameless)
    world.flow.deliver()
    assert 1 == len(world.called("on_success"))
    assert True is world.flow.timeline("order-1").is_ours


def as_of_version_1(store: MemoryStore) -> MemoryStore:
    """The same records, as they were stored before there were realms."""
    nameless = MemoryStore()
    for record in reversed(store.recent(99)):
        intent = record.intent and attrs.evolve(record.intent, realm=UNNAMED)
        assert nameless.commit(
            change(Record(key=record.key), attrs.evolve(record, intent=intent, version=0))
        )
    return nameless


# --- addresses -----------------------------------------------------------------------------------


def test_no_address_is_handed_out_that_the_settings_of_now_refuse() -> None:
    """Neither a second click nor `send_to_checkout` gives a stored page that is refused now."""
    store = MemoryStore()
    world = shop(store, account="shop")
    checkout = world.start_checkout("order-1")
    live, _ = live_flow(store, account="shop")
    live.ports.realms = EVERY_REALM  # As if it were the account's own.
    again: list[Callable[[], object]] = [
        partial(live.send_to_checkout, checkout.intent_id),
        partial(
            live.start_checkout,
            receipt_id="order-1",
            money=Money(1999, "USD"),
            callback_url="https://shop.example/thanks",
            customer={"name": "Ada Example", "email": "ada@example.org"},
        ),
    ]
    for act in again:
        with pytest.raises(
            ConfigurationError, match=r"stored under other settings.*checkout_hosts"
        ):
            act()


# --- several accounts in one process -------------------------------------------------------------


def test_several_accounts_work_in_one_process() -> None:
    """Several flows on one store: each takes its own webhooks and calls its own handlers."""
    store = MemoryStore()
    one = shop(store, account="one", other_accounts=("two",))
    two = shop(store, account="two", other_accounts=("one",))
    paid = [world.start_checkout("order-1") for world in (one, two)]
    for world, checkout in zip((one, two), paid, strict=True):
        world.xpay.pay(checkout.x_intent_id or "")
    two.settle()
    assert ([], [two.settings.realm]) == (one.calls, [realm_of(two, p) for _, p in two.calls])
    one.settle()
    assert [one.settings.realm] == [realm_of(one, p) for _, p in one.calls]
    assert () == one.flow.unserved_work() == two.flow.unserved_work()


def realm_of(world: World, payment: Any) -> str:
    return world.flow.timeline(payment.intent_id).realm


def test_several_accounts_work_in_one_event_loop() -> None:
    """The same with `AsyncFlow`, whose loads of one moment go together."""

    async def story() -> None:
        store, worlds = MemoryStore(), [World(account=account) for account in ("one", "two")]
        called: list[tuple[str, str]] = []
        for world in worlds:
            flow = AsyncFlow(
                store,
                world.settings,
                transport=AsyncSandboxTransport(world.xpay),
                clock=AsyncManualClock(world.clock),
                ids=world.ids,
                background=False,
            )
            account = world.settings.account
            flow.on_success(lambda p, account=account: called.append((account, p.receipt_id)))
            checkout = await flow.start_checkout(
                receipt_id="order-1",
                money=Money(1999, "USD"),
                callback_url="https://shop.example/thanks",
                customer={"name": "Ada Example", "email": "ada@example.org"},
            )
            world.xpay.pay(checkout.x_intent_id or "")
            for delivery in world.xpay.due():
                await flow.receive_webhook(delivery.headers, delivery.body)
            await flow.deliver()
            (theirs,) = (t.realm for t in await flow.recent() if t.is_ours)
            assert world.settings.realm == theirs
            assert ("SUCCESS", 1) == ((await flow.status(checkout.x_intent_id or "")).status, 1)
            assert len(worlds) - 1 >= len(await flow.unserved_work())
        assert [("one", "order-1"), ("two", "order-1")] == called

    asyncio.run(story())


# --- names ---------------------------------------------------------------------------------------


def test_the_rest_of_some_realms_is_all_others() -> None:
    """Each realm is in a question or in its rest, and never in both."""
    some = Realms(("live/a", "live/b"))
    for realm in ("live/a", "live/b", "live/c", UNNAMED):
        assert (realm in some) is (realm not in some.rest)
        assert realm in EVERY_REALM
