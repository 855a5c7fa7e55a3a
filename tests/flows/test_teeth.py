"""That the tests of the flows would notice: planted bugs, each caught by a check named beside it.

Every check passes without its bug; a bug that survives is a defect of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from importlib import import_module
from typing import Any

import attrs
import pytest
from crash.here import ShopHere
from crash.stories import Shop, handler_gives_up, lost_answer, purchase
from crash.test_every_effect import check_every_cut, in_memory
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from xpay_flow import events as ev
from xpay_flow import flows, records, wire, xpay_api
from xpay_flow.effects import Command, commit, load, now
from xpay_flow.errors import UntrustedMessage, XPayFlowError
from xpay_flow.events import Event, EventIdentity
from xpay_flow.flow import Flow
from xpay_flow.flows.webhook import WebhookResult
from xpay_flow.ports import Store
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, OutboxEntry, Record, Work, change
from xpay_flow.settings import Settings
from xpay_flow.signing import authenticate
from xpay_flow.stores.memory import MemoryStore

from . import (
    test_clocks,
    test_contradictions,
    test_outbox,
    test_queries,
    test_receive_webhook,
    test_reconcile,
    test_start_checkout,
    test_two_at_once,
    test_unmatched,
)
from .kit import StoreBehind
from .machine import ShopMachine
from .test_machine import of_size

# By name, since a package's function may hide its module of the same name.
checkout, recording, outbox, parking, reconcile, webhook = (
    import_module(f"xpay_flow.flows.{name}")
    for name in ("checkout", "recording", "outbox", "parking", "reconcile", "webhook")
)
deciding = import_module("xpay_flow.decide")

Patch = pytest.MonkeyPatch
Bug = Callable[[Patch], object]
Check = Callable[[], object]


# --- bugs of a store -----------------------------------------------------------------------------


def commits_whatever_the_version(patch: Patch) -> None:
    """Compare-and-set without the compare: the last writer wins."""
    honest = MemoryStore.commit

    def careless(self: MemoryStore, change: Change) -> bool:
        found = self.load(change.record.key)
        version = found[0].version if found else 0
        record = attrs.evolve(change.record, version=version + 1)
        return honest(self, attrs.evolve(change, record=record, expected_version=version))

    patch.setattr(MemoryStore, "commit", careless)


class LazyStore(StoreBehind):
    """Acknowledges first and writes at the next call: an acknowledged change can be lost."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._promised: list[Change] = []

    def _write(self) -> None:
        for promised in self._promised:
            self.inner.commit(promised)
        self._promised.clear()

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        self._write()
        return super().load(alias, event)

    def history(self, alias: str) -> Sequence[Record]:
        self._write()
        return super().history(alias)

    def due(
        self, work: Work, now_ms: int, limit: int, realms: Realms = EVERY_REALM
    ) -> Sequence[str]:
        self._write()
        return super().due(work, now_ms, limit, realms)

    def commit(self, change: Change) -> bool:
        self._write()
        found = self.inner.load(change.record.key)
        if (found[0].version if found else 0) != change.expected_version:
            return False
        self._promised.append(change)
        return True

    def recent(self, limit: int, realms: Realms = EVERY_REALM) -> Sequence[Record]:
        self._write()
        found: Sequence[Record] = self.inner.recent(limit, realms)  # type: ignore[attr-defined]
        return found

    def reader(self) -> Any:
        return self


def acknowledges_before_the_commit(patch: Patch) -> None:
    """The webhook is answered while its record is still on the way to the disk."""
    init = ShopHere.__init__

    def lazily(self: ShopHere, open_store: Any, **more: Any) -> None:
        init(self, lambda: LazyStore(open_store()), **more)

    patch.setattr(ShopHere, "__init__", lazily)


# --- bugs of starting a checkout -----------------------------------------------------------------


def stores_the_attempt_after_the_call(patch: Patch) -> None:
    """xPay first, the store afterwards: an answer that is lost leaves nothing behind."""
    steps: dict[str, Change] = {}

    def late_commit(step: Change) -> Command[bool]:
        if step.expected_version == 0:
            steps[step.record.key] = step
            return True
        return (yield from commit(step))

    ask = xpay_api.create_intent

    def ask_then_store(*args: Any) -> Command[Any]:
        answer = yield from ask(*args)
        for step in steps.values():
            yield from commit(step)
        steps.clear()
        return answer

    patch.setattr(checkout, "commit", late_commit)
    patch.setattr(xpay_api, "create_intent", ask_then_store)


