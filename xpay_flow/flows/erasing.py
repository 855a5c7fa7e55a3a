"""How is a customer forgotten? What is personal is erased; ids, totals and copies' marks stay.

What a payment still needs is erased by the commit that ends the need (`records.change`): the
request of an unanswered creation, the metadata for a handler call that is pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import attrs

from ..checkout_request import term_digest
from ..effects import Command, blank_payloads, commit, history, load, now, recent, scrub
from ..errors import InvalidValue, UnknownIntent
from ..intent import Intent
from ..realm import in_words
from ..records import (
    Record,
    change,
    intent_alias,
    open_matters,
    receipt_alias,
    x_intent_alias,
)
from .context import FlowContext, retry
from .queries import find

# Records of one look, with their histories.
PAGE: Final = 100

ErasureOutcome = Literal["erased", "due", "erased before"]


@attrs.frozen(kw_only=True)
class ErasureResult:
    """What became of one record whose personal data were to be erased.

    Args:
        intent_id, receipt_id: None for unmatched events.
        outcome: `due`: what `waits_for` still needs is kept, and erased when that has ended; the
            rest is erased.
        waits_for: what still needs data of the record, in words.
    """

    key: str
    intent_id: str | None
    receipt_id: str | None
    outcome: ErasureOutcome
    waits_for: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f"{self.receipt_id} ({self.intent_id})" if self.receipt_id else self.key
        if self.outcome == "due":
            return (
                f"{name}: erased, but for what is needed still; the rest is erased by itself when "
                f"this has ended: {'; '.join(self.waits_for)}"
            )
        return f"{name}: {'was erased before' if self.outcome == 'erased before' else 'erased'}"


@attrs.frozen(kw_only=True)
class PurgeResult:
    """What a purge has erased.

    Args:
        erased: how many records.
        due: those of which something is still needed.
        kept: how many younger records there are, and such as were erased before.
    """

    erased: int = 0
    due: tuple[ErasureResult, ...] = ()
    kept: int = 0

    def __str__(self) -> str:
        lines = [
            f"{self.erased} payment(s) and unmatched event(s) erased, {self.kept} kept as they are",
            *map(str, self.due),
        ]
        return "\n".join(lines)


def erase(name: str, context: FlowContext) -> Command[tuple[ErasureResult, ...]]:
    """Erase what is personal of an order's payments, or of all payments of a customer.

    Args:
        name: your receipt id, our intent id, xPay's id; or the customer's e-mail address or xPay's
            customer id, as they were given to `start_checkout`.

    Raises:
        UnknownIntent: nothing is filed under this name, and no payment was made for this customer.
        InvalidValue: what is filed under it belongs to another mode or account.
        StoreError: something is left; erase it again.
    """
    keys = [record.key for record in (yield from _named(name))]
    keys += [key for key in (yield from _of_customer(name, context)) if key not in keys]
    if not keys:
        yield from _refuse(name, context)
    results: list[ErasureResult] = []
    for key in keys:
        results.append((yield from _erase_record(key, context)))
    yield from scrub()
    return tuple(results)


def purge(older_than_s: float, context: FlowContext) -> Command[PurgeResult]:
    """Erase what is personal of all payments, and of unmatched events, that are older.

    Args:
        older_than_s: since the attempt was stored, or the last unmatched event recorded.

    Raises:
        InvalidValue: the age is not a positive number.
        StoreError: something is left; purge again.
    """
    if not 0 < older_than_s < float("inf"):
        raise InvalidValue("the age must be a positive number of seconds")
    before_ms = (yield from now()) - int(older_than_s * 1000)
    done, last = PurgeResult(), ""
    while found := (yield from recent(PAGE, context.settings.realms, last)):
        for record in found:
            if _is_to_be_purged(record, before_ms):
                done = _counted(done, (yield from _erase_record(record.key, context)))
            else:
                done = attrs.evolve(done, kept=done.kept + 1)
        last = found[-1].key
    yield from scrub()
    return done


def _counted(done: PurgeResult, result: ErasureResult) -> PurgeResult:
    if result.outcome == "due":
        return attrs.evolve(done, due=(*done.due, result))
    return attrs.evolve(done, erased=done.erased + 1)


def _is_to_be_purged(whole: Record, before_ms: int) -> bool:
    if whole.erased == "done":
        return False
    if whole.intent is not None:
        return whole.intent.created_at_ms < before_ms
    # What only counts has no event, and nothing personal.
    return bool(whole.events) and max(each.at_ms for each in whole.events) < before_ms


def _named(name: str) -> Command[Sequence[Record]]:
    for alias in (name, intent_alias(name), x_intent_alias(name), receipt_alias(name)):
        found = yield from load(alias)
        if found:
            return found
    return ()


def _of_customer(name: str, context: FlowContext) -> Command[Sequence[str]]:
    """Keys of payments that were begun for this customer.

    Of customers a digest is kept that differs from order to order, so that no customer can be
    followed by it. So each order is looked at.
    """
    keys: list[str] = []
    last = ""
    while _terms(name) and (found := (yield from recent(PAGE, context.settings.realms, last))):
        keys += [record.key for record in found if record.intent and _is_for(record.intent, name)]
        last = found[-1].key
    return keys


def _is_for(intent: Intent, name: str) -> bool:
    terms = dict(intent.terms)
    return any(
        terms.get(field) == term_digest(intent.receipt_id, value) for field, value in _terms(name)
    )


def _terms(name: str) -> tuple[tuple[str, str], ...]:
    """The fields of a request that may be this customer's."""
    if "@" in name:
        written = dict.fromkeys((name, name.strip(), name.strip().lower()))
        return tuple(("customer.email", each) for each in written)
    return (("customer_id", name),) if name.startswith("cus_") else ()


def _refuse(name: str, context: FlowContext) -> Command[None]:
    """Nothing of ours has this name."""
    elsewhere = yield from find(name)  # Raises UnknownIntent.
    realm = elsewhere[0].realm
    if realm in context.settings.realms:
        raise UnknownIntent(name)
    raise InvalidValue(
        f"this belongs to {in_words(realm)}, and these settings to {context.settings.realm}: use "
        "the flow of that account"
    )


def _erase_record(key: str, context: FlowContext) -> Command[ErasureResult]:
    before, record = yield from retry(context, key, lambda: _try_to_erase(key))
    if record.intent is not None or record.erased == "done":
        # After the commit: from then on, no payload is recorded with it.
        yield from blank_payloads(key)
    outcome: ErasureOutcome = "due" if record.erased == "due" else "erased"
    return ErasureResult(
        key=key,
        intent_id=record.intent.id if record.intent else None,
        receipt_id=record.intent.receipt_id if record.intent else None,
        outcome="erased before" if before.erased == "done" else outcome,
        waits_for=open_matters(record) if record.erased == "due" else (),
    )


def _try_to_erase(key: str) -> Command[tuple[Record, Record] | None]:
    """The record before and after; None is a lost race."""
    (whole,) = yield from history(key)
    if whole.erased == "done":
        return whole, whole
    step = change(whole, attrs.evolve(whole, erased="due"))
    return (whole, step.record) if (yield from commit(step)) else None


def finish_erasing(key: str) -> Command[None]:
    """Blank unmatched events that were to be erased, if no call about them is pending any more."""
    for record in (yield from load(key)):
        if record.intent is None and record.erased == "done":
            yield from blank_payloads(key)
