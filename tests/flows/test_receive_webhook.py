"""That an authentic webhook is on file when it is acknowledged, and forged bytes leave no trace."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from xpay_flow import messages
from xpay_flow.errors import (
    InvalidValue,
    OutcomeUnknown,
    StoreContended,
    StoreUnavailable,
    UntrustedMessage,
    XPayFlowError,
)
from xpay_flow.flow import Flow
from xpay_flow.flows import FlowContext
from xpay_flow.lifecycle import LIFECYCLE
from xpay_flow.records import Change
from xpay_flow.sandbox import FaultPlan, SandboxConfig, WebhookFault
from xpay_flow.sandbox.signer import EcdsaSigner
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import WEBHOOK_URL, ManualClock, SandboxTransport, World

from .kit import (
    SIGNING_KEY,
    BreakingStore,
    CountingStore,
    RivalledStore,
    body_of,
    ecdsa_signed,
    outbox_entries,
    quiet_world,
    recorded,
    send_webhook,
    signed,
    story,
    success_of,
    the_record,
    touch,
)

# --- dispositions --------------------------------------------------------------------------------


def test_a_success_is_applied_and_makes_on_success_due() -> None:
    """The result shows what was decided, about which intent, and what is due now."""
    world = World()
    checkout = world.start_checkout()
    received = send_webhook(world, "intent.success", **success_of(world, checkout.x_intent_id))
    assert ("whe_hand", "intent.success", "applied", checkout.intent_id, "success", 1) == (
        received.event_id,
        received.event_type,
        received.disposition,
        received.intent_id,
        received.state,
        received.handlers_due,
    )
    assert 1 == world.flow.counters["webhook.applied"]


def test_no_handler_runs_inside_the_webhook() -> None:
    """Receiving only records; `deliver` calls the handler."""
    world = World()
    checkout = world.start_checkout()
    send_webhook(world, "intent.success", **success_of(world, checkout.x_intent_id))
    assert [] == world.calls
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_a_copy_is_a_duplicate_and_costs_no_write() -> None:
    """The same event in other bytes is still the same event."""
    store = CountingStore(MemoryStore())
    world = World(store)
    checkout = world.start_checkout()
    fields = success_of(world, checkout.x_intent_id)
    send_webhook(world, "intent.success", **fields)
    written = len(store.changes)
    copy = body_of("intent.success", **fields).replace(b",", b" ,\n")
    received = world.flow.receive_webhook(signed(copy), copy)
    assert ("duplicate", 0) == (received.disposition, received.handlers_due)
    assert written == len(store.changes)
    assert ["whe_hand"] == recorded([the_record(world)])


def test_a_late_event_is_stale_and_kept() -> None:
    """`intent.created` after the success changes nothing, and is on file."""
    world = World()
    checkout = world.start_checkout()
    send_webhook(world, "intent.success", "whe_1", **success_of(world, checkout.x_intent_id))
    received = send_webhook(world, "intent.created", "whe_2", intentId=checkout.x_intent_id)
    assert ("stale", "success", 0) == (received.disposition, received.state, received.handlers_due)
    assert ["whe_1", "whe_2"] == recorded([the_record(world)])


def test_a_failure_never_undoes_a_success() -> None:
    """It is kept, on_failed is due and then dropped as superseded."""
    world = World()
    checkout = world.start_checkout()
    send_webhook(world, "intent.success", "whe_1", **success_of(world, checkout.x_intent_id))
    received = send_webhook(world, "intent.failed", "whe_2", intentId=checkout.x_intent_id)
    world.flow.deliver()
    assert ("stale", "success") == (received.disposition, received.state)
    assert ([], ["pi_1:on_success"]) == (world.called("on_failed"), world.called("on_success"))


def test_one_event_id_with_two_contents_is_contradictory() -> None:
    """Both are kept and flagged for attention."""
    world = World()
    checkout = world.start_checkout()
    for code, verdict in (("card_decline", "applied"), ("risk_check_failed", "contradictory")):
        received = send_webhook(
            world, "intent.failed", "whe_1", intentId=checkout.x_intent_id, errorCode=code
        )
        assert verdict == received.disposition
    world.flow.deliver()
    assert ["whe_1", "whe_1"] == recorded([the_record(world)])
    assert ["pi_1:on_attention:event_contradiction:whe_1"] == world.called("on_attention")


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount": 1998},
        {"amount": 2000},
        {"amount": 0},
        {"amount": None},
        {"currency": "EUR"},
        {"currency": None},
        {"amount": 199900, "currency": "JPY"},
    ],
)
def test_wrong_money_is_never_paid(wrong: dict[str, Any]) -> None:
    """Kept and shown, on_success not due; later proof for the right money still pays."""
    world = World()
    checkout = world.start_checkout()
    honest = success_of(world, checkout.x_intent_id)
    received = send_webhook(world, "intent.success", "whe_1", **{**honest, **wrong})
    world.flow.deliver()
    assert "mismatched" == received.disposition
    assert ([], ["pi_1:on_attention:wrong_money"]) == (
        world.called("on_success"),
        world.called("on_attention"),
    )
    assert "PENDING" == world.status(checkout.x_intent_id).status
    send_webhook(world, "intent.success", "whe_2", **honest)
    world.flow.deliver()
    assert ["pi_1:on_success"] == world.called("on_success")


def test_an_unknown_type_is_kept() -> None:
    """xPay may invent event types; each is on file under its own word."""
    world = World()
    checkout = world.start_checkout()
    received = send_webhook(world, "intent.pondered", intentId=checkout.x_intent_id, mood="good")
    assert ("unknown", checkout.intent_id) == (received.disposition, received.intent_id)
    assert ("intent.pondered", "unknown") == story(world)[-1]


def test_an_event_of_an_unknown_intent_is_parked() -> None:
    """Kept under xPay's id, answered as received, shown among the recent records."""
    world = World()
    received = send_webhook(
        world, "intent.success", intentId="in_foreign", amount=1, currency="USD"
    )
    assert ("unknown", None) == (received.disposition, received.intent_id)
    (parked,) = world.flow.recent()
    assert ("parked:sandbox/local:x:in_foreign", None) == (parked.key, parked.intent)
    assert [("intent.success", "unknown")] == [(e.what, e.verdict) for e in parked.entries]