def repeats_a_creation_under_a_new_key(patch: Patch) -> None:
    """Each call of create-intent has an idempotency key of its own: the time is in it."""
    ask = xpay_api.create_intent

    def afresh(request: str, key: str, *rest: Any) -> Command[Any]:
        now_ms = yield from now()
        return (yield from ask(request, f"{key}:{now_ms}", *rest))

    patch.setattr(xpay_api, "create_intent", afresh)


def takes_any_silence_for_a_refusal(patch: Patch) -> None:
    """A time-out closes the attempt, so that the next click makes another one."""
    ask = xpay_api.create_intent

    def sure(*about: Any) -> Command[Any]:
        answer = yield from ask(*about)
        return (
            xpay_api.Refused(500, "timeout", "") if isinstance(answer, xpay_api.Unclear) else answer
        )

    patch.setattr(xpay_api, "create_intent", sure)


def does_not_look_for_parked_news(patch: Patch) -> None:
    """The intent learns its xPay id, and parked events are not looked for."""
    patch.setattr(checkout, "attach_parked", nothing)


def nothing(*_: object) -> Command[None]:
    """A step that was forgotten."""
    yield from ()


# --- bugs of the webhook -------------------------------------------------------------------------


def does_not_look_again_after_parking(patch: Patch) -> None:
    """An event is parked just after its intent appeared, and is not attached."""
    patch.setattr(parking, "attach_parked", nothing)


def drops_news_that_is_nobodys(patch: Patch) -> None:
    """No intent fits (yet): answered 200 and forgotten."""

    def forget(event: Event, context: Any) -> Command[WebhookResult]:
        yield from ()
        return WebhookResult(
            event_id=event.event_id, event_type=event.type, disposition="unknown", why="dropped"
        )

    patch.setattr(webhook, "_park", forget)


def believes_any_signature_about_anything(patch: Patch) -> None:
    """An ECDSA signature alone is taken for proof that the event is for this merchant."""
    patch.setattr(Event, "is_for_this_merchant", property(lambda self: True))


def remembers_before_it_works(patch: Patch) -> None:
    """ "Seen" is saved before the work is: a retry after a crash is dropped as a duplicate."""
    receive = Flow.receive_webhook

    def once(self: Flow, headers: Any, body: bytes) -> WebhookResult:
        # Kept beside the records, in what all processes of the shop share.
        shared = vars(getattr(self.store, "inner", self.store))
        authenticate(headers, body, self.settings.signature_policy)
        if body in shared.setdefault("seen", set()):
            return WebhookResult(event_id="", event_type="", disposition="duplicate", why="")
        shared["seen"].add(body)
        return receive(self, headers, body)

    patch.setattr(Flow, "receive_webhook", once)


def saves_what_is_due_in_a_second_commit(patch: Patch) -> None:
    """First the fact, then, if the process lives that long, the call that it makes due."""

    def in_two_steps(record: Record, intent: Any, event: Event, context: Any) -> Command[Any]:
        decision = deciding.decide(intent, event, context.lifecycle)
        if decision.event is None:
            return recording.RecordResult(record, intent, decision)
        whole = recording.with_decision(record, decision, 0, context)
        event_only = change(record, attrs.evolve(whole, outbox=record.outbox))
        if not (yield from commit(event_only)):
            return None
        step = change(event_only.record, attrs.evolve(whole, version=event_only.record.version))
        yield from commit(step)
        return recording.RecordResult(step.record, decision.intent, decision)

    for module in (recording, webhook):
        patch.setattr(module, "try_to_record", in_two_steps)


def believes_any_amount(patch: Patch) -> None:
    """Paid is paid, whatever the amount."""
    patch.setattr(deciding, "_is_requested_money", lambda intent, event: True)


# --- bugs of the outbox --------------------------------------------------------------------------


def alter_claims(patch: Patch, alter: Callable[[OutboxEntry, int], OutboxEntry]) -> None:
    """Change what a claim leaves on file."""
    claimed = outbox._claimed

    def altered(record: Record, entry: OutboxEntry, now_ms: int, *more: Any) -> Record:
        after: Record = claimed(record, entry, now_ms, *more)
        taken = after.entry(entry.id)
        assert taken is not None
        return after.with_entry(alter(taken, now_ms)) if taken.status == "pending" else after

    patch.setattr(outbox, "_claimed", altered)


