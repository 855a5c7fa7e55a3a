"""Which purchases are interrupted? Whole stories, told so that any act may be cut short.

An act that is cut short is done again the way reality would: the customer clicks again, xPay
delivers again, the worker comes round again. What the story ends in must not depend on the cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar, cast

import attrs
from core.folding import seen_in
from core.oracle import Truth, truth_of
from flows.kit import UNHURRIED, Crash, Fuse, FusedFlow, When

from xpay_flow.errors import MerchantError, OutcomeUnknown, XPayRefused
from xpay_flow.intent import Intent
from xpay_flow.money import Money
from xpay_flow.payment import Payment
from xpay_flow.ports import Store
from xpay_flow.records import Record
from xpay_flow.sandbox import FaultPlan
from xpay_flow.testing.world import World

T = TypeVar("T")
Open = Callable[[], Store]

# Longer than a worker's lease, and than the reconciler waits for who began a creation.
LEASE_S = 61


class Shop:
    """A shop whose process may stop at any effect; a new one then opens the same store."""

    def __init__(self, open_store: Open, **settings: Any) -> None:
        self._open = open_store
        self.fuse = Fuse()
        self.world = World(open_store(), config=UNHURRIED, flow_type=FusedFlow, **settings)
        self.xpay = self.world.xpay
        self.crashes = 0
        self._fulfil: Callable[[Payment], object] | None = None
        self._begin()

    def _begin(self) -> None:
        """What every process of the shop does at its start."""
        cast(FusedFlow, self.world.flow).fuse = self.fuse
        if self._fulfil is not None:
            self.world.flow.on_success(self._fulfil)

    def register(self, fulfil: Callable[[Payment], object]) -> None:
        self._fulfil = fulfil
        self._begin()

    def act(self, act: Callable[[], T]) -> T:
        """Do something; if the process stops in the middle, restart it and do it again."""
        try:
            return act()
        except Crash:
            self.crashes += 1
            self.restart()
            return act()

    def restart(self) -> None:
        self.fuse.defuse()
        getattr(self.world.flow.store, "close", lambda: None)()
        self.world.flow = self.world.new_flow(self._open())
        self._begin()

    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)

    def start(self, **options: Any) -> str:
        """The customer presses Pay, again if need be; xPay's id, or nothing where none is known."""
        try:
            return self.act(lambda: self.world.start_checkout(**options)).x_intent_id or ""
        except (OutcomeUnknown, XPayRefused, MerchantError):
            return ""

    def forward(self) -> None:
        self.act(lambda: self.world.flow.forward(self.intent_id()))

    def intent_id(self) -> str:
        """Ours, of the last attempt; a process that stopped may have used up an id."""
        (*_, last) = self.world.flow.store.load("receipt:order-42")
        assert last.intent is not None
        return last.intent.id

    def hear(self) -> None:
        self.act(self.world.deliver_webhooks)

    def work(self) -> None:
        """A worker's pass; one that was cut short is made up for when its claim runs out."""
        before = self.crashes
        self.act(lambda: self.world.flow.deliver())
        if self.crashes > before:
            self.wait(LEASE_S)
            self.act(lambda: self.world.flow.deliver())

    def ask(self) -> None:
        self.act(lambda: self.world.flow.reconcile())

    def quiet(self) -> None:
        """Time passes, until nothing is left to arrive, to ask or to call."""
        for _ in range(4):
            self.hear()
            self.work()
            self.wait(LEASE_S)
            self.ask()
        self.hear()
        self.work()

    def records(self) -> list[Record]:
        keys = {timeline.key for timeline in self.world.flow.recent(100)}
        return [self.world.flow.store.load(key)[0] for key in sorted(keys)]

    def close(self) -> None:
        self.world.flow.close()


# --- stories -------------------------------------------------------------------------------------


def purchase(shop: Shop) -> None:
    """Start, forward, a declined card, a good one, the return, a refund, a question to xPay."""
    x_intent_id = shop.start()
    shop.forward()
    shop.xpay.open_checkout(x_intent_id)
    shop.hear()
    shop.xpay.decline(x_intent_id)
    shop.hear()
    shop.work()
    shop.xpay.pay(x_intent_id)
    shop.hear()
    shop.world.status(x_intent_id)
    shop.work()
    shop.xpay.refund(x_intent_id, 500)
    shop.hear()
    shop.work()
    shop.wait(LEASE_S)
    shop.ask()
    shop.quiet()


