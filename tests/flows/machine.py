"""What may happen to a shop, in any order? The rules and the promises, for Hypothesis to play with.

Customers, xPay, forgers, workers and time act; any process of the shop may stop at any effect.
After each step the promises that hold at every moment are checked, and at the end, when
everything has arrived, those about the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, TypeVar, cast

import attrs
from core.folding import seen_in
from core.oracle import truth_of
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from xpay_flow.errors import InvalidValue, UnknownIntent, UntrustedMessage, XPayFlowError
from xpay_flow.lifecycle import LIFECYCLE
from xpay_flow.money import Money
from xpay_flow.payment import Payment
from xpay_flow.ports import Store
from xpay_flow.records import Record
from xpay_flow.sandbox import Delivery, FaultPlan
from xpay_flow.sandbox.ledger import Intent as Sold
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.world import World

from .kit import UNHURRIED, CountingStore, Crash, Fuse, FusedFlow, When, body_of, signed

T = TypeVar("T")

OUR_ID = "xpay_flow_intent"
MONEYS = (Money(1999, "USD"), Money(2500, "EUR"))
# When a process stops: at which effect from now, and on which side of it. Mostly it does not.
CUTS: st.SearchStrategy[tuple[int, When] | None] = st.one_of(
    st.none(),
    st.tuples(
        st.one_of(st.integers(0, 6), st.integers(0, 25)), st.sampled_from(("before", "after"))
    ),
)
PICKS = st.integers(0, 7)
ORDERS = st.sampled_from(("order-1", "order-2"))
WEATHER: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"api": [{"fault": "lose_answer"}]},
    {"api": [{"fault": "lose_request"}]},
    {"api": [{"fault": "error_text", "took_effect": True, "probability": 0.5}]},
    {"api": [{"fault": "error_json", "took_effect": True, "times": 1}]},
    {"api": [{"fault": "error_json", "times": 1}]},
    {"webhooks": [{"fault": "no_metadata"}, {"fault": "null_receipt"}]},
    {
        "api": [{"fault": "lose_answer"}],
        "webhooks": [{"fault": "no_metadata"}, {"fault": "null_receipt"}],
    },
    {"webhooks": [{"fault": "no_metadata"}]},
    {"webhooks": [{"fault": "duplicate", "seconds": 40}, {"fault": "unknown_type"}]},
    {"webhooks": [{"fault": "wrong_signature", "attempts": 1}]},
)


class ShopMachine(RuleBasedStateMachine):
    """One shop, one xPay, and everything that can go wrong between them."""

    def open_store(self) -> Store:
        """The store that all processes of the shop share; memory here."""
        return self._memory

    def close_store(self, store: Store) -> None:
        """What a process that ends does to its store."""

    def __init__(self) -> None:
        super().__init__()
        self._memory = MemoryStore()
        self.fuse = Fuse()
        self.world: World
        self.numbers = count(1)
        self.before: dict[str, Record] = {}
        # Events that the shop has answered with 200, and calls that took effect.
        self.acknowledged: set[str] = set()
        self.calls: list[tuple[str, str, str]] = []
        self.handlers_work = True
        # A story that has failed is over; what its end would be does not matter.
        self.failed = False

    @initialize(weather=st.sampled_from(WEATHER), cut=CUTS)
    def open(self, weather: dict[str, Any], cut: tuple[int, When] | None) -> None:
        """The shop opens, and the first customer presses Pay."""
        self.world = World(CountingStore(self.open_store()), config=UNHURRIED, flow_type=FusedFlow)
        self._begin()
        self.the_weather_changes(weather)
        self.press_pay("order-1", MONEYS[0], 1, cut)

    def _begin(self) -> None:
        cast(FusedFlow, self.world.flow).fuse = self.fuse
        for name in ("on_success", "on_failed", "on_refunded", "on_dispute", "on_attention"):
            getattr(self.world.flow, name)(self._handler(name))

    def _handler(self, name: str) -> Callable[[Payment], None]:
        def handler(payment: Payment) -> None:
            if not self.handlers_work:
                raise RuntimeError("no paper")
            self.calls.append((name, payment.idempotency_key, payment.intent_id))

        return handler

    @property
    def store(self) -> CountingStore:
        return cast(CountingStore, self.world.flow.store)

    def restart(self) -> None:
        """The process is gone; another one opens the same store."""
        self.fuse.defuse()
        self.close_store(self.store.inner)
        self.world.flow = self.world.new_flow(CountingStore(self.open_store()))
        self._begin()

    def shop(self, act: Callable[[], T], cut: tuple[int, When] | None = None) -> T | None:
        """Let the shop do something; it may stop in the middle, or refuse in words."""
        if cut is not None:
            self.fuse.set(*cut)
        try:
            return act()
        except Crash:
            self.restart()
        except UntrustedMessage:
            raise
        except XPayFlowError:
            pass
        finally:
            self.fuse.defuse()
        return None

    def records(self) -> list[Record]:
        keys = [timeline.key for timeline in self.world.flow.recent(200)]
        return [self.store.inner.history(key)[0] for key in keys]

    def sold(self, pick: int) -> Sold | None:
        sold = self.world.xpay.intents()
        return sold[pick % len(sold)] if sold else None

    def at_xpay(self, act: Callable[[], object]) -> None:
        """Something happens at xPay, if it can."""
        with suppress(InvalidValue, UnknownIntent):
            act()

    # --- the shop's customers

    @rule(order=ORDERS, money=st.sampled_from(MONEYS), again=st.integers(0, 5), cut=CUTS)
    def press_pay(self, order: str, money: Money, again: int, cut: tuple[int, When] | None) -> None:
        self.shop(lambda: self.world.start_checkout(order, money, new_attempt=again == 0), cut)

    @rule(pick=PICKS, cut=CUTS)
    def send_to_checkout(self, pick: int, cut: tuple[int, When] | None) -> None:
        intents = [record.intent for record in self.records() if record.intent]
        if intents:
            intent = intents[pick % len(intents)]
            self.shop(lambda: self.world.flow.send_to_checkout(intent.id), cut)

    @rule(pick=PICKS, wait_s=st.sampled_from((0, 0, 1)))
    def come_back(self, pick: int, wait_s: int) -> None:
        """The return page, the status query and an operator's look: none of them may write."""
        sold = self.sold(pick)
        written = len(self.store.changes)
        self.world.flow.status(sold.x_intent_id if sold else "in_nobody", wait_s=wait_s)
        for timeline in self.world.flow.recent(50):
            self.world.flow.timeline(timeline.key)
        assert written == len(self.store.changes), "a query wrote"

    @rule(order=ORDERS, pick=PICKS, cut=CUTS)
    def a_quick_purchase(self, order: str, pick: int, cut: tuple[int, When] | None) -> None:
        """What happens most: pressed, paid, webhook; and the process stops in the webhook."""
        self.press_pay(order, MONEYS[0], 1, None)
        self.customer_acts(pick, "pay")
        self.all_webhooks(cut)

    # --- what happens at xPay

    @rule(pick=PICKS, act=st.sampled_from(("open_checkout", "decline", "pay", "pay", "cancel")))
    def customer_acts(self, pick: int, act: str) -> None:
        if sold := self.sold(pick):
            self.at_xpay(lambda: getattr(self.world.xpay, act)(sold.x_intent_id))

    @rule(pick=PICKS, amount=st.sampled_from((None, 1, 1000)))
    def refund(self, pick: int, amount: int | None) -> None:
        if sold := self.sold(pick):
            self.at_xpay(lambda: self.world.xpay.refund(sold.x_intent_id, amount))

    @rule(pick=PICKS, won=st.booleans())
    def dispute(self, pick: int, won: bool) -> None:
        if sold := self.sold(pick):
            self.at_xpay(lambda: self.world.xpay.dispute(sold.x_intent_id))
            stage: Any = "won" if won else "lost"
            self.at_xpay(lambda: self.world.xpay.settle_dispute(sold.x_intent_id, stage))

    @rule(pick=PICKS)
    def pay_despite_cancel(self, pick: int) -> None:
        if sold := self.sold(pick):
            self.at_xpay(lambda: self.world.xpay.pay(sold.x_intent_id, despite_cancel=True))

    @rule(weather=st.sampled_from(WEATHER))
    def the_weather_changes(self, weather: dict[str, Any]) -> None:
        self.world.xpay.set_faults(FaultPlan.from_dict(weather))

    # --- webhooks

    def post(self, delivery: Delivery) -> int | None:
        status = self.world.post(delivery)
        if status == 200:
            self.acknowledged.add(delivery.event_id)
        return status

    @rule(pick=PICKS, heard=st.booleans(), cut=CUTS)
    def one_webhook(self, pick: int, heard: bool, cut: tuple[int, When] | None) -> None:
        """Any of those that are due, in any order; the shop's answer may be lost."""
        due = self.world.xpay.due()
        if due:
            delivery = due[pick % len(due)]
            status = self.shop(lambda: self.post(delivery), cut)
            self.world.xpay.outcome(delivery, status if heard else None)

    @rule(cut=CUTS)
    def all_webhooks(self, cut: tuple[int, When] | None) -> None:
        self.shop(lambda: self.world.xpay.deliver_due(self.post), cut)

    @rule(pick=PICKS)
    def a_webhook_is_lost(self, pick: int) -> None:
        due = self.world.xpay.due()
        if due:
            self.world.xpay.outcome(due[pick % len(due)], None)

    @rule(pick=st.integers(0, 40))
    def an_old_webhook_again(self, pick: int) -> None:
        events = self.world.xpay.events()
        if events:
            self.world.xpay.redeliver(events[pick % len(events)].event_id)

    @rule(pick=PICKS)
    def a_forger(self, pick: int) -> None:
        """Knows everything but the key: nothing is written, nothing even read."""
        sold = self.sold(pick)
        names = {"intentId": sold.x_intent_id if sold else "in_1", "metadata": metadata_of(sold)}
        body = body_of("intent.success", "whe_forged", amount=1999, currency="USD", **names)
        written, read = len(self.store.changes), self.store.loads
        try:
            self.world.flow.receive_webhook(signed(body, "guessed_key_0123456789"), body)
        except UntrustedMessage:
            assert (written, read) == (len(self.store.changes), self.store.loads)
        else:
            raise AssertionError("a forged webhook was taken")

    @rule(pick=PICKS, difference=st.sampled_from((-1, 1, 100)), cut=CUTS)
    def wrong_money(self, pick: int, difference: int, cut: tuple[int, When] | None) -> None:
        """xPay itself reports success, for another amount."""
        if sold := self.sold(pick):
            amount = sold.order.amount_minor + difference
            names = {"intentId": sold.x_intent_id, "metadata": metadata_of(sold)}
            self.send_webhook(
                "intent.success", cut, amount=amount, currency=sold.order.currency, **names
            )

    @rule(pick=PICKS, cut=CUTS)
    def a_stranger(self, pick: int, cut: tuple[int, When] | None) -> None:
        fields = {"amount": 1999, "currency": "USD", "receiptId": "order-9"}
        self.send_webhook("intent.success", cut, intentId=f"in_foreign_{pick}", **fields)

    def send_webhook(self, event_type: str, cut: tuple[int, When] | None, **fields: Any) -> None:
        event_id = f"whe_by_hand_{next(self.numbers)}"
        body = body_of(event_type, event_id, **fields)
        if self.shop(lambda: self.world.flow.receive_webhook(signed(body), body), cut):
            self.acknowledged.add(event_id)

    # --- the shop's own work, and time

    @rule(cut=CUTS)
    def a_worker(self, cut: tuple[int, When] | None) -> None:
        self.shop(lambda: self.world.flow.deliver(), cut)

    @rule(cut=CUTS)
    def a_reconciler(self, cut: tuple[int, When] | None) -> None:
        self.shop(lambda: self.world.flow.reconcile(), cut)

    @rule(work=st.booleans())
    def the_printer(self, work: bool) -> None:
        self.handlers_work = work

    @rule(seconds=st.sampled_from((1, 10, 31, 61, 130, 901, 3601, 4 * 3600, 86_400)))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: self.calls)
    @rule()
    def restart_quietly(self) -> None:
        self.restart()

    # --- what holds at every moment

    @invariant()
    def every_promise(self) -> None:
        if not hasattr(self, "world"):
            return
        self.failed = True
        records = self.records()
        for record in records:
            self.check_growth(record)
            if record.intent is not None:
                check_snapshot(record)
                self.check_paid(record)
        self.check_acknowledged(records)
        self.check_calls(records)
        self.check_creations(records)
        self.before = {record.key: record for record in records}
        self.failed = False

    def check_growth(self, record: Record) -> None:
        """Nothing recorded is ever forgotten, and no intent moves down."""
        old = self.before.get(record.key)
        ids = [recorded.id for recorded in record.events]
        assert len(set(ids)) == len(ids), "a fact is on file twice"
        if old is None:
            return
        assert old.version <= record.version
        assert ids[: len(old.events)] == [recorded.id for recorded in old.events]
        assert {e.id for e in old.outbox} <= {e.id for e in record.outbox}
        if old.intent is not None:
            assert record.intent is not None
            rank = LIFECYCLE.rank
            assert rank(old.intent.state) <= rank(record.intent.state)
            assert old.intent.money_checked <= record.intent.money_checked
            assert old.intent.refunded_minor <= record.intent.refunded_minor

    def check_paid(self, record: Record) -> None:
        """What we call paid, xPay has been paid: this very amount, for this attempt."""
        intent = record.intent
        assert intent is not None
        if not intent.money_checked:
            return
        assert any(
            sold.succeeded and sold.order.money == intent.money
            for sold in self.world.xpay.intents()
            if sold.x_intent_id in intent.x_intent_ids
        ), "paid here and not at xPay"

    def check_acknowledged(self, records: list[Record]) -> None:
        on_file = {recorded.event.event_id for record in records for recorded in record.events}
        assert self.acknowledged <= on_file, "an acknowledged event is not on file"

    def check_calls(self, records: list[Record]) -> None:
        """Each call was due, under its own key; the success of one intent has one key."""
        entries = {entry.id for record in records for entry in record.outbox}
        assert {key for _, key, _ in self.calls} <= entries
        for name, key, intent_id in self.calls:
            if name == "on_success":
                assert f"{intent_id}:on_success" == key

    def check_creations(self, records: list[Record]) -> None:
        """xPay has at most one intent for each attempt, and none for what we call rejected."""
        made = Counter(metadata_of(sold).get(OUR_ID) for sold in self.world.xpay.intents())
        assert all(number == 1 for number in made.values()), "a lost answer made a second payment"
        for record in records:
            if record.intent is not None and record.intent.state == "rejected":
                assert record.intent.id not in made, "silence was taken for a refusal"

    # --- what holds at the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        if not self.failed:
            self.end_well()
        self.close_store(self.store.inner)

    def end_well(self) -> None:
        self.handlers_work = True
        self.world.xpay.set_faults(FaultPlan())
        self.restart()
        self.lost_webhooks_are_noticed()
        self.everything_arrives()
        self.every_promise()
        self.check_the_end()

    def lost_webhooks_are_noticed(self) -> None:
        """No webhook comes any more: all that is still open is found by reconciliation."""
        scheduled = {record.key for record in self.records() if record.reconcile_at_ms is not None}
        for _ in range(40):
            waiting = [r.reconcile_at_ms for r in self.records() if r.reconcile_at_ms is not None]
            if not waiting:
                break
            self.world.advance(max(0, min(waiting) - self.world.clock.now_ms()) / 1000)
            self.world.flow.reconcile()
        for record in self.records():
            if record.key in scheduled and record.intent and is_resolved(record):
                assert self.paid_at_xpay(record) == record.intent.money_checked

    def paid_at_xpay(self, record: Record) -> bool:
        assert record.intent is not None
        return any(
            sold.succeeded
            for sold in self.world.xpay.intents()
            if metadata_of(sold).get(OUR_ID) == record.intent.id
        )

    def everything_arrives(self) -> None:
        for event in self.world.xpay.events():
            self.world.xpay.redeliver(event.event_id)
        for _ in range(12):
            self.world.xpay.deliver_due(self.post)
            self.world.flow.deliver()
            for record in self.records():
                for entry in record.outbox:
                    if entry.status == "gave_up" and record.intent is not None:
                        self.world.flow.redeliver(record.intent.id, entry.id)
            self.world.advance(3601)
            self.world.flow.reconcile()
        assert self.world.xpay.next_due_at_ms() is None

    def check_the_end(self) -> None:
        records = self.records()
        owned = Counter(f.event.event_id for r in records if r.intent for f in r.events)
        for record in records:
            if record.intent is not None and is_resolved(record):
                assert self.paid_at_xpay(record) == record.intent.money_checked
                self.check_fulfilled(record)
        for event in self.world.xpay.events():
            if event.x_intent_id and self.owner_is_known(event.x_intent_id):
                assert 1 == owned[event.event_id], "an event did not reach its intent once"

    def owner_is_known(self, x_intent_id: str) -> bool:
        return any(record.intent for record in self.store.inner.history(f"x:{x_intent_id}"))

    def check_fulfilled(self, record: Record) -> None:
        """Exactly what was paid is fulfilled, and the books say so once."""
        intent = record.intent
        assert intent is not None
        called = {key for _, key, intent_id in self.calls if intent_id == intent.id}
        for entry in record.outbox:
            assert entry.status in ("done", "dropped"), entry
            assert (entry.status == "done") <= (entry.id in called)
            if entry.name == "on_success" and entry.status == "dropped":
                assert intent.refund_status == "full"
            done = sum(entry.outcome == "done" for entry in entry.log)
            assert done == (entry.status == "done"), entry
        success = f"{intent.id}:on_success"
        assert (success in {entry.id for entry in record.outbox}) == intent.money_checked


