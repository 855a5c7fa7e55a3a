"""That the tests of the flows would notice: planted bugs, each caught by a check named beside it.

Every check passes without its bug; a bug that survives is a defect of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import attrs
import pytest
from crash.here import ShopHere
from crash.stories import Shop, handler_gives_up, lost_answer, purchase
from crash.test_every_effect import check_every_cut, in_memory
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from xpay_flow import flows, xpay_api
from xpay_flow.effects import Command, commit, load, now
from xpay_flow.errors import XPayFlowError
from xpay_flow.events import Event, EventIdentity
from xpay_flow.flow import Flow
from xpay_flow.flows.webhook import WebhookResult
from xpay_flow.ports import Store
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Change, OutboxEntry, Record, Work, change
from xpay_flow.signing import authenticate
from xpay_flow.stores.memory import MemoryStore

from . import (
    test_outbox,
    test_queries,
    test_receive_webhook,
    test_reconcile,
    test_start_checkout,
    test_two_at_once,
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

    def afresh(request: str, key: str, settings: Any) -> Command[Any]:
        now_ms = yield from now()
        return (yield from ask(request, f"{key}:{now_ms}", settings))

    patch.setattr(xpay_api, "create_intent", afresh)


def takes_any_silence_for_a_refusal(patch: Patch) -> None:
    """A time-out closes the attempt, so that the next click makes another one."""
    ask = xpay_api.create_intent

    def sure(request: str, key: str, settings: Any) -> Command[Any]:
        answer = yield from ask(request, key, settings)
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

    def altered(
        record: Record, intent: Any, effect: OutboxEntry, now_ms: int, context: Any
    ) -> Record:
        after: Record = claimed(record, intent, effect, now_ms, context)
        taken = after.entry(effect.id)
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
        if claimed is not None:
            record, _, effect = claimed
            done = record.with_entry(attrs.evolve(effect, status="done"))
            yield from commit(change(record, done))
        return claimed

    patch.setattr(outbox, "_claim", optimistic)


def settles_whatever_the_outcome(patch: Patch) -> None:
    """A handler that failed is ticked off like one that worked."""
    settled = outbox._settled

    def pleased(record: Any, intent: Any, effect: Any, ran: Any, now_ms: int, context: Any) -> Any:
        return settled(record, intent, effect, attrs.evolve(ran, outcome="done"), now_ms, context)

    patch.setattr(outbox, "_settled", pleased)


def gives_each_try_its_own_key(patch: Patch) -> None:
    """The idempotency key names the try, and so protects from nothing."""
    call = outbox._call

    def renamed(key: str, intent: Any, effect: OutboxEntry, context: Any) -> Command[Any]:
        again = attrs.evolve(effect, id=f"{effect.id}:{effect.tries}")
        return (yield from call(key, intent, again, context))

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


# --- who catches what ----------------------------------------------------------------------------


def cuts(story: Callable[[Shop], None]) -> Check:
    """The story, cut before and after every effect."""

    return partial(check_every_cut, story, in_memory)


def machine() -> None:
    """The stateful machine, over as many stories as each run of the tests generates."""
    quickly = settings(of_size(examples=250, steps=40), phases=[Phase.generate])
    run_state_machine_as_test(ShopMachine, settings=quickly)


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
