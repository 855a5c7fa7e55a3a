"""The life of a payment, one use case to a module, each written once as a generator of effects.

`checkout` starts one, `webhook` learns of it, `outbox` tells the shop, `reconcile` asks when no
news came, `queries` reads. `recording` is what they share: read, decide, commit.
"""

from .checkout import Checkout, send_to_checkout, start_checkout
from .outbox import HandlerResult, deliver, redeliver
from .queries import PaymentStatus, find, recent_records, status
from .reconcile import ReconcileResult, reconcile
from .recording import FlowContext, RecordResult, record_event, record_own_event
from .webhook import WebhookResult, receive_webhook
from .work_queue import FailedJob

__all__ = [
    "Checkout",
    "FailedJob",
    "FlowContext",
    "HandlerResult",
    "PaymentStatus",
    "ReconcileResult",
    "RecordResult",
    "WebhookResult",
    "deliver",
    "find",
    "receive_webhook",
    "recent_records",
    "reconcile",
    "record_event",
    "record_own_event",
    "redeliver",
    "send_to_checkout",
    "start_checkout",
    "status",
]
