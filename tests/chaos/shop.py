"""Which shop is put under the hammer? One whose handlers leave traces inside and outside.

Uvicorn is given `app`, and `xpay-flow worker` is given `flow`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import attrs
from sqlalchemy import text

import xpay_flow_asgi
from xpay_flow import AsyncFlow, Payment, Settings

from . import planted
from .evidence import ADD_TO_LEDGER, Appended, Call

URL: Final = "CHAOS_URL"
CALLS: Final = "CHAOS_CALLS"

_MONTH_S: Final = 30 * 24 * 3600
SETTINGS: Final = Settings.sandbox(
    # A call whose worker has died twice waits for this.
    lease_s=2,
    # A server that is away must not use up the tries.
    retry_schedule_s=(1,) * 50,
    # xPay is not part of this: nobody answers there, and nobody asks.
    base_url="http://127.0.0.1:1",
    ask_schedule_s=(_MONTH_S, _MONTH_S),
)
POLL_S: Final = 1.0


def flow() -> AsyncFlow:
    """What each process of the shop holds."""
    flow = AsyncFlow.open(os.environ[URL], SETTINGS, poll_s=POLL_S)
    outside = Appended(Path(os.environ[CALLS]))

    def note(handler: str, payment: Payment) -> None:
        subject = payment.refund_id or payment.reason or ""
        call = Call(handler, payment.x_intent_id or "", subject, payment.idempotency_key)
        outside.add(attrs.asdict(call))

    async def fulfil(payment: Payment, tx: Any) -> None:
        # The warehouse first: it may hear of one order twice, and our ledger may not.
        note("on_success", payment)
        values = {"x_intent_id": payment.x_intent_id, "key": payment.idempotency_key}
        await tx.execute(text(ADD_TO_LEDGER), values)

    if planted.planted() == planted.BY_ITSELF:
        flow.on_success(planted.fulfilling_by_itself(os.environ[URL]))
    else:
        flow.on_success(within="transaction")(fulfil)
    flow.on_failed(lambda payment: note("on_failed", payment))
    flow.on_refunded(lambda payment: note("on_refunded", payment))
    flow.on_attention(lambda payment: note("on_attention", payment))
    return flow


def app() -> xpay_flow_asgi.ASGIApp:
    """The web process: xPay's webhooks, and what is owed in the background."""
    return planted.around(xpay_flow_asgi.routes(flow()), os.environ[URL])