def test_an_event_that_names_no_intent_is_parked_for_itself() -> None:
    """A setup-method event has no intent; each is a record of its own."""
    world = World()
    for event_id in ("whe_1", "whe_2", "whe_1"):
        send_webhook(world, "setup_method.success", event_id, pmId="pmt_1")
    assert ["parked:sandbox/local:event:whe_2", "parked:sandbox/local:event:whe_1"] == [
        t.key for t in world.flow.recent()
    ]


def test_a_parked_event_is_recorded_once_however_often_it_comes() -> None:
    """Copies add nothing; another event about the same stranger joins it."""
    store = CountingStore(MemoryStore())
    world = World(store)
    for event_id in ("whe_1", "whe_1", "whe_2", "whe_1"):
        send_webhook(world, "intent.created", event_id, intentId="in_foreign")
    (parked,) = store.history("x:in_foreign")
    assert ["whe_1", "whe_2"] == recorded([parked])
    assert 2 == len(store.changes)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"eventId":"whe_1"}',
        b'{"eventId":"whe_1","eventType":"intent.success","eventTime":1,"eventTime":2}',
        b'{"eventId":"whe_1","eventType":"intent.success","eventTime":1,"amount":1.5}',
        b'{"eventId":"whe_1","eventType":"intent.created","eventTime":1,"intentId":"\\ud800"}',
        b"\xff\xfe\x00",
    ],
)
def test_signed_bytes_that_cannot_be_read_are_quarantined(body: bytes) -> None:
    """They came from xPay, so they are kept for a person, once, and acknowledged."""
    store = CountingStore(MemoryStore())
    world = World(store)
    first = world.flow.receive_webhook(signed(body), body)
    again = world.flow.receive_webhook(signed(body), body)
    assert "quarantined" == first.disposition == again.disposition
    assert 1 == len(store.changes)
    assert 2 == world.flow.counters["webhook.quarantined"]
    (kept,) = world.flow.recent()
    assert [("unreadable", "quarantined")] == [(e.what, e.verdict) for e in kept.entries]


# --- authenticity --------------------------------------------------------------------------------

HONEST = body_of("intent.success", intentId="in_1", amount=1999, currency="USD")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "signature-missing"),
        ({messages.HMAC_HEADER: ""}, "signature-missing"),
        ({messages.HMAC_HEADER: "????"}, "signature-malformed"),
        ({messages.HMAC_HEADER: "AAAA"}, "signature-malformed"),
        (signed(HONEST + b" "), "signature-mismatch"),
        (signed(HONEST, "another_signing_key_0123456789"), "signature-mismatch"),
        ({messages.HMAC_HEADER: "t=1,v1=00"}, "signature-foreign-format"),
    ],
)
def test_bytes_that_are_not_xpays_leave_nothing_but_a_count(
    headers: dict[str, str], reason: str
) -> None:
    """No write and not even a read; the counter names the reason."""
    store = CountingStore(MemoryStore())
    world = World(store)
    with pytest.raises(UntrustedMessage) as caught:
        world.flow.receive_webhook(headers, HONEST)
    assert reason == caught.value.reason
    assert (0, []) == (store.loads, store.changes)
    assert {f"webhook.refused.{reason}": 1} == dict(world.flow.counters)


