"""Which webhook is sent where, when and how often?

Each event becomes one delivery per endpoint. An answer of 2xx ends it; anything else, or none,
brings it back after the next pause of the retry schedule, with the same event id and the same
bytes. Faults of the plan are worked in here. Nothing is sent here: the sender reads
what is due and reports the outcome.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from typing import Any

import attrs

from xpay_flow import messages

from .config import SandboxConfig
from .deliveries import Attempt, Delivery, Event
from .endpoints import Endpoint, Endpoints
from .exchange import Pairs
from .faults import WebhookFault
from .ids import Ids
from .signer import EcdsaSigner, hmac_signature

log = logging.getLogger("xpay_flow.sandbox")

# How long a reordered event waits for another one to overtake it, unless the rule has a time.
REORDER_HOLD_S = 30.0
SURPRISE_FIELDS: dict[str, Any] = {"sandboxSurprise": {"nested": [1, "two", None]}, "x-new": True}

Faults = tuple[WebhookFault, ...]


@attrs.frozen(kw_only=True)
class _Job:
    """A delivery in the queue, with what its later attempts need. A copy is sent only once."""

    event: Event
    endpoint: Endpoint
    faults: Faults
    delivery: Delivery | None = None
    is_copy: bool = False
    held: bool = False

    def suffers(self, fault: str, attempt: int) -> bool:
        return any(rule.fault == fault and rule.covers(attempt) for rule in self.faults)


class Outbox:
    """The queue of webhooks, the events behind it and the log of attempts."""

    def __init__(self, config: SandboxConfig, ids: Ids, endpoints: Endpoints) -> None:
        self.ecdsa = EcdsaSigner(config.ecdsa_private_key_pem)
        self._config = config
        self._ids = ids
        self._endpoints = endpoints
        self._jobs: dict[int, _Job] = {}
        self._numbers = 0
        self._events: dict[str, Event] = {}
        self._log: deque[Attempt] = deque(maxlen=config.deliveries_max)

    def due(self, now_ms: int) -> list[Delivery]:
        """What should be on its way, in the order of sending; reading changes nothing."""
        return sorted((d for d in self._waiting() if d.due_at_ms <= now_ms), key=_order)

    def next_due_at_ms(self) -> int | None:
        return min((delivery.due_at_ms for delivery in self._waiting()), default=None)

    def events(self) -> list[Event]:
        return list(self._events.values())

    def event(self, event_id: str) -> Event | None:
        return self._events.get(event_id)

    def log(self) -> list[Attempt]:
        return list(self._log)

    def announce(
        self, event_type: str, fields: dict[str, Any], faults: Faults, now_ms: int
    ) -> Event:
        """Makes an event of these fields and queues it for every endpoint that wants it."""
        event = self._event(event_type, _mutated(fields, faults), now_ms)
        self._queue(event, faults, now_ms + self._config.webhook_delay_ms)
        return event

    def redeliver(self, event: Event, now_ms: int) -> int:
        """Queues an old event once more, without faults; returns to how many endpoints."""
        return self._queue(event, (), now_ms)

    def outcome(self, delivery: Delivery, http_status: int | None, now_ms: int) -> None:
        """What the merchant answered, or None; a second report on one attempt is ignored."""
        job = self._jobs.pop(delivery.number, None)
        if job is None:
            return
        note = "no answer" if http_status is None else "answered"
        if http_status is not None and job.suffers("lose_answer", delivery.attempt):
            http_status, note = None, f"fault: the answer {http_status} was lost"
        self._note(delivery, now_ms, http_status, note)
        if http_status is None or not 200 <= http_status <= 299:
            self._retry(job, delivery, max(now_ms, delivery.due_at_ms))

    def _waiting(self) -> list[Delivery]:
        return [job.delivery for job in self._jobs.values() if job.delivery is not None]

    def _event(self, event_type: str, fields: dict[str, Any], now_ms: int) -> Event:
        event_id = self._ids.make("whe_")
        head = {"eventId": event_id, "eventType": event_type, "eventTime": now_ms}
        intent_id = fields.get("intentId")
        event = Event(
            event_id=event_id,
            event_type=event_type,
            at_ms=now_ms,
            x_intent_id=intent_id if type(intent_id) is str else None,
            body=self._bytes({**head, **fields}),
        )
        self._events[event_id] = event
        while len(self._events) > self._config.events_max:
            del self._events[next(iter(self._events))]
        return event

    def _bytes(self, payload: dict[str, Any]) -> bytes:
        separators = (", ", ": ") if self._config.json_spaces else (",", ":")
        text = json.dumps(payload, separators=separators, ensure_ascii=self._config.json_ascii)
        return text.encode()

    def _queue(self, event: Event, faults: Faults, at_ms: int) -> int:
        endpoints = [one for one in self._endpoints.all() if one.wants(event.event_type)]
        held = any(rule.fault == "reorder" for rule in faults)
        at_ms += _delay_ms(faults)
        for endpoint in endpoints:
            job = _Job(event=event, endpoint=endpoint, faults=faults, held=held)
            self._schedule(job, 1, at_ms)
            self._copy(job, at_ms)
        if not held:
            self._release(at_ms)
        return len(endpoints)

    def _copy(self, job: _Job, at_ms: int) -> None:
        for rule in job.faults:
            if rule.fault != "duplicate":
                continue
            for copy in range(1, rule.copies + 1):
                gap_ms = round(copy * rule.seconds * 1000)
                self._schedule(attrs.evolve(job, is_copy=True), 1, at_ms + gap_ms)

    def _release(self, at_ms: int) -> None:
        """Lets the held events follow the one that has just passed them."""
        for number, job in list(self._jobs.items()):
            if job.held:
                del self._jobs[number]
                self._schedule(attrs.evolve(job, held=False), 1, at_ms)

    def _schedule(self, job: _Job, attempt: int, at_ms: int) -> None:
        delivery = self._delivery(job, attempt, at_ms)
        if job.suffers("lose", attempt):
            # Noted at once, with the time at which it would have arrived.
            self._note(delivery, at_ms, None, "fault: lost")
            self._retry(job, delivery, at_ms)
        elif len(self._jobs) >= self._config.deliveries_max:
            self._note(delivery, at_ms, None, "not sent: too many webhooks wait")
        else:
            held = job.held and attempt == 1
            self._jobs[delivery.number] = attrs.evolve(job, delivery=delivery, held=held)

    def _retry(self, job: _Job, failed: Delivery, at_ms: int) -> None:
        pauses = self._config.retry_schedule_s
        if job.is_copy:
            return
        if failed.attempt > len(pauses):
            log.warning("webhook %s is given up", failed.event_id)
            self._note(failed, at_ms, None, "given up")
            return
        pause_ms = round(pauses[failed.attempt - 1] * 1000)
        self._schedule(job, failed.attempt + 1, at_ms + pause_ms)

    def _delivery(self, job: _Job, attempt: int, at_ms: int) -> Delivery:
        self._numbers += 1
        return Delivery(
            number=self._numbers,
            event_id=job.event.event_id,
            event_type=job.event.event_type,
            attempt=attempt,
            url=job.endpoint.url,
            headers=self._headers(job, attempt),
            body=job.event.body,
            due_at_ms=at_ms,
        )

    def _headers(self, job: _Job, attempt: int) -> Pairs:
        endpoint = job.endpoint
        if not self._config.queued_events_keep_secret:
            endpoint = self._endpoints.get(endpoint.endpoint_id)
        old = job.suffers("old_secret", attempt)
        secret = endpoint.previous_secret if old else endpoint.secret
        # A signature that is well formed and simply not over these bytes.
        wrong = job.suffers("wrong_signature", attempt)
        signed = job.event.body + b" " if wrong else job.event.body
        headers = {
            "content-type": "application/json",
            messages.HMAC_HEADER: hmac_signature(secret, signed),
        }
        ecdsa = self.ecdsa.signature(signed) if self._config.ecdsa else None
        if ecdsa is not None:
            headers[messages.ECDSA_HEADER] = ecdsa
        return tuple(headers.items())

    def _note(self, delivery: Delivery, at_ms: int, http_status: int | None, note: str) -> None:
        self._log.append(
            Attempt(
                event_id=delivery.event_id,
                event_type=delivery.event_type,
                attempt=delivery.attempt,
                url=delivery.url,
                at_ms=at_ms,
                http_status=http_status,
                note=note,
            )
        )


def _order(delivery: Delivery) -> tuple[int, int]:
    return delivery.due_at_ms, delivery.number


def _delay_ms(faults: Faults) -> int:
    delays = [rule.seconds for rule in faults if rule.fault == "delay"]
    delays += [rule.seconds or REORDER_HOLD_S for rule in faults if rule.fault == "reorder"]
    return round(sum(delays) * 1000)


def _mutated(fields: dict[str, Any], faults: Faults) -> dict[str, Any]:
    """The fields of an event after the faults that change its content."""
    names = {rule.fault for rule in faults}
    changed = dict(fields)
    if "extra_fields" in names:
        changed |= SURPRISE_FIELDS
    if "null_receipt" in names:
        changed["receiptId"] = None
    if "null_metadata" in names:
        changed["metadata"] = None
    if "no_metadata" in names:
        changed.pop("metadata", None)
    return changed
