"""Which payments does xPay hold? The local one answers the shop's processes, sometimes badly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sandbox.served import served

from xpay_flow.sandbox import FaultPlan, Sandbox
from xpay_flow.sandbox.ledger import Intent

from .evidence import AtXPay

_CREATE: Final = "/payments/create-intent"
# One creation in five goes wrong, as often before it took effect as afterwards.
_API: Final = (
    {"fault": "lose_request", "probability": 0.05},
    {"fault": "lose_answer", "probability": 0.05},
    {"fault": "error_text", "probability": 0.05},
    {"fault": "error_text", "probability": 0.05, "took_effect": True},
    {"fault": "slow", "probability": 0.03, "milliseconds": 800},
)
FAULTS: Final = FaultPlan.from_dict({"api": [{**rule, "path": _CREATE} for rule in _API]})


class XPay:
    """The local xPay of one run; its ledger is read where it is kept."""

    def __init__(self, sandbox: Sandbox) -> None:
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

    def ledger(self) -> tuple[AtXPay, ...]:
        """Every payment that it holds."""
        return tuple(self._entry(intent) for intent in self._sandbox.intents())

    def _entry(self, intent: Intent) -> AtXPay:
        page = self._sandbox.fwd_url(intent.x_intent_id)
        return AtXPay(intent.order.receipt_id or "", intent.x_intent_id, page)

    def _look(self) -> None:
        """It only ever gets more of them."""
        intents = self._sandbox.intents()
        for intent in intents[self._seen :]:
            self._by_order[intent.order.receipt_id or ""].append(intent)
        self._seen = len(intents)


@contextmanager
def at_work() -> Generator[XPay]:
    """An xPay on a port of this machine."""
    with served(faults=FAULTS) as sandbox:
        yield XPay(sandbox)
