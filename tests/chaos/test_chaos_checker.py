"""That the checker of the chaos test sees a loss, a double, a wrong state and each other fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import pytest

from xpay_flow.errors import InvalidValue

from .checking import ACKNOWLEDGED, KINDS, faults
from .evidence import AtXPay, Call, Evidence, OutboxEntry, Refusal, Stored
from .plan import DUPLICATES, IMPATIENT, STORIES, TYPES, Event, Plan, expected, order, planned

T = TypeVar("T")

PLAN = planned(40, 160, seed=1)


def page_of(order: str) -> str:
    return f"http://127.0.0.1/checkout/{order}"


def evidence_of(plan: Plan) -> Evidence:
    """What a shop without a fault leaves behind."""
    endings = {order: expected(sent) for order, sent in plan.by_order().items()}
    calls = [
        Call(handler, order, subject, f"{order}:{handler}:{subject}")
        for order, ending in endings.items()
        for handler, subject in sorted(ending.calls)
    ]
    # Every fifth of them had to begin twice.
    refused = tuple(Refusal(order, f"{order}-1") for order in [*endings][::5])
    return Evidence(
        refused=refused,
        at_xpay=tuple(
            AtXPay(order, f"in_{order}", page_of(order), ending.is_paid)
            for order, ending in endings.items()
        ),
        pages=tuple((order, page_of(order)) for order in endings),
        answers=dict.fromkeys(range(len(plan.deliveries)), ACKNOWLEDGED),
        intents=tuple(
            Stored(order, f"in_{order}", max(ending.states), ending.refunded_minor, f"{order}-2")
            for order, ending in endings.items()
        )
        + tuple(Stored(refusal.order, None, "rejected", 0, refusal.key) for refusal in refused),
        events=tuple((event.order, event.id) for event in plan.events),
        outbox=tuple(OutboxEntry(call.handler, call.order, "done") for call in calls),
        ledger=tuple((c.order, c.key) for c in calls if c.handler == "on_success"),
        calls=tuple(calls),
    )


SOUND = evidence_of(PLAN)


def kinds(evidence: Evidence) -> set[str]:
    return {fault.kind for fault in faults(PLAN, evidence)}


def without(items: tuple[T, ...]) -> tuple[T, ...]:
    return items[1:]


def twice(items: tuple[T, ...]) -> tuple[T, ...]:
    return (*items, items[0])


def changed(known: Mapping[Any, T], change: Callable[[T], T]) -> dict[Any, T]:
    """The same with another value under the first key."""
    first = next(iter(known))
    return {**known, first: change(known[first])}


def one_of(word: str) -> str:
    """An order with these events of its payment."""
    return next(event.order for event in PLAN.events if event.word == word)


def unpaid() -> str:
    sent = PLAN.by_order()
    return next(order for order in sent if sent[order] and not expected(sent[order]).is_paid)


def left() -> str:
    """An order whose customer has left after the first click."""
    return next(order for order, sent in PLAN.by_order().items() if not sent)


def call(**changes: str) -> tuple[Call, ...]:
    """All calls, and the first once more with these changes."""
    return (*SOUND.calls, attrs.evolve(SOUND.calls[0], **changes))


def with_stored(order: str, **changes: Any) -> tuple[Stored, ...]:
    """What is stored, with these changes for one order."""
    return tuple(
        attrs.evolve(stored, **changes)
        if stored.order == order and stored.state != "rejected"
        else stored
        for stored in SOUND.intents
    )


def stored(order: str) -> Stored:
    return next(stored for stored in SOUND.intents if stored.order == order)


def with_refused(**changes: Any) -> tuple[Stored, ...]:
    """What is stored, with these changes for one attempt that xPay has refused."""
    *rest, refused = SOUND.intents
    assert "rejected" == refused.state
    return (*rest, attrs.evolve(refused, **changes))


PLANTED: dict[str, tuple[Evidence, set[str]]] = {
    "a loss": (attrs.evolve(SOUND, events=without(SOUND.events)), {"lost"}),
    "a fact of another payment": (
        attrs.evolve(SOUND, events=((unpaid(), SOUND.events[-1][1]), *SOUND.events[:-1])),
        {"lost"},
    ),
    "a fact twice": (attrs.evolve(SOUND, events=twice(SOUND.events)), {"recorded twice"}),
    "paid twice": (attrs.evolve(SOUND, ledger=twice(SOUND.ledger)), {"paid twice"}),
    "paid twice under two keys": (
        attrs.evolve(SOUND, ledger=(*SOUND.ledger, (SOUND.ledger[0][0], "another"))),
        {"paid twice", "key changed"},
    ),
    "never fulfilled": (attrs.evolve(SOUND, ledger=without(SOUND.ledger)), {"not fulfilled"}),
    "fulfilled unpaid": (
        attrs.evolve(SOUND, ledger=(*SOUND.ledger, (unpaid(), "k"))),
        {"fulfilled unpaid"},
    ),
    "a success that a failure has undone": (
        attrs.evolve(SOUND, intents=with_stored(one_of("success"), state="failed")),
        {"wrong state"},
    ),
    "paid with other money": (
        attrs.evolve(SOUND, intents=with_stored(one_of("other_money"), state="success")),
        {"wrong state"},
    ),
    "a refund of another amount": (
        attrs.evolve(SOUND, intents=with_stored(one_of("refunded"), refunded_minor=1)),
        {"wrong state"},
    ),
    "a customer sent on of whom the books know nothing": (
        attrs.evolve(SOUND, intents=with_stored(one_of("success"), state="created")),
        {"wrong state"},
    ),
    "a payment that is gone": (
        attrs.evolve(
            SOUND, intents=tuple(s for s in SOUND.intents if s.order != one_of("success"))
        ),
        {"wrong state", "creation lost"},
    ),
    "a payment without an order": (
        attrs.evolve(SOUND, intents=(*SOUND.intents, Stored("order-x", "in_x", "created", 0, "k"))),
        {"wrong state", "creation unresolved"},
    ),
    "a second payment for one order": (
        attrs.evolve(
            SOUND,
            at_xpay=(*SOUND.at_xpay, AtXPay(one_of("success"), "in_2", "http://page/2", False)),
            intents=(*SOUND.intents, attrs.evolve(stored(one_of("success")), x_intent_id="in_2")),
        ),
        {"made twice"},
    ),
    "a second payment for one order, charged": (
        attrs.evolve(
            SOUND,
            at_xpay=(*SOUND.at_xpay, AtXPay(one_of("success"), "in_2", "http://page/2", True)),
            intents=(*SOUND.intents, attrs.evolve(stored(one_of("success")), x_intent_id="in_2")),
        ),
        {"made twice", "charged twice"},
    ),
    "a charge for an order that was never paid": (
        attrs.evolve(
            SOUND,
            at_xpay=tuple(
                attrs.evolve(p, is_paid=p.is_paid or p.order == unpaid()) for p in SOUND.at_xpay
            ),
        ),
        {"charged wrongly"},
    ),
    "a payment whose creation the books have forgotten": (
        attrs.evolve(SOUND, intents=tuple(s for s in SOUND.intents if s != stored(left()))),
        {"creation lost"},
    ),
    "a creation that was never reconciled": (
        attrs.evolve(
            SOUND,
            at_xpay=tuple(p for p in SOUND.at_xpay if p.order != left()),
            pages=tuple(p for p in SOUND.pages if p[0] != left()),
            intents=with_stored(left(), x_intent_id=None),
        ),
        {"creation unresolved"},
    ),
    "a refusal that is left open": (
        attrs.evolve(SOUND, intents=with_refused(state="initiated")),
        {"refusal mistaken"},
    ),
    "a refusal of which the books know nothing": (
        attrs.evolve(SOUND, intents=SOUND.intents[:-1]),
        {"refusal mistaken"},
    ),
    "an attempt that is closed, and xPay has made it": (
        attrs.evolve(SOUND, intents=with_stored(left(), state="rejected")),
        {"refusal mistaken", "wrong state"},
    ),
    "an attempt that is closed, and xPay was never called": (
        attrs.evolve(SOUND, intents=with_refused(key="another")),
        {"refusal mistaken", "wrong state", "creation unresolved"},
    ),
    "a customer who stayed and was not sent on": (
        attrs.evolve(SOUND, pages=tuple(p for p in SOUND.pages if p[0] != one_of("success"))),
        {"not sent on"},
    ),
    "a customer sent to the page of another": (
        attrs.evolve(SOUND, pages=(*SOUND.pages, (unpaid(), page_of(one_of("success"))))),
        {"sent astray"},
    ),
    "a call left out": (attrs.evolve(SOUND, calls=without(SOUND.calls)), {"call missing"}),
    "a call too many": (
        attrs.evolve(SOUND, calls=call(subject="nothing", key="k")),
        {"call unexpected"},
    ),
    "a call under another key": (attrs.evolve(SOUND, calls=call(key="k")), {"key changed"}),
    "one key for two payments": (
        attrs.evolve(
            SOUND,
            calls=tuple(
                attrs.evolve(c, key="k") if c.handler == "on_failed" else c for c in SOUND.calls
            ),
        ),
        {"key shared"},
    ),
    "a call that is still pending": (
        attrs.evolve(SOUND, outbox=(attrs.evolve(SOUND.outbox[0], status="pending"),)),
        {"still pending"},
    ),
    "a call that was given up": (
        attrs.evolve(SOUND, outbox=(attrs.evolve(SOUND.outbox[0], status="gave_up"),)),
        {"still pending"},
    ),
    "a delivery without an answer": (
        attrs.evolve(SOUND, answers={n: a for n, a in SOUND.answers.items() if n}),
        {"unanswered"},
    ),
    "a delivery that was refused": (
        attrs.evolve(SOUND, answers=changed(SOUND.answers, lambda _: 401)),
        {"refused"},
    ),
}


def test_a_shop_without_a_fault_is_not_accused() -> None:
    """Evidence as it must be gives no fault at all."""
    assert [] == faults(PLAN, SOUND)


def test_a_call_that_is_made_again_under_its_key_is_no_fault() -> None:
    """Outside the database a handler is called at least once; so it is with superseded events."""
    superseded = next(
        order
        for order, sent in PLAN.by_order().items()
        if {"failed", "success"} <= {event.word for event in sent}
    )
    late = Call("on_failed", superseded, "", f"{superseded}:on_failed:")
    assert [] == faults(PLAN, attrs.evolve(SOUND, calls=(*twice(SOUND.calls), late)))


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_seen(planted: str) -> None:
    """The evidence is doctored in one place, and the checker names what is wrong, and no more."""
    evidence, wanted = PLANTED[planted]
    assert wanted == kinds(evidence)


def test_each_kind_of_fault_is_planted() -> None:
    """What the checker can say, it is seen to say."""
    assert set(KINDS) == set().union(*(wanted for _, wanted in PLANTED.values()))


def test_an_unacknowledged_event_may_be_missing() -> None:
    """What was not acknowledged is unanswered, and not lost."""
    event = PLAN.deliveries[0]
    answers = {n: 200 for n, other in enumerate(PLAN.deliveries) if other != event}
    events = tuple(recorded for recorded in SOUND.events if recorded[1] != event.id)
    assert {"unanswered"} == kinds(attrs.evolve(SOUND, answers=answers, events=events))


# --- the plan ------------------------------------------------------------------------------------


def test_the_plan_is_as_large_and_as_doubled_as_requested() -> None:
    """So many payments and deliveries, of which three in ten are copies of another."""
    plan = planned(150, 600, seed=3)
    assert (150, 600, 180) == (plan.intents, len(plan.deliveries), plan.duplicates)
    assert DUPLICATES == plan.duplicates / 600
    assert set(plan.events) == set(plan.deliveries)
    assert len(plan.events) == len({event.id for event in plan.events})


def test_the_plan_holds_every_story_and_shuffles_them() -> None:
    """Each kind of event is sent, and successes come before and after failures of the payment."""
    plan = planned(150, 600, seed=3)
    assert set(TYPES) == {event.word for event in plan.events}
    first: dict[tuple[int, str], int] = {}
    for at, event in enumerate(plan.deliveries):
        first.setdefault((event.number, event.word), at)
    orders = Counter(
        first[number, "failed"] < at
        for (number, word), at in first.items()
        if word == "success" and (number, "failed") in first
    )
    assert orders[True] > 10
    assert orders[False] > 10


def test_the_same_seed_is_the_same_plan() -> None:
    """And another seed is another."""
    assert planned(30, 120, seed=5) == planned(30, 120, seed=5) != planned(30, 120, seed=6)


def test_a_plan_that_has_no_room_is_refused() -> None:
    """Too few deliveries for every story are an error that names the number needed."""
    with pytest.raises(InvalidValue, match="at least 40"):
        planned(10, 39, seed=1)


@pytest.mark.parametrize(
    ("words", "states", "is_paid"),
    [
        (("made",), {"redirected"}, False),
        (("opened",), {"redirected"}, False),
        (("failed", "opened"), {"failed"}, False),
        (("success", "failed"), {"success"}, True),
        (("failed", "success"), {"success"}, True),
        (("other_money", "opened"), {"redirected"}, False),
        ((), {"created", "redirected"}, False),
    ],
)
def test_what_is_expected_follows_from_the_events(
    words: tuple[str, ...], states: set[str], is_paid: bool
) -> None:
    """The expectation is a few plain lines, and these are their cases."""
    sent = [Event(f"e{at}", 7, word) for at, word in enumerate(words)]
    assert (frozenset(states), is_paid) == (expected(sent).states, expected(sent).is_paid)


def test_orders_without_events_may_be_missing_in_the_books() -> None:
    """Who left after the first click may have been lost before anything was stored."""
    order = left()
    evidence = attrs.evolve(
        SOUND,
        at_xpay=tuple(p for p in SOUND.at_xpay if p.order != order),
        pages=tuple(p for p in SOUND.pages if p[0] != order),
        intents=tuple(s for s in SOUND.intents if s != stored(order)),
    )
    # All that is left of it is that xPay has refused the click, or nothing at all.
    assert order in {refusal.order for refusal in evidence.refused}
    assert [] == faults(PLAN, evidence)
    nothing = attrs.evolve(
        evidence,
        intents=tuple(s for s in evidence.intents if s.order != order),
        refused=tuple(r for r in evidence.refused if r.order != order),
    )
    assert [] == faults(PLAN, nothing)


def test_customers_come_in_the_order_of_their_events_and_some_click_twice() -> None:
    """Each order has one customer; one in five is impatient, and one in twenty leaves."""
    plan = planned(400, 1600, seed=3)
    assert set(range(400)) == {customer.number for customer in plan.customers}
    twice_at_once = sum(customer.clicks == 2 for customer in plan.customers)
    assert abs(twice_at_once - 400 * IMPATIENT) < 40
    assert {o for o, sent in plan.by_order().items() if not sent} == {
        order(customer.number) for customer in plan.customers if not customer.stays
    }
    place = {customer.number: at for at, customer in enumerate(plan.customers)}
    late = sum(
        place[event.number] / 400 > at / 1600 + 0.2 for at, event in enumerate(plan.deliveries)
    )
    assert 0 == late


def test_the_stories_are_weighed_in_hundredths() -> None:
    """So that their shares can be read off."""
    assert 100 == sum(weight for weight, _ in STORIES)
