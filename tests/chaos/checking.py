"""Was anything lost, done twice, or left undone? Compare what was sent with the evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from .evidence import AtXPay, Evidence, Stored
from .plan import LEFT, Expected, Plan, expected

ACKNOWLEDGED: Final = 200


@attrs.frozen
class Fault:
    """One thing that is not as it must be. `kind` is one of `KINDS`."""

    kind: str
    about: str
    text: str


KINDS: Final = (
    "not sent on",
    "sent astray",
    "made twice",
    "charged twice",
    "charged wrongly",
    "creation lost",
    "creation unresolved",
    "refusal mistaken",
    "unanswered",
    "refused",
    "lost",
    "recorded twice",
    "wrong state",
    "paid twice",
    "not fulfilled",
    "fulfilled unpaid",
    "call missing",
    "call unexpected",
    "key changed",
    "key shared",
    "still pending",
)


def faults(plan: Plan, evidence: Evidence) -> list[Fault]:
    """Everything that is wrong; nothing, if all is well."""
    endings = {order: expected(events) for order, events in plan.by_order().items()}
    return [
        *_pages(endings, evidence),
        *_creations(evidence),
        *_refusals(evidence),
        *_charges(endings, evidence),
        *_answers(plan, evidence),
        *_events(plan, evidence),
        *_states(endings, evidence),
        *_ledger(endings, evidence),
        *_calls(endings, evidence),
        *_keys(evidence),
        *_owed(evidence),
    ]


def _pages(endings: dict[str, Expected], evidence: Evidence) -> Iterator[Fault]:
    """Who stayed was sent on, and each to a page of xPay for the order that is to be paid."""
    theirs = {(payment.order, payment.page) for payment in evidence.at_xpay}
    for order, page in sorted({*evidence.pages}):
        if (order, page) not in theirs:
            yield Fault("sent astray", order, "its customer was sent to a page that is another's")
    sent_on = {order for order, _ in evidence.pages}
    for order, ending in endings.items():
        if not ending.may_be_missing and order not in sent_on:
            yield Fault("not sent on", order, "its customer never got to a page of xPay")


def _creations(evidence: Evidence) -> Iterator[Fault]:
    """xPay holds one payment for each order at most, and the books know it."""
    made, known = _ids(evidence.at_xpay), _ids(_not_refused(evidence))
    for order in sorted(made.keys() | known.keys()):
        if len(made[order]) > 1:
            yield Fault("made twice", order, f"xPay holds {len(made[order])} payments for it")
        for x_intent_id in made[order] - known[order]:
            yield Fault("creation lost", order, f"the books do not know of {x_intent_id}")
        for x_intent_id in known[order] - made[order]:
            text = f"{x_intent_id} is on file, and xPay holds no such payment"
            yield Fault("creation unresolved", order, text)


def _refusals(evidence: Evidence) -> Iterator[Fault]:
    """What xPay has refused, and nothing else, is closed as refused."""
    for stored in evidence.intents:
        if (stored.as_refusal in evidence.refused) != (stored.state == "rejected"):
            verb = "refused" if stored.as_refusal in evidence.refused else "did not refuse"
            yield Fault("refusal mistaken", stored.order, f"xPay {verb} {stored}")
    for refusal in {*evidence.refused} - {stored.as_refusal for stored in evidence.intents}:
        yield Fault("refusal mistaken", refusal.order, f"{refusal} is not in the books")


def _not_refused(evidence: Evidence) -> list[Stored]:
    """The attempts of which something may have come."""
    return [stored for stored in evidence.intents if stored.as_refusal not in evidence.refused]


def _charges(endings: dict[str, Expected], evidence: Evidence) -> Iterator[Fault]:
    """Each paid order was charged once, and no other."""
    charged = Counter(payment.order for payment in evidence.at_xpay if payment.is_paid)
    for order in sorted(endings.keys() | charged.keys()):
        if charged[order] > 1:
            yield Fault("charged twice", order, f"xPay has charged for it {charged[order]} times")
        elif charged[order] != endings.get(order, LEFT).is_paid:
            yield Fault("charged wrongly", order, f"xPay has charged for it {charged[order]} times")


def _ids(payments: Iterable[AtXPay | Stored]) -> dict[str, set[str | None]]:
    """xPay's ids for each order."""
    found: dict[str, set[str | None]] = defaultdict(set)
    for payment in payments:
        found[payment.order].add(payment.x_intent_id)
    return found