def test_the_key_that_fitted_is_on_file() -> None:
    """During a rotation both keys are good, and the timeline shows which one signed."""
    world = World(webhook_secrets=("a_new_signing_key_0123456789", SIGNING_KEY))
    checkout = world.start_checkout()
    fields = {"intentId": checkout.x_intent_id}
    old = body_of("intent.checkout_opened", "whe_old", **fields)
    new = body_of("intent.checkout_opened", "whe_new", **fields)
    world.flow.receive_webhook(signed(old), old)
    world.flow.receive_webhook(signed(new, "a_new_signing_key_0123456789"), new)
    proofs = [dict(e.details).get("proof") for e in world.flow.timeline("order-42").entries]
    assert ["hmac:1", "hmac:0"] == [proof for proof in proofs if proof]


def test_old_secrets_and_wrong_signatures_do_not_stop_the_retry() -> None:
    """xPay sends again what we refused; the honest copy is what counts."""
    faults = FaultPlan(webhooks=(WebhookFault(fault="wrong_signature", attempts=1),))
    world = World(faults=faults)
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    assert ([], 2) == (world.calls, world.flow.counters["webhook.refused.signature-mismatch"])
    world.advance(10)
    world.settle()
    assert ["pi_1:on_success"] == world.called("on_success")


SIGNER = EcdsaSigner()


def world_of_two_signatures(**settings: Any) -> World:
    key = SIGNER.public_key
    assert key is not None
    return World(
        config=SandboxConfig(webhook_url=WEBHOOK_URL, ecdsa=False),
        ecdsa_public_keys=(key,),
        **{"require_signature": "ecdsa", **settings},
    )


@pytest.mark.parametrize(
    "names",
    [
        {"metadata": {"xpay_flow_intent": "pi_1"}},
        {"receiptId": "order-42"},
        {"receiptId": "order-42", "metadata": {"xpay_flow_intent": "pi_1"}},
    ],
)
def test_an_ecdsa_signature_alone_cannot_claim_an_intent(names: dict[str, Any]) -> None:
    """Any merchant could write our names into an event; under HMAC the same bytes are ours."""
    body = body_of("intent.success", intentId="in_theirs", amount=1999, currency="USD", **names)
    for by_hmac in (False, True):
        world = world_of_two_signatures()
        # The attempt waits for its answer, so that a receipt could fit it.
        world.xpay.set_faults(lost_answers())
        with pytest.raises(OutcomeUnknown):
            world.start_checkout()
        headers = ecdsa_signed(body, SIGNER) | (signed(body) if by_hmac else {})
        received = world.flow.receive_webhook(headers, body)
        assert (("applied", "pi_1") if by_hmac else ("unknown", None)) == (
            received.disposition,
            received.intent_id,
        )
        world.flow.deliver()
        assert (["pi_1:on_success"] if by_hmac else []) == world.called("on_success")


def lost_answers() -> FaultPlan:
    return FaultPlan.from_dict({"api": [{"fault": "lose_request"}]})


def test_an_ecdsa_signature_speaks_for_an_intent_by_xpays_own_id() -> None:
    """That id is xPay's, and no another event can have it."""
    world = world_of_two_signatures()
    checkout = world.start_checkout()
    body = body_of("intent.success", **success_of(world, checkout.x_intent_id, metadata={}))
    received = world.flow.receive_webhook(ecdsa_signed(body, SIGNER), body)
    assert ("success", "applied") == (received.state, received.disposition)
    assert "ecdsa" == dict(world.flow.timeline("order-42").entries[-1].details)["proof"]


# --- whose event ---------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"metadata": None}, {"receiptId": None}, {"metadata": {}}])
def test_an_event_with_fewer_names_still_finds_its_intent(changes: dict[str, Any]) -> None:
    """xPay's id is enough, once it is known."""
    world = World()
    checkout = world.start_checkout()
    fields = success_of(world, checkout.x_intent_id, **changes)
    assert checkout.intent_id == send_webhook(world, "intent.success", **fields).intent_id


