"""A local xPay: its API, its checkout page and its webhooks, to develop and test against.

Written from xPay's documentation and sharing no wire or signing code with the core, so that the
two can disagree. `Sandbox` does no I/O; `xpay_flow.sandbox.web` puts it on a socket.
"""

from .clock import Clock, SystemClock, VirtualClock
from .config import PROFILES, RateLimit, SandboxConfig
from .deliveries import Attempt, Delivery
from .exchange import NO_ANSWER, NoAnswer, Request, Response
from .faults import ApiFault, FaultPlan, WebhookFault
from .local import Sandbox

__all__ = [
    "NO_ANSWER",
    "PROFILES",
    "ApiFault",
    "Attempt",
    "Clock",
    "Delivery",
    "FaultPlan",
    "NoAnswer",
    "RateLimit",
    "Request",
    "Response",
    "Sandbox",
    "SandboxConfig",
    "SystemClock",
    "VirtualClock",
    "WebhookFault",
]
