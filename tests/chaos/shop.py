"""Which shop is put under the hammer? One whose handlers leave traces inside and outside.

Uvicorn is given `app`, and `xpay-flow worker` is given `flow`.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import attrs
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

import xpay_flow_asgi
from xpay_flow import AsyncFlow, Payment, Settings, XPayFlowError
from xpay_flow.sample_records import PRICE

from . import planted_faults as planted
from .evidence import ADD_TO_LEDGER, Appended, Call

URL: Final = "CHAOS_URL"
CALLS: Final = "CHAOS_CALLS"
XPAY: Final = "CHAOS_XPAY"
WEBHOOK_PATH: Final = "/xpay/webhook"

_MONTH_S: Final = 30 * 24 * 3600
SETTINGS: Final = Settings.sandbox(
    # A call whose worker has died twice waits for this.
    lease_s=2,
    # The processes are killed by the run, and not by the calls that they were at.
    cut_short_max=50,
    # A server that is away must not use up the tries.
    retry_schedule_s=(1,) * 50,
    # A lost answer is for the customer's next click, or else for a worker a little later. Once
    # xPay's id is known no reconciliation starts: the event comes.
    create_tries=1,
    create_budget_s=4,
    create_lease_s=5,
    reconcile_schedule_s=(_MONTH_S, *(2,) * 50),
    requests_per_minute=600,
)
POLL_S: Final = 1.0
# Of so many orders, the handler of one hangs.
HANGS_ONE_IN: Final = 50


def flow() -> AsyncFlow:
    """What each process of the shop holds."""
    settings = attrs.evolve(SETTINGS, base_url=os.environ[XPAY])
    flow = AsyncFlow.open(os.environ[URL], settings, poll_s=POLL_S)
    outside = Appended(Path(os.environ[CALLS]))

    def note(handler: str, payment: Payment) -> None:
        subject = payment.refund_id or payment.reason or ""
        call = Call(handler, payment.receipt_id, subject, payment.idempotency_key)
        outside.add(attrs.asdict(call))

    hung = set[str]()

    async def fulfil(payment: Payment, tx: Any) -> None:
        # The warehouse first: it may hear of one order twice, and our ledger may not.
        note("on_success", payment)
        if crc32(payment.receipt_id.encode()) % HANGS_ONE_IN == 0 and payment.intent_id not in hung:
            # It hangs with its transaction open, at its first try in each process.
            hung.add(payment.intent_id)
            await asyncio.Event().wait()
        values = {"receipt_id": payment.receipt_id, "key": payment.idempotency_key}
        await tx.execute(text(ADD_TO_LEDGER), values)

    if planted.planted() == planted.BY_ITSELF:
        flow.on_success(planted.fulfilling_by_itself(os.environ[URL]))
    else:
        flow.on_success(transactional=True)(fulfil)
    flow.on_failed(lambda payment: note("on_failed", payment))
    flow.on_refunded(lambda payment: note("on_refunded", payment))
    flow.on_attention(lambda payment: note("on_attention", payment))
    return flow


def app() -> Starlette:
    """The web process: the customer's click, xPay's webhooks, what is due in the background."""
    shop = flow()

    async def pay(request: Request) -> Response:
        try:
            checkout = await shop.start_checkout(
                receipt_id=request.path_params["order"],
                money=PRICE,
                callback_url="http://127.0.0.1/thanks",
                new_attempt=planted.planted() == planted.AFRESH,
            )
            return RedirectResponse(await shop.send_to_checkout(checkout.intent_id), 303)
        except XPayFlowError as error:
            return PlainTextResponse(f"{type(error).__name__}: {error}", error.status_hint)

    webhooks = planted.around(xpay_flow_asgi.routes(shop), os.environ[URL])
    clicks = Route("/pay/{order}", pay, methods=["POST"])
    return Starlette(routes=[clicks, Mount("/xpay", webhooks)])
