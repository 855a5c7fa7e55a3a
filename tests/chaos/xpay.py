"""Which payments does xPay hold? The local one answers the shop's processes, sometimes badly."""

from __future__ import annotations

import json
from binascii import crc32
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from sandbox.served import served_by

from xpay_flow import messages
from xpay_flow.errors import UnknownIntent
from xpay_flow.sandbox import FaultPlan, Sandbox
from xpay_flow.sandbox.exchange import NoAnswer, Request, Response, error_response
from xpay_flow.sandbox.ledger import Intent

from .evidence import AtXPay, Refusal
from .plan import REFUND_MINOR

# One creation in five goes wrong, as often before it took effect as afterwards.
_API: Final = (
    {"fault": "lose_request", "probability": 0.05},
    {"fault": "lose_answer", "probability": 0.05},
    {"fault": "error_text", "probability": 0.05},
    {"fault": "error_text", "probability": 0.05, "took_effect": True},
    {"fault": "slow", "probability": 0.03, "milliseconds": 800},
)
_ON_CREATE: Final = [{**rule, "path": messages.CREATE_INTENT_PATH} for rule in _API]
FAULTS: Final = FaultPlan.from_dict({"api": _ON_CREATE})
# And of all attempts these are refused for good.
REFUSED_PERCENT: Final = 5


class Refusing(Sandbox):
    """Refuses some attempts, and keeps to it: its answer to their key is the same each time.

    `refused` are those that got the refusal.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.refused: set[Refusal] = set()

    def handle(self, request: Request) -> Response | NoAnswer:
        """As any; see above."""
        key = request.header(messages.IDEMPOTENCY_HEADER) or ""
        if not _is_refused(request, key):
            return super().handle(request)
        self.refused.add(Refusal(json.loads(request.body)["receiptId"], key))
        # Not 400, which may also mean that another request under this key is still running.
        return error_response(401, messages.UNAUTHORIZED, "The merchant has no access")


def _is_refused(request: Request, key: str) -> bool:
    is_drawn = crc32(key.encode()) % 100 < REFUSED_PERCENT
    return is_drawn and request.path == messages.CREATE_INTENT_PATH


class XPay:
    """The local xPay of one run; its ledger is read where it is kept."""

    def __init__(self, sandbox: Refusing) -> None:
        self._sandbox = sandbox
        self._seen = 0
        self._by_order: dict[str, list[Intent]] = defaultdict(list)

    @property
    def base_url(self) -> str:
        return self._sandbox.config.checkout_base_url

    def payment_for(self, order: str) -> Intent | None:
        """The first that was made for this order."""
        self._look()
        return self._by_order[order][0] if self._by_order[order] else None

    def visit(self, page: str, story: Sequence[str]) -> None:
        """A customer comes to this page, and what must happen happens; a second visit is none."""
        checkout_id = parse_qs(urlsplit(page).query)[messages.RETURN_PARAMETER][0]
        # A page of no test is kept for comparison.
        with suppress(UnknownIntent):
            payment = self._sandbox.intent_by_checkout_id(checkout_id)
            if not payment.opened:
                self._sandbox.open_checkout(payment.x_intent_id)
                for word in story:
                    _ACTS.get(word, _nothing)(self._sandbox, payment.x_intent_id)

    def ledger(self) -> tuple[AtXPay, ...]:
        """Every payment that it holds."""
        return tuple(self._entry(intent) for intent in self._sandbox.intents())

    def refused(self) -> tuple[Refusal, ...]:
        """Every attempt that it was requested to make, and refused."""
        return tuple(self._sandbox.refused)

    def _entry(self, intent: Intent) -> AtXPay:
        page = self._sandbox.fwd_url(intent.x_intent_id)
        is_paid = intent.succeeded is not None
        return AtXPay(intent.order.receipt_id or "", intent.x_intent_id, page, is_paid)

    def _look(self) -> None:
        """It only ever gets more of them."""
        intents = self._sandbox.intents()
        for intent in intents[self._seen :]:
            self._by_order[intent.order.receipt_id or ""].append(intent)
        self._seen = len(intents)


def _nothing(_: Sandbox, __: str) -> None:
    """Opening has happened; a payment of other money than requested is impossible at xPay."""


# A reconciliation answers what the webhooks will report anyway.
_ACTS: Final[dict[str, Callable[[Sandbox, str], object]]] = {
    "failed": Sandbox.decline,
    "success": Sandbox.pay,
    "refunded": lambda sandbox, x: sandbox.refund(x, REFUND_MINOR),
}


@contextmanager
def at_work() -> Generator[XPay]:
    """An xPay on a port of this machine."""
    with served_by(Refusing, faults=FAULTS) as sandbox:
        yield XPay(sandbox)
