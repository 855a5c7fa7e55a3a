"""The life of a payment, one use case to a module, each written once as a generator of effects.

`checkout` starts one, `webhook` receives its events, `outbox` calls the shop's handlers,
`reconcile` polls xPay when no event came, `queries` reads. `recording` is what they share: read,
decide, commit. `parking` keeps events that belong to no intent, `erasing` forgets a customer, and
`unserved` names work of accounts that no setting names. All are given a `context`.
"""

from .checkout import Checkout, send_to_checkout, start_checkout
from .context import FlowContext
from .erasing import ErasureResult, PurgeResult, erase, purge
from .outbox import HandlerResult, deliver, deliver_records, redeliver
from .queries import PaymentStatus, find, recent_records, status
from .reconcile import ReconcileResult, reconcile
from .recording import RecordResult, record_event, record_own_event
from .unserved import UnservedWork, unserved_work
from .webhook import WebhookResult, receive_webhook
from .work_queue import FailedJob

__all__ = [
    "Checkout",
    "ErasureResult",
    "FailedJob",
    "FlowContext",
    "HandlerResult",
    "PaymentStatus",
    "PurgeResult",
    "ReconcileResult",
    "RecordResult",
    "UnservedWork",
    "WebhookResult",
    "deliver",
    "deliver_records",
    "erase",
    "find",
    "purge",
    "receive_webhook",
    "recent_records",
    "reconcile",
    "record_event",
    "record_own_event",
    "redeliver",
    "send_to_checkout",
    "start_checkout",
    "status",
    "unserved_work",
]
