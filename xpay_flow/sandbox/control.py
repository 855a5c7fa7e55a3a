"""The developer's side door: what the sandbox knows, and levers to move it, as JSON.

`tests`, the command line and the overview page use these; xPay has nothing like them. Other web
sites that a developer has open must not reach them, so foreign origins and host names are refused.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from xpay_flow.errors import InvalidValue, UnknownIntent

from .clock import VirtualClock
from .deliveries import Attempt, Event
from .faults import FaultPlan
from .ledger import DisputeStage, Intent
from .local import Sandbox
from .net import is_local_name
from .order import Fields, read_object
from .rendering import bounded_body
from .troubles import trouble

Endpoint = Callable[[Request], Awaitable[Response]]

BODY_BYTES_MAX = 256 * 1024
ROWS_MAX = 500
ADVANCE_S_MAX = 366 * 24 * 3600
FAR_FUTURE_MS = 2**62


class ForbiddenOrigin(Exception):
    """The request comes from another site than the sandbox's own pages."""


def check_origin(request: Request, sandbox: Sandbox) -> None:
    """Raises ForbiddenOrigin for a foreign page, or a foreign name for this machine."""
    host = request.headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != host
    if foreign or request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise ForbiddenOrigin("another site's page may not control the sandbox")
    if sandbox.config.loopback_only and not is_local_name(name):
        raise ForbiddenOrigin("the sandbox is controlled from this machine only")


def perform(sandbox: Sandbox, x_intent_id: str, act: str, fields: Fields) -> str | None:
    """Does one act to an intent; returns where the browser goes when the customer cancels."""
    if act not in _ACTS:
        raise InvalidValue(f"an act is one of {', '.join(_ACTS)}")
    return _ACTS[act](sandbox, x_intent_id, fields)


def _open(sandbox: Sandbox, x_intent_id: str, _: Fields) -> None:
    sandbox.open_checkout(x_intent_id)


def _pay(sandbox: Sandbox, x_intent_id: str, fields: Fields) -> None:
    despite_cancel = fields.get("despite_cancel", False)
    if type(despite_cancel) is not bool:
        raise InvalidValue("despite_cancel must be true or false")
    method = _text(fields, "method", "CARD")
    sandbox.pay(x_intent_id, method, despite_cancel=despite_cancel)


def _decline(sandbox: Sandbox, x_intent_id: str, fields: Fields) -> None:
    sandbox.decline(x_intent_id, _text(fields, "error_code", "insufficient_funds"))


def _cancel(sandbox: Sandbox, x_intent_id: str, _: Fields) -> None:
    sandbox.cancel(x_intent_id)


def _cancel_by_customer(sandbox: Sandbox, x_intent_id: str, _: Fields) -> str:
    return sandbox.cancel_by_customer(x_intent_id)


def _refund(sandbox: Sandbox, x_intent_id: str, fields: Fields) -> None:
    amount_minor = fields.get("amount_minor")
    if amount_minor is not None and type(amount_minor) is not int:
        raise InvalidValue("amount_minor must be an integer")
    sandbox.refund(x_intent_id, amount_minor)


def _dispute(sandbox: Sandbox, x_intent_id: str, fields: Fields) -> None:
    in_status = fields.get("in_status")
    if not isinstance(in_status, bool | None):
        raise InvalidValue("in_status must be true or false")
    sandbox.dispute(x_intent_id, in_status=in_status)


def _settle_dispute(sandbox: Sandbox, x_intent_id: str, fields: Fields) -> None:
    stage = cast("DisputeStage", _text(fields, "stage", ""))
    sandbox.settle_dispute(x_intent_id, stage)


_ACTS: Mapping[str, Callable[[Sandbox, str, Fields], str | None]] = {
    "open": _open,
    "pay": _pay,
    "decline": _decline,
    "cancel": _cancel,
    "cancel_by_customer": _cancel_by_customer,
    "refund": _refund,
    "dispute": _dispute,
    "settle_dispute": _settle_dispute,
}


