"""The life of a payment, one use case to a module, each written once as a generator of effects.

`checkout` starts one, `webhook` learns of it, `outbox` tells the shop, `reconcile` asks when no
news came, `queries` reads. `filing` is what they share: read, decide, commit.
"""

from .checkout import Checkout, forward, start_checkout
from .filing import Filed, Rules, file_event
from .outbox import Delivered, deliver, redeliver
from .passes import Unworkable
from .queries import PaymentStatus, find, recent_records, status
from .reconcile import Asked, reconcile
from .webhook import Received, receive_webhook

__all__ = [
    "Asked",
    "Checkout",
    "Delivered",
    "Filed",
    "PaymentStatus",
    "Received",
    "Rules",
    "Unworkable",
    "deliver",
    "file_event",
    "find",
    "forward",
    "receive_webhook",
    "recent_records",
    "reconcile",
    "redeliver",
    "start_checkout",
    "status",
]