def claims_without_a_lease(patch: Patch) -> None:
    """The claim is written, and the call stays due for everybody else."""
    alter_claims(patch, lambda taken, now_ms: attrs.evolve(taken, next_at_ms=now_ms))


def claims_for_ever(patch: Patch) -> None:
    """A worker that dies takes its claim with it."""
    alter_claims(patch, lambda taken, now_ms: attrs.evolve(taken, next_at_ms=2**60))


def ticks_off_before_the_call(patch: Patch) -> None:
    """Done is written before the call, since what could go wrong?"""
    claim = outbox._claim

    def optimistic(key: str, *more: Any) -> Command[Any]:
        claimed = yield from claim(key, *more)
        if claimed.call is not None:
            record, entry = claimed.call[0].record, claimed.call[1]
            done = record.with_entry(attrs.evolve(entry, status="done"))
            yield from commit(change(record, done))
        return claimed

    patch.setattr(outbox, "_claim", optimistic)


def settles_whatever_the_outcome(patch: Patch) -> None:
    """A handler that failed is ticked off like one that worked."""
    settled = outbox._settled

    def pleased(record: Any, entry: Any, ran: Any, *more: Any) -> Any:
        return settled(record, entry, attrs.evolve(ran, outcome="done"), *more)

    patch.setattr(outbox, "_settled", pleased)


def gives_each_try_its_own_key(patch: Patch) -> None:
    """The idempotency key names the try, and so protects from nothing."""
    call = outbox._call

    def renamed(entry: OutboxEntry, payment: Any, context: Any) -> Command[Any]:
        key = f"{entry.id}:{entry.tries}"
        renewed = attrs.evolve(payment, idempotency_key=key)
        return (yield from call(entry, renewed, context))

    patch.setattr(outbox, "_call", renamed)


def tells_old_news(patch: Patch) -> None:
    """What was superseded is delivered all the same."""
    patch.setattr(outbox, "superseded_by", lambda intent, name: None)


def gives_up_silently(patch: Patch) -> None:
    """After the last retry `on_attention` is not called."""

    def quietly(record: Record, *_: object) -> Record:
        return record

    patch.setattr(outbox, "with_decision", quietly)


# --- bugs of the reconciler and of the queries ---------------------------------------------------


def asks_without_claiming(patch: Patch) -> None:
    """Every process asks about everything that is due."""

    def unclaimed(record: Record, context: Any) -> Command[Record]:
        yield from ()
        return record

    patch.setattr(reconcile, "_claim", unclaimed)


def never_asks(patch: Patch) -> None:
    """The webhook will surely come."""

    def not_now(context: Any, *, limit: int | None = None) -> Command[tuple[Any, ...]]:
        yield from ()
        return ()

    patch.setattr(flows, "reconcile", not_now)


def closes_an_attempt_at_the_first_error(patch: Patch) -> None:
    """xPay answered an error to the repeated creation: surely there is no such intent."""

    def not_listed(intent: Any, context: Any) -> Command[None]:
        yield from ()

    patch.setattr(reconcile, "_find_listed", not_listed)


def writes_in_a_status_query(patch: Patch) -> None:
    """The return page notes that the customer is back."""

    def noting(self: Flow, x_intent_id: str, *, wait_s: float = 0) -> Any:
        def flow() -> Command[Any]:
            for record in (yield from load(f"x:{x_intent_id}")):
                yield from commit(change(record, record))

        self.run(flow())
        return self.query(flows.status(x_intent_id, wait_s=wait_s))

    patch.setattr(Flow, "status", noting)


# --- bugs about what contradicts, fits nothing, stays open, or comes from a wrong clock ----------


def believes_metadata_before_xpays_id(patch: Patch) -> None:
    """Our id in the metadata says whose event it is, wherever it was copied from."""
    find = parking.find_owner

    def by_metadata(event: Event) -> Command[Any]:
        found = (yield from load(f"intent:{event.intent_id}")) if event.intent_id else ()
        return found[0] if found else (yield from find(event))

    for module in (parking, webhook):
        patch.setattr(module, "find_owner", by_metadata)


def compares_what_is_not_read(patch: Patch) -> None:
    """Two contents differ if their bytes do."""
    honest = webhook.from_webhook

    def by_all(message: Any, proof: str, key: str) -> Event:
        event: Event = honest(message, proof, key)
        return attrs.evolve(event, digest=wire.digest(message.raw))

    patch.setattr(webhook, "from_webhook", by_all)