class ControlApi:
    """`/_sandbox/api/…` of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        rows: list[tuple[str, str, Endpoint]] = [
            ("GET", "about", self.about),
            ("GET", "intents", self.intents),
            ("GET", "intents/{x_intent_id}", self.intent),
            ("POST", "intents/{x_intent_id}/{act}", self.act),
            ("GET", "faults", self.faults),
            ("PUT", "faults", self.put_faults),
            ("POST", "troubles/{name}", self.add_trouble),
            ("POST", "keys/expire", self.expire_keys),
            ("GET", "clock", self.clock),
            ("POST", "clock", self.advance),
            ("GET", "events", self.events),
            ("POST", "events", self.send_event),
            ("POST", "events/{event_id}/redeliver", self.redeliver),
            ("GET", "deliveries", self.deliveries),
        ]
        return [
            Route(f"/_sandbox/api/{path}", self._guarded(endpoint), methods=[method])
            for method, path, endpoint in rows
        ]

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        """Turns what can go wrong into an answer with an `error` in words."""

        async def guarded(request: Request) -> Response:
            try:
                check_origin(request, self._sandbox)
                return await endpoint(request)
            except ForbiddenOrigin as error:
                return JSONResponse({"error": str(error)}, 403)
            except UnknownIntent as error:
                return JSONResponse({"error": str(error)}, 404)
            except InvalidValue as error:
                return JSONResponse({"error": str(error)}, 400)

        return guarded

    async def about(self, _: Request) -> Response:
        endpoints = [
            {"endpoint_id": one.endpoint_id, "url": one.url} for one in self._sandbox.endpoints()
        ]
        return JSONResponse(
            {
                "public_key": self._sandbox.config.public_key,
                "ecdsa_public_key": self._sandbox.ecdsa_public_key,
                "endpoints": endpoints,
                **self._time(),
            }
        )

    async def intents(self, _: Request) -> Response:
        newest = self._sandbox.intents()[-ROWS_MAX:]
        return JSONResponse([intent_json(self._sandbox, intent) for intent in newest])

    async def intent(self, request: Request) -> Response:
        found = self._sandbox.intent(request.path_params["x_intent_id"])
        return JSONResponse(intent_json(self._sandbox, found))

    async def act(self, request: Request) -> Response:
        x_intent_id = request.path_params["x_intent_id"]
        fields = await _body(request)
        url = perform(self._sandbox, x_intent_id, request.path_params["act"], fields)
        found = intent_json(self._sandbox, self._sandbox.intent(x_intent_id))
        return JSONResponse(found if url is None else {**found, "url": url})

    async def faults(self, _: Request) -> Response:
        return JSONResponse(self._sandbox.faults.to_dict())

    async def put_faults(self, request: Request) -> Response:
        self._sandbox.set_faults(FaultPlan.from_dict(await _body(request)))
        return JSONResponse(self._sandbox.faults.to_dict())

    async def add_trouble(self, request: Request) -> Response:
        self._sandbox.add_fault(trouble(request.path_params["name"]))
        return JSONResponse(self._sandbox.faults.to_dict())

    async def expire_keys(self, _: Request) -> Response:
        return JSONResponse({"expired": self._sandbox.expire_keys()})

    async def clock(self, _: Request) -> Response:
        return JSONResponse(self._time())

    async def advance(self, request: Request) -> Response:
        advance(self._sandbox, (await _body(request)).get("advance_s"))
        return JSONResponse(self._time())

    async def events(self, _: Request) -> Response:
        return JSONResponse([event_json(event) for event in self._sandbox.events()[-ROWS_MAX:]])

    async def send_event(self, request: Request) -> Response:
        fields = await _body(request)
        content = fields.get("fields", {})
        if not isinstance(content, dict):
            raise InvalidValue("fields must be an object")
        event_type = _text(fields, "event_type", "")
        event = self._sandbox.send_raw_event(event_type, cast("dict[str, Any]", content))
        return JSONResponse(event_json(event))

    async def redeliver(self, request: Request) -> Response:
        count = self._sandbox.redeliver(request.path_params["event_id"])
        return JSONResponse({"deliveries": count})

    async def deliveries(self, _: Request) -> Response:
        waiting = self._sandbox.due(FAR_FUTURE_MS)[:ROWS_MAX]
        return JSONResponse(
            {
                "attempts": [
                    _attempt_json(one) for one in self._sandbox.delivery_log()[-ROWS_MAX:]
                ],
                "waiting": [
                    {
                        "event_id": one.event_id,
                        "event_type": one.event_type,
                        "attempt": one.attempt,
                        "url": one.url,
                        "due_at_ms": one.due_at_ms,
                    }
                    for one in waiting
                ],
            }
        )

    def _time(self) -> dict[str, object]:
        clock = self._sandbox.clock
        return {"now_ms": clock.now_ms(), "virtual": isinstance(clock, VirtualClock)}


def advance(sandbox: Sandbox, seconds: object) -> None:
    """Moves a virtual clock on; InvalidValue for the machine's clock, or a strange number."""
    if not isinstance(sandbox.clock, VirtualClock):
        raise InvalidValue("this sandbox runs on the machine's clock")
    if type(seconds) not in (int, float):
        raise InvalidValue("advance_s must be a number of seconds")
    number = cast("float", seconds)
    if not 0 <= number <= ADVANCE_S_MAX:
        raise InvalidValue(f"advance_s must be from 0 to {ADVANCE_S_MAX}")
    sandbox.clock.advance(number)


def intent_json(sandbox: Sandbox, intent: Intent) -> dict[str, Any]:
    """An intent as the control API shows it."""
    return {
        "x_intent_id": intent.x_intent_id,
        "status": sandbox.status(intent.x_intent_id),
        "amount_minor": intent.order.amount_minor,
        "currency": intent.order.currency,
        "receipt_id": intent.order.receipt_id,
        "fwd_url": sandbox.fwd_url(intent.x_intent_id),
        "created_at_ms": intent.created_at_ms,
        "opened": intent.opened,
        "attempts": len(intent.charges),
        "refunded_minor": intent.refunded_minor,
        "refunds": [
            {
                "refund_id": refund.refund_id,
                "amount_minor": refund.amount_minor,
                "origin": refund.origin,
            }
            for refund in intent.refunds
        ],
        "dispute": intent.dispute.stage if intent.dispute else None,
    }


def event_json(event: Event) -> dict[str, Any]:
    """An event as the control API shows it, with its payload."""
    return {
        "event_id": event.event_id,
        "event_type": event.event_type,
        "at_ms": event.at_ms,
        "x_intent_id": event.x_intent_id,
        "payload": json.loads(event.body),
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "event_id": attempt.event_id,
        "event_type": attempt.event_type,
        "attempt": attempt.attempt,
        "url": attempt.url,
        "at_ms": attempt.at_ms,
        "http_status": attempt.http_status,
        "note": attempt.note,
    }


async def _body(request: Request) -> Fields:
    """The JSON object of a request; an empty body is an empty object."""
    body = await bounded_body(request, BODY_BYTES_MAX)
    if len(body) > BODY_BYTES_MAX:
        raise InvalidValue("the body is too large")
    return read_object(body) if body else {}


def _text(fields: Fields, name: str, default: str) -> str:
    value = fields.get(name, default)
    if type(value) is not str:
        raise InvalidValue(f"{name} must be a string")
    return value