def test_a_receipt_that_fits_two_attempts_claims_neither() -> None:
    """Which of them was paid is not known, so the event is parked."""
    world = World(faults=lost_answers())
    for new_attempt in (False, True):
        with pytest.raises(OutcomeUnknown):
            world.start_checkout(new_attempt=new_attempt)
    received = send_webhook(
        world, "intent.success", intentId="in_x", receiptId="order-42", amount=1999, currency="USD"
    )
    assert None is received.intent_id


def test_a_receipt_over_other_money_claims_nothing() -> None:
    """A receipt id is the shop's word, so its amount must fit, too."""
    world = World(faults=lost_answers())
    with pytest.raises(OutcomeUnknown):
        world.start_checkout()
    received = send_webhook(
        world, "intent.success", intentId="in_x", receiptId="order-42", amount=1, currency="USD"
    )
    assert None is received.intent_id


def test_our_id_under_another_intent_of_xpays_is_put_up_for_attention() -> None:
    """Two intents at xPay for one attempt: the customer may have paid twice."""
    world = World()
    checkout = world.start_checkout()
    fields = success_of(world, checkout.x_intent_id, intentId="in_second")
    received = send_webhook(world, "intent.success", **fields)
    world.flow.deliver()
    assert checkout.intent_id == received.intent_id
    assert ["pi_1:on_attention:second_xpay_intent"] == world.called("on_attention")


# --- durability ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [None, {"intentId": "in_foreign"}])
def test_nothing_is_acknowledged_that_was_not_committed(fields: dict[str, Any] | None) -> None:
    """The store fails: the error reaches the endpoint, and the next delivery is recorded."""
    store = BreakingStore(MemoryStore())
    world = World(store)
    checkout = world.start_checkout()
    fields = fields or success_of(world, checkout.x_intent_id)
    store.break_next("before")
    with pytest.raises(StoreUnavailable):
        send_webhook(world, "intent.success", **fields)
    assert [] == recorded(store.history(f"x:{fields['intentId']}"))
    send_webhook(world, "intent.success", **fields)
    assert ["whe_hand"] == recorded(store.history(f"x:{fields['intentId']}"))


def test_a_commit_that_took_effect_and_was_not_confirmed_is_recorded_once() -> None:
    """xPay sends it again, and then it is a duplicate."""
    store = BreakingStore(MemoryStore())
    world = World(store)
    checkout = world.start_checkout()
    store.break_next("after")
    with pytest.raises(StoreUnavailable):
        send_webhook(world, "intent.success", **success_of(world, checkout.x_intent_id))
    again = send_webhook(world, "intent.success", **success_of(world, checkout.x_intent_id))
    world.flow.deliver()
    assert "duplicate" == again.disposition
    assert ["pi_1:on_success"] == world.called("on_success")
    assert ["whe_hand"] == recorded([the_record(world)])


def test_a_lost_race_is_decided_again_on_what_the_winner_left() -> None:
    """A failure slips in just before the success commits: both are on file."""
    world = World()
    checkout = world.start_checkout()
    slipped: list[object] = []

    def rival(change: Change) -> None:
        if not slipped:
            slipped.append(
                send_webhook(world, "intent.failed", "whe_rival", intentId=checkout.x_intent_id)
            )

    world.flow.ports.store = RivalledStore(world.flow.ports.store, rival)
    received = send_webhook(world, "intent.success", **success_of(world, checkout.x_intent_id))
    assert "success" == received.state
    assert ["whe_rival", "whe_hand"] == recorded([the_record(world)])


@pytest.mark.parametrize("foreign", [False, True])
def test_ten_lost_races_are_left_to_the_next_delivery(foreign: bool) -> None:
    """A bounded number of tries, then an error that makes xPay send it again."""
    world = World()
    checkout = world.start_checkout()
    fields = success_of(world, checkout.x_intent_id)
    if foreign:
        send_webhook(world, "intent.created", "whe_first", intentId="in_foreign")
        fields = {"intentId": "in_foreign"}
    store = RivalledStore(
        world.flow.ports.store, lambda change: touch(world.flow.ports.store, change.record.key)
    )
    world.flow.ports.store = store
    with pytest.raises(StoreContended):
        send_webhook(world, "intent.success", **fields)
    assert 10 == store.commits
    world.flow.ports.store = store.inner
    assert "success" == (send_webhook(world, "intent.success", **fields).state or "success")


def test_headers_may_be_pairs_in_any_case() -> None:
    """Frameworks differ in how they hand on headers; the bytes decide."""
    world = World()
    headers = [(name.upper(), value) for name, value in signed(HONEST).items()]
    assert "unknown" == world.flow.receive_webhook(headers, HONEST).disposition