def refuses_any_odd_field(patch: Patch) -> None:
    """A label that makes no sense costs the payment."""
    patch.setattr(wire.fields, "or_ignored", wire.fields.strictly)


def believes_a_type_against_its_status(patch: Patch) -> None:
    """A success is a success, even if its status is FAILED."""
    patch.setattr(deciding, "_CONTRADICTED_BY", {})


def queries_nothing_at_once(patch: Patch) -> None:
    """A contradiction is flagged, and left to the schedule."""
    decided = recording.decide

    def calmly(*given: Any) -> Any:
        return attrs.evolve(decided(*given), reconcile_now=False)

    patch.setattr(recording, "decide", calmly)


def quarantines_what_names_an_intent(patch: Patch) -> None:
    """What cannot be read is nobody's."""

    def unread(body: bytes) -> Any:
        raise UntrustedMessage("bad-field")

    patch.setattr(webhook, "read_unreadable", unread)


def _never_one(*_: Any) -> Command[None]:
    yield from ()


def _always(*_: Any) -> Command[bool]:
    yield from ()
    return True


def parks_a_payment_elsewhere_silently(patch: Patch) -> None:
    """A payment for our receipt through another intent is kept, and named nowhere."""
    patch.setattr(parking, "order_paid_elsewhere", _never_one)


def flags_an_order_by_an_ecdsa_signature(patch: Patch) -> None:
    """Whoever sends events through xPay can have our operators called."""
    patch.setattr(parking, "_xpay_confirms", _always)


def parks_silently(patch: Patch) -> None:
    """What fits nothing calls nobody."""
    for module in (parking, webhook):
        patch.setattr(module, "unmatched_entry", lambda *_: None)


def keeps_any_number_of_unproven_events(patch: Patch) -> None:
    """Any merchant can fill our disk."""
    patch.setattr(parking, "_take_room", _always)


def ends_the_schedule_in_silence(patch: Patch) -> None:
    """The last answer was that it is open, and no operator hears of it."""
    patch.setattr(reconcile, "_open_question", lambda intent: None)


def has_no_second_schedule(patch: Patch) -> None:
    """What is paid after the first schedule is not found."""

    def first(record: Record, settings: Settings) -> tuple[int, ...]:
        return settings.reconcile_schedule_s

    patch.setattr(reconcile, "_schedule", first)


def takes_a_disputed_answer_for_open(patch: Patch) -> None:
    """DISPUTED is a status without a rule."""
    kinds = {status: kind for status, kind in ev.REPORT_KINDS.items() if "DISPUTE" not in status}
    patch.setattr(ev, "REPORT_KINDS", kinds)


def waits_for_a_clock_of_the_future(patch: Patch) -> None:
    """A due time is a due time, whatever clock has set it."""

    def never(self: Record, now_ms: int) -> bool:
        return False

    patch.setattr(Record, "is_from_the_future", never)


def believes_no_clock_but_its_own(patch: Patch) -> None:
    """A host that is a second ahead has its calls taken over."""
    patch.setattr(records, "CLOCK_SKEW_MS", -1)


def leaves_old_times_where_they_were(patch: Patch) -> None:
    """What is recorded now makes the old times believed again, as they are."""

    def as_it_is(self: Record, now_ms: int) -> Record:
        return self

    patch.setattr(Record, "as_of", as_it_is)


# --- who catches what ----------------------------------------------------------------------------


def cuts(story: Callable[[Shop], None]) -> Check:
    """The story, cut before and after every effect."""

    return partial(check_every_cut, story, in_memory)


def machine() -> None:
    """The stateful machine, over as many stories as each run of the tests generates."""
    quickly = settings(of_size(examples=250, steps=40), phases=[Phase.generate])
    run_state_machine_as_test(ShopMachine, settings=quickly)


def on_memory(check: Callable[..., None], **given: Any) -> Check:
    """The check on a new store in memory each time."""

    @wraps(check)
    def checked() -> None:
        check(MemoryStore(), **given)

    return checked


def unproven_events_are_capped() -> None:
    with pytest.MonkeyPatch.context() as patch:
        test_unmatched.test_parked_events_of_ecdsa_alone_are_capped_by_number(patch)


