"""How is the order-free property checked? Fold any decider over histories, and compare.

The decider is an argument, so that wrong ones can be put to the same test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import combinations_with_replacement, permutations
from typing import TypeAlias

import attrs

from xpay_flow.decide import Decision, HandlerDue, handlers_due_by
from xpay_flow.events import Event
from xpay_flow.intent import Intent, Timestamped
from xpay_flow.money import Money

from .oracle import RANKS, SPEAKS_FOR, Call, Truth, Word, truth_of

Decider: TypeAlias = Callable[[Intent, Event], Decision]

REQUESTED = Money(2500, "USD")


def an_intent(money: Money = REQUESTED) -> Intent:
    """An attempt as it stands before any event."""
    return Intent(
        id="int_1",
        receipt_id="order-1001",
        attempt=1,
        money=money,
        idempotency_key="key_1",
        created_at_ms=1_767_605_400_000,
        request='{"amount":2500}',
    )


@attrs.frozen
class Folded:
    """Where a history led, every call it made due on the way, and every fact it recorded."""

    intent: Intent
    handlers_due: tuple[HandlerDue, ...]
    events: tuple[Event, ...]


def fold(decide: Decider, intent: Intent, history: Sequence[Event]) -> Folded:
    handlers_due: list[HandlerDue] = []
    events: list[Event] = []
    for event in history:
        decision = decide(intent, event)
        intent = decision.intent
        handlers_due += decision.handlers_due
        events += [decision.event] if decision.event is not None else []
    return Folded(intent, tuple(handlers_due), tuple(events))


def seen_in(intent: Intent) -> Truth:
    """A snapshot in the oracle's form."""
    return Truth(
        state=intent.state,
        money_checked=intent.money_checked,
        refunds=frozenset((r.refund_id, r.amount_minor) for r in intent.refunds),
        refunded_minor=intent.refunded_minor,
        refund_status=intent.refund_status,
        disputes=frozenset((d.dispute_id, frozenset[str](d.seen)) for d in intent.disputes),
        dispute_status=intent.dispute_status,
        attention=frozenset(intent.attention),
        failure=_word(intent.failure),
        payment_method=_word(intent.payment_method),
        x_intent_ids=frozenset(intent.x_intent_ids),
        kinds=intent.kinds,
        evidence=intent.evidence,
        request_is_kept=intent.request is not None,
        due=calls(handlers_due_by(intent)),
    )


def calls(handlers_due: frozenset[HandlerDue] | Sequence[HandlerDue]) -> frozenset[Call]:
    return frozenset((due.name, due.subject) for due in handlers_due)


def _event_id(event: Event) -> str:
    return event.event_key


def _word(stamped: Timestamped | None) -> Word | None:
    return None if stamped is None else (stamped.at_ms, stamped.word)


def without_url(intent: Intent) -> Intent:
    """The snapshot without the one field in which the first to come wins."""
    return attrs.evolve(intent, checkout_url=None)


def check_orders_agree(
    decide: Decider, intent: Intent, one: Sequence[Event], other: Sequence[Event]
) -> None:
    """Two orders of the same events end alike and make the same calls due, each of them once."""
    first, second = fold(decide, intent, one), fold(decide, intent, other)
    assert without_url(first.intent) == without_url(second.intent)
    assert Counter(first.handlers_due) == Counter(second.handlers_due)
    assert Counter(map(_event_id, first.events)) == Counter(map(_event_id, second.events))


def check_against_oracle(
    decide: Decider,
    intent: Intent,
    history: Sequence[Event],
    *,
    ranks: tuple[str, ...] = RANKS,
    speaks_for: Mapping[str, str] = SPEAKS_FOR,
) -> None:
    """The history ends where the set of its events leads, and every call is made due once."""
    truth = truth_of(intent.money, history, ranks=ranks, speaks_for=speaks_for)
    folded = fold(decide, intent, history)
    assert truth == seen_in(folded.intent)
    assert truth.due == calls(folded.handlers_due)
    assert len(truth.due) == len(folded.handlers_due), "a call was made due twice"
    assert len(truth.evidence) == len(folded.events), "a copy was recorded, or an event was not"


def check_one_step(decide: Decider, intent: Intent, event: Event) -> None:
    """Deciding changes none of its arguments, is repeatable, and learns nothing twice."""
    intent_before, event_before = deepcopy(intent), deepcopy(event)
    decision = decide(intent, event)
    assert decision == decide(intent, event), "the same question had two answers"
    assert (intent_before, event_before) == (intent, event), "an argument was changed"
    again = decide(decision.intent, event)
    assert (decision.intent, None, (), "duplicate") == (
        again.intent,
        again.event,
        again.handlers_due,
        again.disposition,
    )


def check_small_multisets(
    decide: Decider, intent: Intent, alphabet: Sequence[Event], size_max: int = 3
) -> int:
    """Every order of every multiset of up to `size_max` of these events; how many orders it saw."""
    orders = 0
    for size in range(size_max + 1):
        for multiset in combinations_with_replacement(alphabet, size):
            for history in set(permutations(multiset)):
                check_orders_agree(decide, intent, multiset, history)
                check_against_oracle(decide, intent, history)
                orders += 1
    return orders


def check_all_subsets(
    decide: Decider, intent: Intent, alphabet: Sequence[Event], size_max: int | None = None
) -> int:
    """Every order of every subset (of up to `size_max`) of these events, by induction.

    From the snapshot of each subset every further event must lead to the one snapshot of the larger
    subset, and make due exactly what the larger one makes due and the smaller does not. So all
    orders agree, also those of the whole alphabet. Returns the number of subsets.
    """
    step = partial(_grow, decide, intent.money, alphabet)
    layer: dict[frozenset[int], Intent] = {frozenset(): intent}
    subsets = 0
    sizes = len(alphabet) if size_max is None else size_max
    for _ in range(sizes + 1):
        subsets += len(layer)
        larger: dict[frozenset[int], Intent] = {}
        for members, snapshot in layer.items():
            step(members, snapshot, larger)
        layer = larger
    return subsets


def _grow(
    decide: Decider,
    requested: Money,
    alphabet: Sequence[Event],
    members: frozenset[int],
    snapshot: Intent,
    larger: dict[frozenset[int], Intent],
) -> None:
    truth = truth_of(requested, [alphabet[i] for i in members])
    assert truth == seen_in(snapshot)
    for i, event in enumerate(alphabet):
        decision = decide(snapshot, event)
        if i in members:
            assert (snapshot, None, ()) == (decision.intent, decision.event, decision.handlers_due)
            continue
        assert truth.due.isdisjoint(calls(decision.handlers_due)), "a call was made due twice"
        assert calls(handlers_due_by(decision.intent)) == truth.due | calls(decision.handlers_due)
        after = without_url(decision.intent)
        assert larger.setdefault(members | {i}, after) == after
