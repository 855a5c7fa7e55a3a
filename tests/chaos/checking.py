"""Was anything lost, done twice, or left undone? Compare what was sent with the evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

import attrs

from .evidence import Evidence
from .plan import Expected, Plan, expected

ACKNOWLEDGED: Final = 200


@attrs.frozen
class Fault:
    """One thing that is not as it must be. `kind` is one of `KINDS`."""

    kind: str
    about: str
    text: str


KINDS: Final = (
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
    "still owed",
)


def faults(plan: Plan, evidence: Evidence) -> list[Fault]:
    """Everything that is wrong; nothing, if all is well."""
    endings = {x: expected(told) for x, told in plan.by_intent().items()}
    return [
        *_answers(plan, evidence),
        *_facts(plan, evidence),
        *_states(endings, evidence),
        *_ledger(endings, evidence),
        *_calls(endings, evidence),
        *_keys(evidence),
        *_owed(evidence),
    ]


def _answers(plan: Plan, evidence: Evidence) -> Iterator[Fault]:
    for number, event in enumerate(plan.deliveries):
        status = evidence.answers.get(number)
        if status is None:
            yield Fault("unanswered", event.id, f"delivery {number} was never acknowledged")
        elif status != ACKNOWLEDGED:
            yield Fault("refused", event.id, f"delivery {number} was answered {status}")


def _facts(plan: Plan, evidence: Evidence) -> Iterator[Fault]:
    on_file = Counter(evidence.facts)
    acknowledged = {
        (event.x_intent_id, event.id)
        for number, event in enumerate(plan.deliveries)
        if evidence.answers.get(number) == ACKNOWLEDGED
    }
    for x_intent_id, event_id in sorted(acknowledged):
        if not on_file[x_intent_id, event_id]:
            yield Fault("lost", x_intent_id, f"{event_id} was acknowledged and is not on file")
    for (x_intent_id, event_id), times in on_file.items():
        if times > 1:
            yield Fault("recorded twice", x_intent_id, f"{event_id} is on file {times} times")


def _states(endings: dict[str, Expected], evidence: Evidence) -> Iterator[Fault]:
    for x_intent_id, ending in endings.items():
        stored = evidence.intents.get(x_intent_id)
        found = (stored.state, stored.refunded_minor) if stored else None
        wanted = (ending.state, ending.refunded_minor)
        if found != wanted:
            yield Fault("wrong state", x_intent_id, f"{found} where {wanted} was told")
    for x_intent_id in evidence.intents.keys() - endings.keys():
        yield Fault("wrong state", str(x_intent_id), "nobody has told of this payment")


def _ledger(endings: dict[str, Expected], evidence: Evidence) -> Iterator[Fault]:
    times = Counter(x_intent_id for x_intent_id, _ in evidence.ledger)
    paid = {x_intent_id for x_intent_id, ending in endings.items() if ending.is_paid}
    for x_intent_id in sorted(paid | times.keys()):
        if x_intent_id not in paid:
            yield Fault("fulfilled unpaid", x_intent_id, "it is in the ledger and was not paid")
        elif not times[x_intent_id]:
            yield Fault("not fulfilled", x_intent_id, "it was paid and is not in the ledger")
        elif times[x_intent_id] > 1:
            text = f"it is in the ledger {times[x_intent_id]} times"
            yield Fault("paid twice", x_intent_id, text)


def _calls(endings: dict[str, Expected], evidence: Evidence) -> Iterator[Fault]:
    made: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for call in evidence.calls:
        made[call.x_intent_id].add((call.handler, call.subject))
    nothing = Expected("", False, 0, frozenset(), frozenset())
    for x_intent_id in sorted(endings.keys() | made.keys()):
        ending = endings.get(x_intent_id, nothing)
        for call_ in sorted(ending.calls - made[x_intent_id]):
            yield Fault("call missing", x_intent_id, f"{call_} was owed and not made")
        for call_ in sorted(made[x_intent_id] - ending.calls - ending.may):
            yield Fault("call unexpected", x_intent_id, f"{call_} was made and not owed")


def _keys(evidence: Evidence) -> Iterator[Fault]:
    """One key for each thing to do, and the same one in both ledgers."""
    keys: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for call in evidence.calls:
        keys[call.x_intent_id, call.handler, call.subject].add(call.key)
    for x_intent_id, key in evidence.ledger:
        keys[x_intent_id, "on_success", ""].add(key)
    for (x_intent_id, handler, _), used in keys.items():
        if len(used) > 1:
            yield Fault("key changed", x_intent_id, f"{handler} was called with {sorted(used)}")
    users = Counter(key for used in keys.values() for key in used)
    for key, times in users.items():
        if times > 1:
            yield Fault("key shared", key, f"{times} different things were done with it")


def _owed(evidence: Evidence) -> Iterator[Fault]:
    for effect in evidence.effects:
        if effect.status not in ("done", "dropped"):
            text = f"{effect.handler} is {effect.status} at the end"
            yield Fault("still owed", effect.x_intent_id, text)