def metadata_of(sold: Sold | None) -> dict[str, str]:
    return dict(sold.order.metadata or {}) if sold else {OUR_ID: "pi_1"}


def check_snapshot(record: Record) -> None:
    """The snapshot and the pending calls follow from the set of events, in any order."""
    assert record.intent is not None
    events = [
        # Facts are kept without the address of the checkout; the snapshot has it.
        attrs.evolve(f.event, url="x") if f.event.kind == "create_answered" else f.event
        for f in record.events
    ]
    truth, seen = (
        truth_of(record.intent.money, events, names=(record.intent.receipt_id, record.intent.id)),
        seen_in(record.intent),
    )
    # A request that is too old to be sent again is forgotten, which no event reports.
    assert truth.request_is_kept or not seen.request_is_kept
    assert attrs.evolve(truth, request_is_kept=seen.request_is_kept) == seen
    assert sorted(truth.due) == sorted((e.name, e.subject) for e in record.outbox)


def differences(one: Any, other: Any) -> list[tuple[str, object, object]]:
    """The fields in which two values differ, for a readable failure."""
    pairs = (
        (f.name, getattr(one, f.name), getattr(other, f.name)) for f in attrs.fields(type(one))
    )
    return [pair for pair in pairs if pair[1] != pair[2]]


def is_resolved(record: Record) -> bool:
    """Whether it is known which intent of xPay's this attempt is, or that there is none."""
    assert record.intent is not None
    return bool(record.intent.x_intent_ids) or record.intent.state == "rejected"