def lost_answer(shop: Shop) -> None:
    """xPay made the intent and nobody heard; the customer pays, and its news names nobody."""
    shop.xpay.set_faults(
        FaultPlan.from_dict(
            {
                "api": [{"fault": "lose_answer", "times": 3}],
                "webhooks": [{"fault": "no_metadata"}, {"fault": "null_receipt"}],
            }
        )
    )
    shop.start()
    shop.xpay.set_faults(shop.xpay.faults.from_dict({"webhooks": NAMELESS}))
    (intent,) = shop.xpay.intents()
    shop.xpay.pay(intent.x_intent_id)
    shop.hear()
    shop.wait(31)
    shop.ask()
    shop.work()
    shop.quiet()


NAMELESS = [{"fault": "no_metadata"}, {"fault": "null_receipt"}]


def lost_webhooks(shop: Shop) -> None:
    """Every webhook is lost; asking finds the payment, and a second attempt is paid, too."""
    shop.xpay.set_faults(FaultPlan.from_dict({"webhooks": [{"fault": "lose"}]}))
    first = shop.start()
    shop.xpay.pay(first)
    shop.wait(LEASE_S)
    shop.ask()
    shop.work()
    shop.quiet()


def refused_then_paid(shop: Shop) -> None:
    """xPay refuses the first amount; the order is corrected, cancelled, and paid late."""
    shop.start(money=Money(1, "USD"))
    x_intent_id = shop.start()
    shop.xpay.cancel(x_intent_id)
    for _ in range(2):
        # Nobody tells of a cancellation, so a question that was cut short is asked again.
        shop.wait(301)
        shop.ask()
    shop.xpay.pay(x_intent_id, despite_cancel=True)
    shop.hear()
    shop.work()
    shop.xpay.dispute(x_intent_id)
    shop.hear()
    shop.work()
    shop.quiet()


def never_made(shop: Shop) -> None:
    """xPay answers errors under the key and has made nothing: closed as refused, then bought."""
    shop.xpay.set_faults(FaultPlan.from_dict({"api": [{"fault": "error_json", "times": 1}]}))
    shop.start()
    shop.wait(31)
    shop.ask()
    shop.wait(121)
    shop.ask()
    for _ in range(9):
        if x_intent_id := shop.start():
            break
        shop.wait(301)
        shop.ask()
    shop.xpay.pay(x_intent_id)
    shop.hear()
    shop.work()
    shop.quiet()


def handler_gives_up(shop: Shop) -> None:
    """The handler fails until its retries are used up, a person mends it and owes it again."""
    broken = [True]

    def fulfil(payment: Payment) -> None:
        if broken[0]:
            raise RuntimeError("no paper")
        shop.world.calls.append(("on_success", payment))

    shop.register(fulfil)
    x_intent_id = shop.start()
    shop.xpay.pay(x_intent_id)
    shop.hear()
    for _ in range(8):
        shop.work()
        shop.wait(LEASE_S)
    broken[0] = False
    effect_id = f"{shop.intent_id()}:on_success"
    shop.act(lambda: shop.world.flow.redeliver("order-42", effect_id))
    shop.work()
    shop.quiet()


STORIES = (purchase, lost_answer, lost_webhooks, refused_then_paid, never_made, handler_gives_up)


# --- what a story ends in ------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Ending:
    """All of a story that must not depend on where it was cut."""

    at_xpay: tuple[tuple[str, str], ...]
    intents: tuple[Truth, ...]
    effects: tuple[tuple[str, str], ...]
    ledger: frozenset[str]
    news: tuple[tuple[int, str], ...]


