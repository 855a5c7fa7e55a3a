"""Has this request been made before? xPay's rules on the `Idempotency-Key` header.

"Repeat with the same body: the first reply's status code and body come back, also when the first
was an error"; kept for 24 hours. A key is refused for another body, for another endpoint, and
while the first request is still running.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import attrs

from xpay_flow import messages

from .exchange import Response, error_response

_KEY = re.compile(messages.IDEMPOTENCY_KEY_PATTERN)
_RETENTION_MS = messages.IDEMPOTENCY_RETENTION_S * 1000


@attrs.frozen
class _Call:
    """One remembered request and its answer; it runs until `finished_at_ms`."""

    endpoint: str
    body: object
    answer: Response
    started_at_ms: int
    finished_at_ms: int


class IdempotencyKeys:
    """The answers of the last 24 hours, by key. One merchant, so one scope."""

    def __init__(self, *, keys_max: int, in_progress_status: int) -> None:
        self._calls: dict[str, _Call] = {}
        self._keys_max = keys_max
        self._in_progress_status = in_progress_status

    def answer(
        self, key: str, endpoint: str, body: bytes, now_ms: int, perform: Callable[[], Response]
    ) -> Response:
        """The remembered answer, a refusal of the key, or what `perform` answers now."""
        if not _KEY.fullmatch(key):
            return _refusal(400, "Idempotency-Key must match ^[a-zA-Z0-9\\-_:\\.]{1,255}$")
        self._forget(now_ms)
        known = self._calls.get(key)
        if known is not None:
            return self._repeat(known, endpoint, _comparable(body), now_ms)
        answer = perform()
        finished_at_ms = now_ms + answer.delay_ms
        self._calls[key] = _Call(endpoint, _comparable(body), answer, now_ms, finished_at_ms)
        return answer

    def expire(self) -> int:
        """Forgets every key, as if 24 hours had passed; returns how many."""
        count = len(self._calls)
        self._calls.clear()
        return count

    def _repeat(self, known: _Call, endpoint: str, body: object, now_ms: int) -> Response:
        if known.endpoint != endpoint:
            return _refusal(400, "Idempotency-Key was used with another endpoint")
        if known.body != body:
            return _refusal(400, "Idempotency-Key was used with other parameters")
        if now_ms < known.finished_at_ms:
            return _refusal(
                self._in_progress_status, "A request with this Idempotency-Key is in progress"
            )
        return attrs.evolve(known.answer, delay_ms=0)

    def _forget(self, now_ms: int) -> None:
        # Insertion order is the order of time, so the oldest is always first.
        while self._calls:
            key = next(iter(self._calls))
            old = now_ms - self._calls[key].started_at_ms >= _RETENTION_MS
            if not old and len(self._calls) < self._keys_max:
                return
            del self._calls[key]


def _refusal(status: int, description: str) -> Response:
    # The code that goes with 409 is not shown on any page; "conflict" is the row's own word.
    code = "conflict" if status == 409 else messages.BAD_REQUEST
    return error_response(status, code, description)


def _comparable(body: bytes) -> object:
    """Parameters are compared, not bytes: white space and the order of fields do not matter."""
    try:
        return _typed(json.loads(body))
    except (ValueError, RecursionError):
        return body


def _typed(value: object) -> str:
    # Text again, since 1 == True == 1.0 in Python but not in JSON.
    return json.dumps(value, sort_keys=True)
