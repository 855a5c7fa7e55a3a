"""Take payments through xPay Checkout without losing, doubling or misreporting one.

`Flow` and `AsyncFlow` are what a shop holds in its hands. The rest of this list is what they are
given and what they return; everything else is imported from the module that answers its question.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .checkout_request import CheckoutRequest, Customer
from .decide import Decision, decide
from .errors import (
    AlreadyPaid,
    ConfigurationError,
    InvalidValue,
    MerchantError,
    MissingExtra,
    OutcomeUnknown,
    ReceiptInUse,
    SchemaMismatch,
    StoreContended,
    StoreError,
    StoreUnavailable,
    TooManyRequests,
    UnknownIntent,
    UntrustedMessage,
    XPayError,
    XPayFlowError,
    XPayRefused,
)
from .events import Event
from .intent import Intent
from .lifecycle import LIFECYCLE, Lifecycle
from .money import Money
from .payment import Payment, UnmatchedEvent
from .settings import Settings
from .timeline import Timeline

if TYPE_CHECKING:
    from .endpoints import Pages
    from .flow import AsyncFlow, Flow
    from .flows import (
        Checkout,
        ErasureResult,
        FailedJob,
        HandlerResult,
        PaymentStatus,
        PurgeResult,
        ReconcileResult,
        WebhookResult,
    )

__version__ = "0.1.0"

__all__ = [
    "LIFECYCLE",
    "AlreadyPaid",
    "AsyncFlow",
    "Checkout",
    "CheckoutRequest",
    "ConfigurationError",
    "Customer",
    "Decision",
    "ErasureResult",
    "Event",
    "FailedJob",
    "Flow",
    "HandlerResult",
    "Intent",
    "InvalidValue",
    "Lifecycle",
    "MerchantError",
    "MissingExtra",
    "Money",
    "OutcomeUnknown",
    "Pages",
    "Payment",
    "PaymentStatus",
    "PurgeResult",
    "ReceiptInUse",
    "ReconcileResult",
    "SchemaMismatch",
    "Settings",
    "StoreContended",
    "StoreError",
    "StoreUnavailable",
    "Timeline",
    "TooManyRequests",
    "UnknownIntent",
    "UnmatchedEvent",
    "UntrustedMessage",
    "WebhookResult",
    "XPayError",
    "XPayFlowError",
    "XPayRefused",
    "decide",
]

# Loaded on first use: the faces need an event loop's module, and importing this package
# should cost a program nothing that it does not use.
_LATE = {
    "ReconcileResult": "flows",
    "AsyncFlow": "flow",
    "Checkout": "flows",
    "HandlerResult": "flows",
    "Flow": "flow",
    "Pages": "endpoints",
    "ErasureResult": "flows",
    "PaymentStatus": "flows",
    "PurgeResult": "flows",
    "WebhookResult": "flows",
    "FailedJob": "flows",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LATE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
