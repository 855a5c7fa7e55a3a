"""The overview page: intents, events and attempts at a glance, with buttons."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from xpay_flow.errors import InvalidValue, UnknownIntent

from .clock import VirtualClock
from .control import ForbiddenOrigin, advance, check_origin, perform
from .deliveries import Attempt
from .faults import FaultPlan
from .ledger import PAID, Intent
from .local import Sandbox
from .rendering import page, read_form, stylesheet
from .troubles import TROUBLES, trouble

HOME = "/_sandbox/"
ROWS_MAX = 50

Endpoint = Callable[[Request], Awaitable[Response]]


class OverviewPage:
    """`/_sandbox/` of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        return [
            Route("/", self._home, methods=["GET"]),
            Route("/_sandbox/sandbox.css", self._css, methods=["GET"]),
            Route(HOME, self._guarded(self.show), methods=["GET"]),
            Route(HOME, self._guarded(self.submit), methods=["POST"]),
        ]

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            try:
                check_origin(request, self._sandbox)
            except ForbiddenOrigin as error:
                return PlainTextResponse(str(error), 403)
            return await endpoint(request)

        return guarded

    async def _home(self, _: Request) -> Response:
        return RedirectResponse(HOME, 303)

    async def _css(self, _: Request) -> Response:
        return stylesheet()

    async def show(self, _: Request) -> Response:
        return self._page()

    async def submit(self, request: Request) -> Response:
        """Performs the act of a button, and shows the page again."""
        form = await read_form(request)
        try:
            self._do(form)
        except (InvalidValue, UnknownIntent) as error:
            return self._page(400, problem=str(error), faults=form.get("faults"))
        return RedirectResponse(HOME, 303)

    def _do(self, form: Mapping[str, str]) -> None:
        act = form.get("act", "")
        if act == "redeliver":
            self._sandbox.redeliver(form.get("event_id", ""))
        elif act == "faults":
            self._sandbox.set_faults(FaultPlan.from_json(form.get("faults", "")))
        elif act == "advance":
            seconds = form.get("advance_s", "")
            advance(self._sandbox, int(seconds) if seconds.isdecimal() else None)
        elif act.startswith("settle:"):
            fields = {"stage": act.removeprefix("settle:")}
            perform(self._sandbox, form.get("x_intent_id", ""), "settle_dispute", fields)
        elif act.startswith("trouble:"):
            self._sandbox.add_fault(trouble(act.removeprefix("trouble:")))
        elif act == "expire_keys":
            self._sandbox.expire_keys()
        elif act == "refund":
            amount = {"amount_minor": _amount(form.get("amount_minor", ""))}
            perform(self._sandbox, form.get("x_intent_id", ""), "refund", amount)
        elif act == "dispute_in_status":
            perform(self._sandbox, form.get("x_intent_id", ""), "dispute", {"in_status": True})
        else:
            perform(self._sandbox, form.get("x_intent_id", ""), act, {})

    def _page(self, status: int = 200, *, problem: str = "", faults: str | None = None) -> Response:
        sandbox = self._sandbox
        if faults is None:
            faults = json.dumps(sandbox.faults.to_dict(), indent=2)
        attempts = _attempts_by_event(sandbox.delivery_log())
        events = reversed(sandbox.events()[-ROWS_MAX:])
        return page(
            "overview.html",
            status,
            problem=problem,
            faults=faults,
            endpoints=sandbox.endpoints(),
            ecdsa_public_key=sandbox.ecdsa_public_key,
            troubles=TROUBLES,
            virtual=isinstance(sandbox.clock, VirtualClock),
            now=_clock_time(sandbox.clock.now_ms()),
            intents=[self._row(intent) for intent in reversed(sandbox.intents()[-ROWS_MAX:])],
            events=[
                (event, _clock_time(event.at_ms), attempts.get(event.event_id, []))
                for event in events
            ],
        )

    def _row(self, intent: Intent) -> dict[str, object]:
        status = self._sandbox.status(intent.x_intent_id)
        return {
            "intent": intent,
            "status": status,
            "tone": "good" if status in PAID else "bad" if status == "FAILED" else "",
            "fwd_url": self._sandbox.fwd_url(intent.x_intent_id),
            "acts": _acts(intent),
        }


def _acts(intent: Intent) -> dict[str, str]:
    """The buttons that make sense for an intent: what is sent, and what is shown."""
    if not intent.succeeded:
        if intent.cancelled:
            return {}
        return {"pay": "Pay", "decline": "Decline", "cancel": "Cancel"}
    acts = {"refund": "Refund"} if intent.refundable_minor else {}
    if intent.dispute is None:
        return {**acts, "dispute": "Dispute", "dispute_in_status": "Dispute, in the status"}
    if intent.dispute.stage in ("won", "lost"):
        return acts
    return {**acts, "settle:under_review": "Review", "settle:won": "Won", "settle:lost": "Lost"}


def _amount(text: str) -> int | None:
    """What was typed beside the button; nothing is all that is left."""
    if text and not (text.isascii() and text.isdecimal() and len(text) <= 16):
        raise InvalidValue("an amount is a whole number of the currency's lowest unit")
    return int(text) if text else None


def _attempts_by_event(log: list[Attempt]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for attempt in log:
        found.setdefault(attempt.event_id, []).append(attempt)
    return found


def _clock_time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S} UTC"
