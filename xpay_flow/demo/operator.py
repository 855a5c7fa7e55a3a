"""What does the operator of a shop see? Every payment, its timeline, and pending handler calls.

A real shop keeps these pages behind a login; this one is on the visitor's own machine.
"""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import urlencode

import attrs
from fastapi import APIRouter, Depends, Form
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from xpay_flow import LIFECYCLE, AsyncFlow, InvalidValue, Timeline, UnknownIntent
from xpay_flow.drawing import lifecycle_svg, sequence_svg
from xpay_flow.drawing.sequence import tone_of
from xpay_flow.drawing.text import elapsed
from xpay_flow.timeline import Entry

from .rendering import Looks, same_origin
from .trouble import DAYS, Trouble

ROWS_MAX = 50
_STATE_TONES = {"success": "good", "failed": "bad", "rejected": "bad", "cancelled": "warn"}
# Calls in these states can be redelivered; the other ones are under way or done.
REDELIVERABLE = frozenset({"gave_up", "dropped"})


@attrs.frozen(kw_only=True)
class Row:
    """One line of the list."""

    timeline: Timeline
    url: str
    tone: str
    age: str
    last: Entry | None
    open_entries: int


def row_of(timeline: Timeline, now_ms: int) -> Row:
    """The line of one record; parked events have no intent, and show their key."""
    last = timeline.entries[-1] if timeline.entries else None
    return Row(
        timeline=timeline,
        url=_page_of(timeline.key),
        tone=_tone(timeline),
        age=_age(now_ms - last.at_ms) if last else "–",
        last=last,
        open_entries=sum(entry.status in ("pending", "gave_up") for entry in timeline.outbox),
    )


def _tone(timeline: Timeline) -> str:
    state = timeline.intent.state if timeline.intent else "parked"
    return _STATE_TONES.get(state, "warn" if state == "parked" else "plain")


def _age(ms: int) -> str:
    return f"{max(ms, 0) // 1000} s ago" if ms < 60_000 else f"{elapsed(ms)[1:]} ago"


def _page_of(name: str) -> str:
    return f"/operator/payment?{urlencode({'name': name})}"


class OperatorPages:
    """`/operator` of one shop."""

    def __init__(self, flow: AsyncFlow, trouble: Trouble, looks: Looks) -> None:
        self._flow, self._trouble, self._looks = flow, trouble, looks
        self.router = router = APIRouter()
        forms = [Depends(same_origin)]
        router.add_api_route("", self.payments, methods=["GET"])
        router.add_api_route("/payment", self.payment, methods=["GET"])
        router.add_api_route("/redeliver", self.redeliver, methods=["POST"], dependencies=forms)
        router.add_api_route("/day", self.choose_day, methods=["POST"], dependencies=forms)

    async def payments(self, live: bool = False) -> Response:
        """All payments, newest first, and the kind of day it is."""
        now_ms = time.time_ns() // 1_000_000
        found = await self._flow.recent(ROWS_MAX)
        return self._looks.page(
            "operator.html",
            rows=[row_of(timeline, now_ms) for timeline in found],
            rows_max=ROWS_MAX,
            days=DAYS,
            today=self._trouble.name,
            counters=sorted(self._flow.counters.items()),
            live=live,
        )

    async def payment(self, name: str, live: bool = False) -> Response:
        """One payment: its timeline as a picture and as a table, its pending calls, its state."""
        try:
            timeline = await self._flow.timeline(name)
        except UnknownIntent:
            raise HTTPException(404, "No payment is filed under this name") from None
        intent, entries = timeline.intent, timeline.entries
        return self._looks.page(
            "payment.html",
            timeline=timeline,
            intent=intent,
            tone=_tone(timeline),
            url=_page_of(timeline.key),
            rows=[(e, elapsed(e.at_ms - entries[0].at_ms), tone_of(e)) for e in entries],
            redeliverable=REDELIVERABLE,
            sequence=sequence_svg(timeline),
            lifecycle=lifecycle_svg(LIFECYCLE, intent.state) if intent else "",
            live=live,
        )

    async def redeliver(
        self, name: Annotated[str, Form()], entry: Annotated[str, Form()]
    ) -> Response:
        """Make a handler call pending again. Pressing twice makes one call."""
        try:
            await self._flow.redeliver(name, entry)
        except UnknownIntent:
            raise HTTPException(404, "No handler call has this name") from None
        return RedirectResponse(_page_of(name), 303)

    async def choose_day(self, day: Annotated[str, Form()]) -> Response:
        """Make trouble, or end it."""
        try:
            self._trouble.choose(day)
        except InvalidValue:
            raise HTTPException(400, "There is no such day") from None
        return RedirectResponse("/operator", 303)