def _answers(plan: Plan, evidence: Evidence) -> Iterator[Fault]:
    for number, event in enumerate(plan.deliveries):
        status = evidence.answers.get(number)
        if status is None:
            yield Fault("unanswered", event.id, f"delivery {number} was never acknowledged")
        elif status != ACKNOWLEDGED:
            yield Fault("refused", event.id, f"delivery {number} was answered {status}")


def _events(plan: Plan, evidence: Evidence) -> Iterator[Fault]:
    on_file = Counter(evidence.events)
    acknowledged = {
        (event.order, event.id)
        for number, event in enumerate(plan.deliveries)
        if evidence.answers.get(number) == ACKNOWLEDGED
    }
    for order, event_id in sorted(acknowledged):
        if not on_file[order, event_id]:
            yield Fault("lost", order, f"{event_id} was acknowledged and is not on file")
    for (order, event_id), times in on_file.items():
        if times > 1:
            yield Fault("recorded twice", order, f"{event_id} is on file {times} times")


def _states(endings: dict[str, Expected], evidence: Evidence) -> Iterator[Fault]:
    found: dict[str, list[Stored]] = defaultdict(list)
    for stored in _not_refused(evidence):
        found[stored.order].append(stored)
    for order, ending in endings.items():
        if not found[order] and not ending.may_be_missing:
            yield Fault("wrong state", order, "it is not in the books")
        for stored in found[order]:
            if stored.state not in ending.states or stored.refunded_minor != ending.refunded_minor:
                yield Fault("wrong state", order, f"{stored} where {ending} was expected")
    for order in found.keys() - endings.keys():
        yield Fault("wrong state", order, "no customer wanted to pay this")


def _ledger(endings: dict[str, Expected], evidence: Evidence) -> Iterator[Fault]:
    times = Counter(order for order, _ in evidence.ledger)
    paid = {order for order, ending in endings.items() if ending.is_paid}
    for order in sorted(paid | times.keys()):
        if order not in paid:
            yield Fault("fulfilled unpaid", order, "it is in the ledger and was not paid")
        elif not times[order]:
            yield Fault("not fulfilled", order, "it was paid and is not in the ledger")
        elif times[order] > 1:
            yield Fault("paid twice", order, f"it is in the ledger {times[order]} times")


def _calls(endings: dict[str, Expected], evidence: Evidence) -> Iterator[Fault]:
    made: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for call in evidence.calls:
        made[call.order].add((call.handler, call.subject))
    for order in sorted(endings.keys() | made.keys()):
        ending = endings.get(order, LEFT)
        for call_ in sorted(ending.calls - made[order]):
            yield Fault("call missing", order, f"{call_} was due and not made")
        for call_ in sorted(made[order] - ending.calls - ending.may):
            yield Fault("call unexpected", order, f"{call_} was made and not due")


def _keys(evidence: Evidence) -> Iterator[Fault]:
    """One key for each thing to do, and the same one in both ledgers."""
    keys: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for call in evidence.calls:
        keys[call.order, call.handler, call.subject].add(call.key)
    for order, key in evidence.ledger:
        keys[order, "on_success", ""].add(key)
    for (order, handler, _), used in keys.items():
        if len(used) > 1:
            yield Fault("key changed", order, f"{handler} was called with {sorted(used)}")
    users = Counter(key for used in keys.values() for key in used)
    for key, times in users.items():
        if times > 1:
            yield Fault("key shared", key, f"{times} different things were done with it")


def _owed(evidence: Evidence) -> Iterator[Fault]:
    for entry in evidence.outbox:
        if entry.status not in ("done", "dropped"):
            text = f"{entry.handler} is {entry.status} at the end"
            yield Fault("still pending", entry.order, text)
