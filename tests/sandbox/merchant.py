"""A merchant for the tests: builds requests as a shop would, without any code of the library."""

from __future__ import annotations

import base64
import json
from typing import Any

from xpay_flow.sandbox import NoAnswer, Request, Response, Sandbox, SandboxConfig, VirtualClock

CREATE = "/payments/create-intent"
HOOK = "http://127.0.0.1:8000/xpay/webhook"
BODY: dict[str, Any] = {
    "amount": 2599,
    "currency": "EUR",
    "callbackUrl": "https://shop.example/pay/return",
    "cancelUrl": "https://shop.example/pay/cancel",
    "receiptId": "order-1001",
    "description": "Two mugs",
    "customerDetails": {
        "name": "Ada Example",
        "email": "ada@example.org",
        "contactNumber": "+14155550100",
        "customerAddress": {"country": "US", "postalCode": "94105"},
    },
    "metadata": {"orderId": "1001"},
}


def basic(user: str = "sandbox_public_key", password: str = "sandbox_private_key") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def make_sandbox(**settings: Any) -> Sandbox:
    """A sandbox with a standing clock, one webhook endpoint and no rate limit."""
    given = {"webhook_url": HOOK, "rate_limit": None, **settings}
    return Sandbox(SandboxConfig(**given), clock=VirtualClock(), seed=0)


def clock_of(sandbox: Sandbox) -> VirtualClock:
    assert isinstance(sandbox.clock, VirtualClock)
    return sandbox.clock


def request(
    method: str, path: str, body: object = None, query: str = "", **headers: str
) -> Request:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    given = {"authorization": basic(), "content-type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, query, given, raw)


def call(
    sandbox: Sandbox, method: str, path: str, body: object = None, query: str = "", **headers: str
) -> Response:
    """The answer to a call that must be answered."""
    answer = sandbox.handle(request(method, path, body, query, **headers))
    assert not isinstance(answer, NoAnswer)
    return answer


def create(sandbox: Sandbox, **changes: Any) -> str:
    """Creates an intent and returns its id; a field changed to None is left out."""
    body = {name: value for name, value in (BODY | changes).items() if value is not None}
    answer = call(sandbox, "POST", CREATE, body)
    assert answer.status == 200, answer.body
    return str(answer.json()["xIntentId"])


def error_of(answer: Response) -> tuple[int, str]:
    """Status and code of an error answer, whose body is two strings and nothing else."""
    body = answer.json()
    assert {"errorCode", "errorDescription"} == set(body)
    assert body["errorDescription"]
    return answer.status, body["errorCode"]


def payloads(sandbox: Sandbox) -> list[dict[str, Any]]:
    """What is due, read as JSON, in the order of sending."""
    return [json.loads(delivery.body) for delivery in sandbox.due()]
