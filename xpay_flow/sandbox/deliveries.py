"""The words of the webhook sender: an event, an attempt to deliver it, and its outcome."""

from __future__ import annotations

import attrs

from .exchange import Pairs


@attrs.frozen(kw_only=True)
class Event:
    """An event that happened, with the bytes that report it."""

    event_id: str
    event_type: str
    at_ms: int
    x_intent_id: str | None
    body: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Delivery:
    """One attempt to deliver one event to one endpoint.

    `number` is unique per attempt and copy; `attempt` counts from 1. `event_id` and `body` are the
    same in every attempt. Header names are in lower case.
    """

    number: int
    event_id: str
    event_type: str
    attempt: int
    url: str
    headers: Pairs = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    due_at_ms: int

    def header(self, name: str) -> str | None:
        """The value of a header, by its name in any case."""
        return next((value for known, value in self.headers if known == name.lower()), None)


@attrs.frozen(kw_only=True)
class Attempt:
    """What became of an attempt: the merchant's status code, or None when none was seen."""

    event_id: str
    event_type: str
    attempt: int
    url: str
    at_ms: int
    http_status: int | None
    note: str