HOUR_MS = test_clocks.HOUR_MS
SET_BACK: tuple[Check, ...] = (
    on_memory(
        test_clocks.test_deliver_makes_a_first_call_at_once_when_the_clock_was_set_back,
        back_ms=HOUR_MS,
    ),
    on_memory(test_clocks.test_deliver_takes_over_a_lease_of_the_future, back_ms=HOUR_MS),
    on_memory(
        test_clocks.test_reconcile_queries_at_once_and_then_by_its_schedule_when_the_clock_was_set_back,
        back_ms=HOUR_MS,
    ),
)
both_orders = test_two_at_once.test_parked_events_are_attached_in_any_order
CAUGHT: tuple[tuple[Bug, Check], ...] = (
    (
        commits_whatever_the_version,
        partial(
            test_two_at_once.test_an_event_that_meets_another_is_not_lost,
            test_two_at_once.success_and_failure,
        ),
    ),
    (commits_whatever_the_version, test_two_at_once.test_two_workers_call_a_handler_once),
    (
        commits_whatever_the_version,
        partial(test_two_at_once.test_two_who_start_make_one_intent, test_two_at_once.two_clicks),
    ),
    (acknowledges_before_the_commit, cuts(purchase)),
    (
        stores_the_attempt_after_the_call,
        test_start_checkout.test_the_attempt_is_stored_before_xpay_is_called,
    ),
    (stores_the_attempt_after_the_call, cuts(lost_answer)),
    (
        repeats_a_creation_under_a_new_key,
        partial(
            test_start_checkout.test_a_lost_answer_is_resumed_under_the_same_key,
            "lose_answer",
            False,
        ),
    ),
    (repeats_a_creation_under_a_new_key, cuts(lost_answer)),
    (repeats_a_creation_under_a_new_key, machine),
    (takes_any_silence_for_a_refusal, cuts(lost_answer)),
    (takes_any_silence_for_a_refusal, machine),
    (
        does_not_look_for_parked_news,
        partial(both_orders, test_two_at_once.parking_and_creation),
    ),
    (
        does_not_look_again_after_parking,
        partial(both_orders, test_two_at_once.creation_and_parking),
    ),
    (drops_news_that_is_nobodys, test_receive_webhook.test_an_event_of_an_unknown_intent_is_parked),
    (drops_news_that_is_nobodys, cuts(lost_answer)),
    (drops_news_that_is_nobodys, machine),
    (
        believes_any_signature_about_anything,
        partial(
            test_receive_webhook.test_an_ecdsa_signature_alone_cannot_claim_an_intent,
            {"receiptId": "order-42"},
        ),
    ),
    (remembers_before_it_works, cuts(purchase)),
    (remembers_before_it_works, machine),
    (saves_what_is_due_in_a_second_commit, cuts(purchase)),
    (saves_what_is_due_in_a_second_commit, machine),
    (
        believes_any_amount,
        partial(test_receive_webhook.test_wrong_money_is_never_paid, {"amount": 1998}),
    ),
    (
        believes_any_amount,
        partial(test_reconcile.test_an_answer_over_other_money_pays_nothing, {"amount": 1998}),
    ),
    (believes_any_amount, machine),
    (claims_without_a_lease, test_two_at_once.test_two_workers_call_a_handler_once),
    (claims_for_ever, test_outbox.test_an_unsettled_claim_expires),
    (claims_for_ever, cuts(purchase)),
    (ticks_off_before_the_call, cuts(purchase)),
    (settles_whatever_the_outcome, test_outbox.test_a_failing_handler_is_retried_on_schedule),
    (settles_whatever_the_outcome, cuts(handler_gives_up)),
    (gives_each_try_its_own_key, test_outbox.test_a_failing_handler_is_retried_on_schedule),
    (gives_each_try_its_own_key, cuts(purchase)),
    (tells_old_news, test_outbox.test_a_failure_superseded_by_the_success_is_not_delivered),
    (gives_up_silently, test_outbox.test_after_the_last_retry_a_person_is_called),
    (asks_without_claiming, test_two_at_once.test_two_reconcilers_query_once),
    (never_asks, test_reconcile.test_a_lost_webhook_is_noticed),
    (never_asks, machine),
    (
        closes_an_attempt_at_the_first_error,
        test_reconcile.test_a_creation_that_always_fails_is_found_in_the_list,
    ),
    (writes_in_a_status_query, test_queries.test_nothing_a_browser_can_be_sent_to_writes),
    (writes_in_a_status_query, machine),
    (
        believes_metadata_before_xpays_id,
        test_contradictions.test_xpays_id_decides_whose_event_it_is_whatever_its_metadata_say,
    ),
    (
        compares_what_is_not_read,
        test_contradictions.test_retries_that_differ_in_a_field_that_is_not_read_alert_no_one,
    ),
    (
        refuses_any_odd_field,
        partial(
            test_contradictions.test_receive_webhook_leaves_out_and_notes_a_field_that_makes_no_sense,
            *("metadata", []),
        ),
    ),
    (
        believes_a_type_against_its_status,
        partial(
            test_contradictions.test_a_success_whose_status_denies_it_is_flagged_and_xpay_is_queried,
            "FAILED",
        ),
    ),
    (
        queries_nothing_at_once,
        test_contradictions.test_a_failure_whose_status_is_paid_is_flagged_and_xpay_is_queried,
    ),
    (
        quarantines_what_names_an_intent,
        partial(
            test_contradictions.test_an_unreadable_event_that_names_an_intent_of_ours_alerts_and_asks,
            *("19.99", "intentId"),
        ),
    ),
    (
        parks_a_payment_elsewhere_silently,
        partial(
            test_unmatched.test_a_payment_of_our_receipt_through_another_intent_is_named_on_the_order,
            hosted_first=False,
        ),
    ),
    (
        flags_an_order_by_an_ecdsa_signature,
        partial(
            test_unmatched.test_an_ecdsa_signature_alone_flags_no_order_until_xpay_confirms,
            theirs=True,
        ),
    ),
    (
        parks_silently,
        test_unmatched.test_an_authentic_event_that_fits_nothing_of_ours_reaches_on_unmatched_once,
    ),
    (
        parks_silently,
        partial(
            test_contradictions.test_an_unreadable_event_that_names_nothing_of_ours_reaches_on_unmatched,
            b"{",
        ),
    ),
    (keeps_any_number_of_unproven_events, unproven_events_are_capped),
    (
        ends_the_schedule_in_silence,
        partial(
            test_reconcile.test_reconcile_flags_what_is_still_open_when_the_schedule_ends,
            declined=False,
        ),
    ),
    (
        has_no_second_schedule,
        test_reconcile.test_reconcile_finds_by_the_second_schedule_what_is_paid_late,
    ),
    (
        takes_a_disputed_answer_for_open,
        partial(
            test_reconcile.test_reconcile_takes_a_disputed_answer_for_paid_with_a_dispute,
            *("DISPUTE_LOST", "lost"),
        ),
    ),
    *[(waits_for_a_clock_of_the_future, check) for check in SET_BACK],
    (
        leaves_old_times_where_they_were,
        on_memory(test_clocks.test_an_event_of_a_clock_that_was_set_back_leaves_no_call_behind),
    ),
    (
        believes_no_clock_but_its_own,
        on_memory(
            test_clocks.test_deliver_leaves_a_lease_to_a_worker_whose_clock_is_a_little_ahead,
            ahead_ms=1,
        ),
    ),
)


def name_of(check: Check) -> str:
    inner = check.func if isinstance(check, partial) else check
    return getattr(inner, "__qualname__", "check").partition(".")[0].removeprefix("test_")


# A failed expectation: by assertion, by an unexpected error of the library, or by a record or call
# that is not there to be looked at. A misspelt bug would be another error.
NOTICED = (AssertionError, XPayFlowError, pytest.fail.Exception, ValueError, IndexError)


@pytest.mark.parametrize(
    ("bug", "check"), CAUGHT, ids=[f"{bug.__name__}-{name_of(check)}" for bug, check in CAUGHT]
)
def test_a_planted_bug_is_caught(bug: Bug, check: Check, monkeypatch: Patch) -> None:
    """The check fails for the bug's sake."""
    bug(monkeypatch)
    with pytest.raises(NOTICED):
        check()


@pytest.mark.slow
def test_the_checks_pass_without_the_bugs() -> None:
    """What is caught above is the bug, and not the check itself."""
    for check in {name_of(check): check for _, check in CAUGHT}.values():
        check()


def test_the_bugs_are_many() -> None:
    """At least ten, and each of them is in the list of what is caught."""
    assert len({bug for bug, _ in CAUGHT}) >= 20