def test_on_success_is_due_once() -> None:
    """A webhook and an answer of the API prove the same payment: one call is due."""
    world = World()
    checkout = world.start_checkout()
    world.xpay.pay(checkout.x_intent_id or "")
    world.advance(61)
    world.flow.reconcile()
    world.settle()
    send_webhook(world, "intent.success", "whe_more", **success_of(world, checkout.x_intent_id))
    world.settle()
    record = the_record(world)
    assert 1 == len(outbox_entries(record, "on_success"))
    assert ["pi_1:on_success"] == world.called("on_success")


def test_the_recorded_event_has_no_address_and_no_customer() -> None:
    """Facts are kept for years; what opens a page or names a person is not in them."""
    world = World()
    checkout = world.start_checkout()
    fields = success_of(world, checkout.x_intent_id)
    send_webhook(
        world,
        "intent.success",
        **fields,
        customerDetails={"name": "Ada Example", "email": "ada@example.org"},
        fwdUrl=checkout.url,
    )
    events = repr([attrs.asdict(recorded) for recorded in the_record(world).events])
    assert "ada@example.org" not in events
    assert checkout.url not in events


def test_receive_webhook_reads_a_record_in_a_withdrawn_currency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade of the table of currencies (BGN and ANG went in 2025-26) loses no record."""
    with SQLiteStore(tmp_path / "payments.db") as store:
        world = quiet_world(store=store)
        checkout = world.start_checkout()
        members = success_of(world, checkout.x_intent_id)

        def dropped(currency: str) -> int:
            raise InvalidValue(f"{currency} is no currency code of ISO 4217")

        monkeypatch.setattr("xpay_flow.money.exponent", dropped)
        assert "applied" == send_webhook(world, messages.INTENT_SUCCESS, **members).disposition


def test_receive_webhook_raises_a_documented_error_for_a_state_of_another_lifecycle() -> None:
    """A process without the shop's own states refuses a webhook with a StoreError at worst."""
    world = quiet_world()
    checkout = world.start_checkout()
    lifecycle = LIFECYCLE.extended(states={"in_review": "failed"}, events={"held": "in_review"})
    world.flow.context = FlowContext(world.settings, lifecycle)
    world.flow.record(checkout.intent_id, "held")
    world.flow.context = FlowContext(world.settings)
    with suppress(XPayFlowError):
        send_webhook(world, messages.INTENT_SUCCESS, **success_of(world, checkout.x_intent_id))


def test_receive_webhook_quarantines_no_personal_data() -> None:
    """`Event.payload` is "without secrets and personal data", and the facts cannot be deleted."""
    world = quiet_world()
    # As a future version of xPay might write it: major units where minor ones were.
    body = (
        b'{"eventId":"whe_1","eventType":"intent.success","amount":"19.99",'
        b'"intentId":"in_1","customerDetails":{"email":"ada@example.org"}}'
    )
    received = world.flow.receive_webhook(signed(body), body)
    (record,) = world.flow.store.history(
        f"quarantine:sandbox/local:{received.event_id.partition(':')[2]}"
    )
    payload = record.events[0].event.payload
    assert {"eventId": "whe_1", "amount": "19.99"}.items() <= json.loads(payload).items()
    assert "ada@example.org" not in payload


def test_receive_webhook_keeps_one_event_id_about_two_intents_at_both() -> None:
    """Contents under one event id are compared within one intent: both are kept, none is flagged.

    See "Not guaranteed" of promise 9.
    """
    world = quiet_world()
    names = ("order-1", "order-2")
    for x_intent_id in [world.start_checkout(name).x_intent_id for name in names]:
        members = success_of(world, x_intent_id)
        send_webhook(world, messages.INTENT_SUCCESS, event_id="whe_same", **members)
    assert 0 == world.flow.counters["webhook.contradictory"]
    for name in names:
        record = the_record(world, f"receipt:{name}")
        assert record.intent is not None
        assert "success" == record.intent.state
        assert any(event.id.startswith("whe_same#") for event in record.events)


def test_receive_webhook_survives_a_thread_that_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`receive_webhook` raises UntrustedMessage and StoreError, and nothing else."""
    world = quiet_world()
    checkout = world.start_checkout()
    flow = Flow(
        world.flow.store,
        world.settings,
        transport=SandboxTransport(world.xpay),
        clock=ManualClock(world.clock),
    )

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    world.flow = flow
    received = send_webhook(
        world, messages.INTENT_SUCCESS, **success_of(world, checkout.x_intent_id)
    )
    assert "applied" == received.disposition
