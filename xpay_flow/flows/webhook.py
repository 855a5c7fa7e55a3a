"""xPay says that something happened: what do we make of it?

Verify, parse, load, decide, one commit, and only then is it acknowledged. No user code runs here
and xPay is not called: it gives up after two seconds.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import attrs

from ..effects import Command, commit, count, load, now
from ..errors import UntrustedMessage
from ..events import UNKNOWN, Event, from_webhook
from ..lifecycle import Disposition
from ..records import Record, RecordedEvent, change, intent_alias, receipt_alias, x_intent_alias
from ..signing import Authenticity, Headers, authenticate
from ..wire import canonical_json, parse_object, read_webhook, without_secrets
from .recording import FlowContext, attach_parked, next_reconcile_ms, retry, try_to_record


@attrs.frozen(kw_only=True)
class WebhookResult:
    """What was decided upon one webhook. Whatever it is, it is durable and to be answered 200.

    Args:
        intent_id, state: of the intent it is about; None while the news is nobody's.
        owes: handler calls that became due.
    """

    event_id: str
    event_type: str
    disposition: Disposition
    why: str
    intent_id: str | None = None
    state: str | None = None
    handlers_due: int = 0


def receive_webhook(headers: Headers, body: bytes, context: FlowContext) -> Command[WebhookResult]:
    """Authenticate, record and decide upon one delivery.

    Args:
        headers: pairs or a mapping; names in any case.
        body: the exact bytes that came.

    Raises:
        UntrustedMessage: these bytes are not xPay's; nothing was stored.
        StoreError: nothing is acknowledged; xPay will send it again.
    """
    try:
        proven = authenticate(headers, body, context.settings.signature_policy)
    except UntrustedMessage as error:
        yield from count(f"webhook.refused.{error.reason}")
        raise
    try:
        message = read_webhook(body)
    except UntrustedMessage as error:
        received = yield from _quarantine(body, error, _proof(proven), context)
    else:
        event = from_webhook(message, _proof(proven), context.settings.metadata_key)
        received = yield from _file(event, context)
    yield from count(f"webhook.{received.disposition}")
    return received


def _proof(proven: Authenticity) -> str:
    return f"hmac:{proven.key_index}" if proven.hmac else "ecdsa"


def _file(event: Event, context: FlowContext) -> Command[WebhookResult]:
    name = f"event {event.event_id}"
    return (yield from retry(lambda: _try_to_file(event, context), context, name))


def _try_to_file(event: Event, context: FlowContext) -> Command[WebhookResult | None]:
    owner = yield from find_owner(event)
    if owner is None or owner.intent is None:
        return (yield from _park(event, context))
    return (yield from _record_for(owner, event, context))


def _record_for(owner: Record, event: Event, context: FlowContext) -> Command[WebhookResult | None]:
    assert owner.intent is not None
    result = yield from try_to_record(owner, owner.intent, event, context)
    if result is None:
        return None
    return WebhookResult(
        event_id=event.event_id,
        event_type=event.type,
        disposition=result.decision.disposition,
        why=result.decision.why,
        intent_id=result.intent.id,
        state=result.intent.state,
        handlers_due=len(result.decision.handlers_due),
    )


def find_owner(event: Event) -> Command[Record | None]:
    """Whose news is this? Our id in the metadata, then xPay's id, then a receipt that fits one.

    Only what is proven to be for this merchant may claim an intent by a name that others can
    write: with an ECDSA signature alone, any merchant could put our id into their metadata.
    """
    if event.intent_id and event.is_for_this_merchant:
        found = yield from load(intent_alias(event.intent_id))
        if owner := _only(list(found)):
            return owner
    if event.x_intent_id:
        found = yield from load(x_intent_alias(event.x_intent_id))
        if owner := _only([r for r in found if r.intent is not None]):
            return owner
    if event.receipt_id and event.x_intent_id and event.is_for_this_merchant:
        found = yield from load(receipt_alias(event.receipt_id))
        return _only([r for r in found if _fits(r, event)])
    return None


def _only(found: list[Record]) -> Record | None:
    return found[0] if len(found) == 1 else None


def _fits(record: Record, event: Event) -> bool:
    """An attempt whose xPay id is not known yet could be the one this event is about."""
    intent = record.intent
    if intent is None or intent.x_intent_ids or event.intent_id:
        return False
    return event.amount_minor in (None, intent.money.amount_minor)


def parking_key(event: Event) -> str:
    """Where news that is nobody's is kept: one record for each intent of xPay's, or each event."""
    if event.x_intent_id:
        return f"parked:{x_intent_alias(event.x_intent_id)}"
    return f"parked:event:{event.event_id}"


def _park(event: Event, context: FlowContext) -> Command[WebhookResult | None]:
    """Keep news for which there is no intent (yet); None is a lost race."""
    key = parking_key(event)
    aliases = {key} | ({x_intent_alias(event.x_intent_id)} if event.x_intent_id else set[str]())
    now_ms = yield from now()
    recorded = RecordedEvent(
        event=event,
        disposition="unknown",
        why="no intent of ours fits; kept until one does",
        at_ms=now_ms,
        version=0,
    )
    reconcile_at_ms = next_reconcile_ms(0, now_ms, context.settings) if event.x_intent_id else None
    if not (yield from _append(key, frozenset(aliases), recorded, reconcile_at_ms)):
        return None
    if event.x_intent_id:
        # The intent may have got this id just before we wrote: look again, see `attach_parked`.
        yield from attach_parked(event.x_intent_id, context)
    return WebhookResult(
        event_id=event.event_id, event_type=event.type, disposition="unknown", why=recorded.why
    )


def _append(
    key: str, aliases: frozenset[str], recorded: RecordedEvent, reconcile_at_ms: int | None
) -> Command[bool]:
    """Add a fact to a record without an intent; False is a lost race.

    A fact on file already costs no write.
    """
    found = yield from load(key)
    record = found[0] if found else Record(key=key, aliases=aliases)
    if any(known.id == recorded.id for known in record.events):
        return True
    recorded = attrs.evolve(recorded, version=record.version + 1)
    after = attrs.evolve(
        record,
        events=(*record.events, recorded),
        reconcile_at_ms=record.reconcile_at_ms or reconcile_at_ms,
    )
    return (yield from commit(change(record, after)))


def _kept(body: bytes) -> str:
    """What a person needs of bytes that make no sense: all of them, unless personal data shows."""
    try:
        return canonical_json(without_secrets(parse_object(body)))
    except UntrustedMessage:
        return canonical_json({"body_base64": b64encode(body).decode()})


def _quarantine(
    body: bytes, error: UntrustedMessage, proof: str, context: FlowContext
) -> Command[WebhookResult]:
    """Keep bytes that carry a good signature and cannot be read: a person must look at them."""
    name = sha256(body).hexdigest()[:32]
    now_ms = yield from now()
    event = Event(
        kind=UNKNOWN,
        type="unreadable",
        source="webhook",
        event_id=f"unreadable:{name}",
        at_ms=now_ms,
        proof=proof,
        payload=_kept(body),
    )
    why = f"signed, but unreadable ({error.reason}); quarantined"
    recorded = RecordedEvent(
        event=event, disposition="quarantined", why=why, at_ms=now_ms, version=0
    )
    key = f"quarantine:{name}"
    yield from retry(lambda: _append(key, frozenset({key}), recorded, None), context, key)
    return WebhookResult(
        event_id=event.event_id, event_type=event.type, disposition="quarantined", why=why
    )
