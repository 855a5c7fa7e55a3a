"""How a record is written down."""

from __future__ import annotations

import contextlib
import json
from typing import Any, get_type_hints

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpay_flow import sample_records as b
from xpay_flow.errors import SchemaMismatch
from xpay_flow.events import Event
from xpay_flow.intent import Dispute, Intent, Refund, Timestamped
from xpay_flow.money import Money
from xpay_flow.records import HandlerAttempt, OutboxEntry, Record, RecordedEvent, with_events
from xpay_flow.stores.codec import (
    from_document,
    from_texts,
    head_to_document,
    part_to_document,
    to_document,
    to_text,
)
from xpay_flow.testing.store_suite import samples

# --- any record ----------------------------------------------------------------------------------

# Half characters too: metadata may hold what only a careless client could write.
texts = st.text(st.characters(exclude_categories=()), max_size=8)


def every(kind: type, **chosen: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Instances with any value in every member, also in those that have a default."""
    inferred = {name: st.from_type(hint) for name, hint in get_type_hints(kind).items()}
    return st.builds(kind, **(inferred | chosen))


events = every(Event, event_id=texts, payload=texts)
events = st.lists(every(RecordedEvent, event=events, why=texts), max_size=3).map(tuple)
logs = st.lists(every(HandlerAttempt), max_size=2).map(tuple)
outbox = st.lists(every(OutboxEntry, log=logs), max_size=3).map(tuple)
moneys = st.builds(Money, st.integers(0, 10**15), st.sampled_from(["USD", "JPY", "KWD"]))
intents = every(
    Intent,
    money=moneys,
    metadata=st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    refunds=st.lists(every(Refund), max_size=2).map(tuple),
    disputes=st.lists(every(Dispute), max_size=2).map(tuple),
    failure=st.none() | every(Timestamped),
    payment_method=st.none() | every(Timestamped),
)
records = every(Record, intent=st.none() | intents, events=events, outbox=outbox)


def with_usual_evidence(record: Record) -> Record:
    """As `decide` makes them: the evidence is what the events beside it say."""
    return with_events(record, record.events)


@given(records.map(with_usual_evidence))
def test_any_record_comes_back_as_it_was(record: Record) -> None:
    """Writing and reading is the identity, for a whole document and for one in parts."""
    assert record == from_document(json.loads(to_text(to_document(record))))
    parts = (map(to_text, map(part_to_document, part)) for part in (record.events, record.outbox))
    assert record == from_texts(to_text(head_to_document(record)), *parts)


def test_real_records_keep_no_evidence_of_their_own() -> None:
    """Evidence is what the events say, so it is not written a second time."""
    for step in samples():
        document = to_document(step.record)
        assert '"evidence"' not in to_text(document)
        assert step.record == from_document(document)


def test_the_address_of_the_checkout_is_written_once() -> None:
    """Anyone with the address can open the page, so the snapshot alone keeps the one in use."""
    record = b.history(b.created("in_1"))[-1].record
    assert record.intent is not None
    url = record.intent.checkout_url
    assert url is not None
    events = [attrs.evolve(recorded.event, url=url) for recorded in record.events]
    events = tuple(
        attrs.evolve(recorded, event=event)
        for recorded, event in zip(record.events, events, strict=True)
    )
    assert 1 == to_text(to_document(attrs.evolve(record, events=events))).count(url)


def test_what_has_its_default_is_not_written() -> None:
    """Rows are short, and a record of an older version needs no rewriting."""
    assert {"key": "k", "events": [], "outbox": []} == to_document(Record(key="k"))


# --- records of other versions -------------------------------------------------------------------

# Written by hand once, from the first release. It must be read by every later one.
GOLDEN = {
    "key": "attempt:1:order-1",
    "version": 2,
    "aliases": ["attempt:1:order-1", "intent:pi_1", "receipt:order-1", "x:in_1"],
    "reconcile_at_ms": 1760000060000,
    "intent": {
        "id": "pi_1",
        "receipt_id": "order-1",
        "attempt": 1,
        "money": {"amount_minor": 1999, "currency": "USD"},
        "idempotency_key": "pi_1:create",
        "created_at_ms": 1760000000000,
        "metadata": [["cart", "7"]],
        "state": "success",
        "x_intent_ids": ["in_1"],
        "refunds": [{"refund_id": "rf_1", "amount_minor": None}],
        "disputes": [{"dispute_id": "dp_1", "seen": ["open", "won"]}],
        "payment_method": {"at_ms": 1760000001000, "word": "CARD"},
        "kinds": ["intent.refunded", "stored"],
    },
    "events": [
        {
            "event": {
                "kind": "stored",
                "type": "stored",
                "source": "merchant",
                "event_id": "own/stored",
                "at_ms": 1760000000000,
            },
            "disposition": "applied",
            "why": "agrees with initiated",
            "at_ms": 1760000000000,
            "version": 1,
        }
    ],
    "outbox": [
        {
            "id": "pi_1:on_success",
            "name": "on_success",
            "tries": 1,
            "next_at_ms": 1760000002000,
            "log": [{"at_ms": 1760000001000, "version": 2, "outcome": "failed", "error": "é"}],
        }
    ],
}


def test_the_first_releases_documents_are_still_read() -> None:
    """A record that was written by the first release means today what it meant then."""
    record = from_document(json.loads(json.dumps(GOLDEN)))
    assert record.intent is not None
    assert Money(1999, "USD") == record.intent.money
    assert (Refund("rf_1", None),) == record.intent.refunds
    assert "won" == record.intent.dispute_status
    assert Timestamped(1760000001000, "CARD") == record.intent.payment_method
    assert frozenset({"own/stored#"}) == record.intent.evidence
    assert 1760000002000 == record.deliver_at_ms
    assert json.loads(json.dumps(GOLDEN["outbox"])) == to_document(record)["outbox"]


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("intent",),
        ("intent", "money"),
        ("intent", "refunds", 0),
        ("events", 0),
        ("events", 0, "event"),
        ("outbox", 0),
        ("outbox", 0, "log", 0),
    ],
)
def test_a_member_of_a_newer_version_is_refused(path: tuple[str | int, ...]) -> None:
    """A record that is only half understood is not used: the text names the newer version."""
    document = json.loads(json.dumps(GOLDEN))
    place = document
    for step in path:
        place = place[step]
    place["risk_score"] = 7
    with pytest.raises(SchemaMismatch, match=r"'risk_score' is not known.*newer"):
        from_document(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), True),
        (("version",), "2"),
        (("intent", "attempt"), 1.0),
        (("intent", "money", "amount_minor"), -1),
        (("intent", "money", "currency"), "usd"),
        (("intent", "metadata"), [["cart"]]),
        (("intent", "disputes", 0, "seen"), ["appealed"]),
        (("outbox", 0, "status"), "paused"),
        (("outbox", 0, "name"), []),
        (("events",), {}),
        (("intent",), "none"),
    ],
)
def test_a_value_that_this_version_never_writes_is_refused(
    path: tuple[str | int, ...], value: object
) -> None:
    """Neither another type nor a word of a newer version is taken for something else."""
    document = json.loads(json.dumps(GOLDEN))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(SchemaMismatch):
        from_document(document)


@pytest.mark.parametrize("member", ["id", "money", "created_at_ms"])
def test_a_member_that_is_needed_must_be_there(member: str) -> None:
    """A document with a hole is refused, and not filled with a guess."""
    document = json.loads(json.dumps(GOLDEN))
    del document["intent"][member]
    with pytest.raises(SchemaMismatch, match=member):
        from_document(document)


jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GOLDEN, *GOLDEN["intent"]]), inner, max_size=4)  # type: ignore[misc]
    ),
)


@given(st.sampled_from(sorted(GOLDEN)), jsons)
def test_any_damage_is_a_schema_mismatch(member: str, value: object) -> None:
    """Any document is read or refused, and nothing else happens."""
    document = json.loads(json.dumps(GOLDEN)) | {member: value}
    with contextlib.suppress(SchemaMismatch):
        assert isinstance(from_document(document), Record)


@pytest.mark.parametrize("head", ["", "{", "[]", "null", '{"key":1}', "nonsense"])
def test_damaged_text_is_a_schema_mismatch(head: str) -> None:
    """Text that is no JSON object is reported in the same way."""
    with pytest.raises(SchemaMismatch):
        from_texts(head, [], [])