def ending(shop: Shop) -> Ending:
    """How the story ended. A customer who clicks again after a refusal that nobody told of is
    refused again, so refused attempts are not counted."""
    records = [r for r in shop.records() if r.intent is None or r.intent.state != "rejected"]
    attempts = [r for r in records if r.intent]
    # Ids and numbers differ from run to run; the place of an attempt does not.
    places = {r.intent.id: place for place, r in enumerate(attempts) if r.intent}

    def placed(effect_id: str) -> str:
        intent_id, _, rest = effect_id.partition(":")
        return f"{places[intent_id]} {rest}"

    made = [intent.x_intent_id for intent in shop.xpay.intents()]
    facts = [(place, f.event) for place, r in enumerate(attempts) for f in r.facts]
    return Ending(
        at_xpay=tuple((x, shop.xpay.status(x)) for x in made),
        intents=tuple(timeless(r.intent) for r in attempts if r.intent),
        effects=tuple(sorted((placed(e.id), e.status) for r in attempts for e in r.effects)),
        ledger=frozenset(placed(payment.idempotency_key) for _, payment in shop.world.calls),
        news=tuple(sorted((place, e.event_id) for place, e in facts if e.source == "webhook")),
    )


def timeless(intent: Intent) -> Truth:
    """The truth about an intent without the times that differ when something is done later."""
    truth = seen_in(intent)
    return attrs.evolve(
        truth,
        failure=(0, truth.failure[1]) if truth.failure else None,
        payment_method=(0, truth.payment_method[1]) if truth.payment_method else None,
        # Whether xPay was asked before or after some change is not a fact about the payment. The
        # digest of a webhook covers our intent id, which it carries.
        evidence=frozenset(
            e.partition("#")[0] for e in truth.evidence if not e.startswith("answer/get")
        ),
        kinds=frozenset(k for k in truth.kinds if not k.startswith("report.")),
    )


def check_ending(shop: Shop) -> None:
    """What every story must end in, wherever it was cut."""
    records = shop.records()
    for record in records:
        if record.intent is not None:
            check_record(record)
    check_acknowledged(shop, records)
    check_calls(shop, records)


def check_record(record: Record) -> None:
    """The snapshot says what its facts say, and each call that they make due is owed once."""
    assert record.intent is not None
    facts = [with_url(fact.event) for fact in record.facts]
    truth = truth_of(record.intent.money, facts)
    assert truth == seen_in(record.intent)
    assert sorted(truth.owed) == sorted((e.name, e.subject) for e in record.effects)


def with_url(event: Any) -> Any:
    """Facts are kept without the address of the checkout, which is all that this restores."""
    return attrs.evolve(event, url="x") if event.kind == "create_answered" else event


def check_acknowledged(shop: Shop, records: list[Record]) -> None:
    """Every event that was answered 200 is on file once, with its intent if there is one."""
    on_file = Counter((f.event.event_id, r.intent is not None) for r in records for f in r.facts)
    for attempt in shop.xpay.delivery_log():
        if attempt.http_status == 200:
            assert 1 == on_file[attempt.event_id, True], attempt


def check_calls(shop: Shop, records: list[Record]) -> None:
    """Done exactly once in the books; called at least once, and always under the books' key."""
    called = Counter(payment.idempotency_key for _, payment in shop.world.calls)
    for effect in (effect for record in records for effect in record.effects):
        done = sum(entry.outcome == "done" for entry in effect.log)
        assert (effect.status == "done") == (done == 1), effect
        assert done <= 1, effect
        assert (called[effect.id] > 0) >= (done == 1), effect
        assert "owed" != effect.status, effect
        called.pop(effect.id, None)
    assert not called, "a handler was called that was not owed"
    assert sum(n - 1 for n in Counter(p.idempotency_key for _, p in shop.world.calls).values()) <= (
        shop.crashes
    )


# --- cutting -------------------------------------------------------------------------------------


def told(story: Callable[[Shop], None], open_store: Open, **cut: Any) -> Shop:
    """The story, cut at one effect if `at` is given."""
    shop = Shop(open_store, retry_schedule_s=(5, 30))
    if cut:
        shop.fuse.set(cut["at"], cut["when"])
    story(shop)
    return shop


def length(story: Callable[[Shop], None], open_store: Open) -> int:
    """How many effects the story takes without a cut."""
    shop = told(story, open_store)
    shop.close()
    return shop.fuse.seen


WHENS: tuple[When, ...] = ("before", "after")
