"""One page of the list of intents, and the cursor to the next one.

"`offset` is an opaque cursor; changing any filter voids it": so the cursor holds a digest of the
filters, and the place where the page ended.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import attrs

from xpay_flow import messages
from xpay_flow.errors import InvalidValue, quoted

from .ledger import Intent

LIMIT_DEFAULT = 50
LIMIT_MAX = 100
_STATUSES = frozenset(
    {
        messages.STATUS_CREATED,
        messages.STATUS_SUCCESS,
        messages.STATUS_FAILED,
        messages.STATUS_CANCELLED,
        messages.STATUS_REFUNDED,
        messages.STATUS_PARTIALLY_REFUNDED,
        "DISPUTED",
        "DISPUTE_UNDER_REVIEW",
        "DISPUTE_WON",
        "DISPUTE_LOST",
    }
)


@attrs.frozen(kw_only=True)
class PageQuery:
    """The checked query of GET /payments/intents; `after` is the number of the last intent seen."""

    start_ms: int | None
    end_ms: int | None
    statuses: frozenset[str] | None
    limit: int
    after: int | None

    def matches(self, intent: Intent, status: str) -> bool:
        if self.start_ms is not None and intent.created_at_ms < self.start_ms:
            return False
        if self.end_ms is not None and intent.created_at_ms > self.end_ms:
            return False
        return self.statuses is None or status in self.statuses


def read_query(query: Mapping[str, list[str]]) -> PageQuery:
    """Reads the query; InvalidValue for a limit, a time, a status or a cursor that is not one."""
    statuses = query.get("statuses")
    # An empty cursor is the first page: "offset" of the first call.
    cursor = query.get("offset", [""])[0]
    return PageQuery(
        start_ms=_whole(query, "startTime", 2**53),
        end_ms=_whole(query, "endTime", 2**53),
        statuses=None if statuses is None else _statuses(statuses),
        limit=_limit(query),
        after=_read_cursor(cursor, _digest(query)) if cursor else None,
    )


def next_cursor(query: Mapping[str, list[str]], last: Intent) -> str:
    """The cursor to what follows `last` under the same filters."""
    text = f"{last.number}.{_digest(query)}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str, digest: str) -> int:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        number, _, made_for = text.decode("ascii").partition(".")
    except ValueError:
        raise InvalidValue("offset is not a cursor of this list") from None
    if made_for != digest or not number.isdecimal() or len(number) > 15:
        raise InvalidValue("offset was made for other filters, or is not a cursor")
    return int(number)


def _digest(query: Mapping[str, list[str]]) -> str:
    filters = [(name, query.get(name)) for name in ("startTime", "endTime", "statuses")]
    return hashlib.sha256(repr(filters).encode("utf-8", "replace")).hexdigest()[:16]


def _limit(query: Mapping[str, list[str]]) -> int:
    limit = _whole(query, "limit", LIMIT_MAX)
    if limit == 0:
        raise InvalidValue(f"limit must be from 1 to {LIMIT_MAX}")
    return LIMIT_DEFAULT if limit is None else limit


def _whole(query: Mapping[str, list[str]], name: str, high: int) -> int | None:
    text = query.get(name, [None])[0]
    if text is None:
        return None
    digits = text.isascii() and text.isdecimal() and len(text) <= 16
    if not digits or int(text) > high:
        raise InvalidValue(f"{name} must be a whole number of at most {high}")
    return int(text)


def _statuses(values: list[str]) -> frozenset[str]:
    found = frozenset(status for value in values for status in value.split(",") if status)
    for status in found - _STATUSES:
        raise InvalidValue(f"statuses: {quoted(status)} is not a status")
    return found
