"""What must every story end in? What is on file, compared with itself and with the uncut story."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
from core.folding import seen_in
from core.oracle import Truth, truth_of

from xpay_flow.intent import Intent
from xpay_flow.records import Record
from xpay_flow.sandbox import Sandbox


@attrs.frozen(kw_only=True)
class Books:
    """What is left when a story is over.

    Args:
        keys: the idempotency keys with which handlers did their work, in order.
        crashes: how many processes stopped.
    """

    records: tuple[Record, ...]
    xpay: Sandbox
    keys: tuple[str, ...]
    crashes: int


@attrs.frozen(kw_only=True)
class Ending:
    """All of a story that must not depend on where it was cut."""

    at_xpay: tuple[tuple[str, str], ...]
    intents: tuple[Truth, ...]
    outbox: tuple[tuple[str, str], ...]
    ledger: frozenset[str]
    webhooks: tuple[tuple[int, str], ...]


def ending(books: Books) -> Ending:
    """How the story ended. A customer who clicks again after an unreported refusal is
    refused again, so refused attempts are not counted."""
    records = [r for r in books.records if r.intent is None or r.intent.state != "rejected"]
    attempts = [r for r in records if r.intent]
    # Ids and numbers differ from run to run; the place of an attempt does not.
    places = {r.intent.id: place for place, r in enumerate(attempts) if r.intent}

    def placed(entry_id: str) -> str:
        intent_id, _, rest = entry_id.partition(":")
        return f"{places[intent_id]} {rest}"

    made = [intent.x_intent_id for intent in books.xpay.intents()]
    events = [(place, f.event) for place, r in enumerate(attempts) for f in r.events]
    return Ending(
        at_xpay=tuple((x, books.xpay.status(x)) for x in made),
        intents=tuple(timeless(r.intent) for r in attempts if r.intent),
        outbox=tuple(sorted((placed(e.id), e.status) for r in attempts for e in r.outbox)),
        ledger=frozenset(placed(key) for key in books.keys),
        webhooks=tuple(sorted((place, e.event_id) for place, e in events if e.source == "webhook")),
    )


def timeless(intent: Intent) -> Truth:
    """The truth about an intent without the times that differ when something is done later."""
    truth = seen_in(intent)
    return attrs.evolve(
        truth,
        failure=(0, truth.failure[1]) if truth.failure else None,
        payment_method=(0, truth.payment_method[1]) if truth.payment_method else None,
        # Whether xPay was called before or after some change is not an event about the payment. The
        # digest of a webhook covers our intent id, which it carries.
        evidence=frozenset(
            e.partition("#")[0] for e in truth.evidence if not e.startswith("answer/get")
        ),
        kinds=frozenset(k for k in truth.kinds if not k.startswith("report.")),
    )


def check_ending(books: Books) -> None:
    """What every story must end in, wherever it was cut."""
    for record in books.records:
        if record.intent is not None:
            check_record(record)
    check_acknowledged(books)
    check_calls(books)


def check_record(record: Record) -> None:
    """The snapshot follows from its events, and each call that they make due is due once."""
    assert record.intent is not None
    events = [with_url(recorded.event) for recorded in record.events]
    truth = truth_of(
        record.intent.money, events, names=(record.intent.receipt_id, record.intent.id)
    )
    assert truth == seen_in(record.intent)
    assert sorted(truth.due) == sorted((e.name, e.subject) for e in record.outbox)


def with_url(event: Any) -> Any:
    """Facts are kept without the address of the checkout, which is all that this restores."""
    return attrs.evolve(event, url="x") if event.kind == "create_answered" else event


def check_acknowledged(books: Books) -> None:
    """Every event that was answered 200 is on file once, with its intent."""
    owned = Counter(f.event.event_id for r in books.records if r.intent for f in r.events)
    for attempt in books.xpay.delivery_log():
        if attempt.http_status == 200:
            assert 1 == owned[attempt.event_id], attempt


def check_calls(books: Books) -> None:
    """Done exactly once in the books; called at least once, and always under the books' key."""
    called = Counter(books.keys)
    outbox = [entry for record in books.records for entry in record.outbox]
    assert set(called) <= {entry.id for entry in outbox}, "a call that was not due"
    for entry in outbox:
        done = sum(entry.outcome == "done" for entry in entry.log)
        assert "pending" != entry.status, entry
        assert (entry.status == "done") == (done == 1), entry
        assert done <= called[entry.id], entry
    # Twice only where a process stopped between the call and its record.
    assert called.total() - len(called) <= books.crashes
