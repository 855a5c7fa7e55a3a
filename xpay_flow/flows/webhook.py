"""What becomes of one webhook?

Verify, parse, load, decide, one commit, and only then is it acknowledged. No user code runs here
and xPay is not called: it gives up after two seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import attrs

from ..effects import Command, count, now
from ..errors import UntrustedMessage
from ..events import UNKNOWN, Event, from_unreadable, from_webhook, with_metadata
from ..lifecycle import Disposition
from ..records import Record, RecordedEvent
from ..signing import Authenticity, Headers, authenticate
from ..wire import canonical_json, parse_object, read_unreadable, read_webhook, without_secrets
from .context import FlowContext, retry
from .parking import append_unmatched, find_owner, park, unmatched_entry
from .recording import try_to_record

# Counters of webhooks of which nothing is stored; the reason follows.
REFUSED: Final = "webhook.refused."


@attrs.frozen(kw_only=True)
class WebhookResult:
    """The result of one webhook. In every case it is durable, and the answer is 200.

    Args:
        intent_id, state: of the event's intent; None for a parked or quarantined event.
        handlers_due: how many handler calls became due.
    """

    event_id: str
    event_type: str
    disposition: Disposition
    why: str
    intent_id: str | None = None
    state: str | None = None
    handlers_due: int = 0


def receive_webhook(headers: Headers, body: bytes, context: FlowContext) -> Command[WebhookResult]:
    """Authenticate, decide and record one delivery.

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
        yield from count(REFUSED + error.reason)
        raise
    try:
        received = yield from _filed(body, _proof(proven), context)
    except UntrustedMessage as error:
        yield from count(REFUSED + error.reason)
        raise
    yield from count(f"webhook.{received.disposition}")
    return received


def _filed(body: bytes, proof: str, context: FlowContext) -> Command[WebhookResult]:
    try:
        message = read_webhook(body)
    except UntrustedMessage as error:
        return (yield from _file_unreadable(body, error, proof, context))
    event = from_webhook(message, proof, context.settings.metadata_key)
    return (yield from _file(event, message.metadata, context))


def _proof(proven: Authenticity) -> str:
    return f"hmac:{proven.key_index}" if proven.hmac else "ecdsa"


def _file(
    event: Event, metadata: Mapping[str, str], context: FlowContext
) -> Command[WebhookResult]:
    name = f"event {event.event_id}"
    return (yield from retry(context, name, lambda: _try_to_file(event, metadata, context)))


def _try_to_file(
    event: Event, metadata: Mapping[str, str], context: FlowContext
) -> Command[WebhookResult | None]:
    owner = yield from find_owner(event)
    if owner is None or owner.intent is None:
        return (yield from _park(with_metadata(event, metadata), context))
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


def _park(event: Event, context: FlowContext) -> Command[WebhookResult | None]:
    parked = yield from park(event, context)
    return _unmatched(parked) if parked is not None else None


def _unmatched(recorded: RecordedEvent) -> WebhookResult:
    """The result for an event that belongs to no intent."""
    return WebhookResult(
        event_id=recorded.event.event_id,
        event_type=recorded.event.type,
        disposition=recorded.disposition,
        why=recorded.why,
    )


def _kept(body: bytes) -> str:
    """What may be kept of bytes that make no sense. Their words may be anything, also personal."""
    try:
        return canonical_json(without_secrets(parse_object(body, rigour="names")))
    except UntrustedMessage:
        return canonical_json({"bytes": len(body), "sha256": sha256(body).hexdigest()})


def _file_unreadable(
    body: bytes, error: UntrustedMessage, proof: str, context: FlowContext
) -> Command[WebhookResult]:
    """Record it at the intent that it names, if it names one of ours: xPay can be queried."""
    try:
        message = read_unreadable(body)
    except UntrustedMessage:
        return (yield from _quarantine(body, error, proof, context))
    event = from_unreadable(message, proof, context.settings.metadata_key)

    def attempt() -> Command[WebhookResult | None]:
        owner = yield from find_owner(event)
        if owner is None or owner.intent is None:
            return (yield from _quarantine(body, error, proof, context))
        return (yield from _record_for(owner, event, context))

    return (yield from retry(context, event.event_id, attempt))


def _quarantine(
    body: bytes, error: UntrustedMessage, proof: str, context: FlowContext
) -> Command[WebhookResult]:
    """Keep bytes that carry a good signature and cannot be read: an operator must look at them."""
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
    realm = context.settings.realm
    key = f"quarantine:{realm}:{name}"
    empty = Record(key=key, aliases=frozenset({key}), unmatched_in=realm)
    entry = unmatched_entry(event, now_ms, context)
    yield from retry(context, key, lambda: append_unmatched(empty, recorded, None, entry))
    return _unmatched(recorded)
