"""What a user's editor shows of `Flow`, `AsyncFlow` and the adapters. Never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true
from __future__ import annotations

from collections import Counter
from typing import assert_type
from wsgiref.types import WSGIApplication

from fastapi import APIRouter

import xpay_flow_asgi
import xpay_flow_fastapi
import xpay_flow_wsgi
from xpay_flow import (
    AsyncFlow,
    Checkout,
    FailedJob,
    Flow,
    HandlerResult,
    Money,
    Payment,
    PaymentStatus,
    ReconcileResult,
    Settings,
    Timeline,
    WebhookResult,
)
from xpay_flow.endpoints import AsyncRequestHandler, RequestHandler, WebRequest, WebResponse

flow = Flow.open("sqlite:///payments.db", Settings.from_env())
async_flow = AsyncFlow.open("sqlite:///payments.db", Settings.from_env())
assert_type(flow, Flow)
assert_type(async_flow, AsyncFlow)


@flow.on_success
def fulfil(payment: Payment) -> None:
    assert_type(payment.receipt_id, str)
    assert_type(payment.money, Money)
    assert_type(payment.money.amount_minor, int)
    assert_type(payment.idempotency_key, str)
    assert_type(payment.also_paid, tuple[str, ...])


@async_flow.on_success
async def fulfil_later(payment: Payment) -> None:
    assert_type(payment.metadata, dict[str, str])


@async_flow.on_failed
def plain_functions_fit_too(payment: Payment) -> None:
    assert_type(payment.error_code, str | None)


@flow.on_success  # type: ignore[arg-type]
def takes_no_payment() -> None: ...


@flow.on_refunded  # type: ignore[arg-type]
def takes_a_text(payment: str) -> None: ...


@async_flow.on_attention  # type: ignore[arg-type]
async def takes_a_number(payment: int) -> None: ...


def the_words_of_a_shop(request: WebRequest) -> None:
    checkout = flow.start_checkout(
        receipt_id="order-42",
        money=Money(1999, "USD"),
        callback_url="https://shop.example/xpay/return",
    )
    assert_type(checkout, Checkout)
    assert_type(checkout.url, str)
    assert_type(flow.send_to_checkout(checkout.intent_id), str)
    assert_type(flow.receive_webhook({}, b""), WebhookResult)
    assert_type(flow.status("in_1", wait_s=2), PaymentStatus)
    assert_type(flow.timeline("order-42"), Timeline)
    assert_type(flow.recent(), tuple[Timeline, ...])
    assert_type(flow.deliver(), tuple[HandlerResult | FailedJob, ...])
    assert_type(flow.reconcile(), tuple[ReconcileResult | FailedJob, ...])
    assert_type(flow.handle(request), WebResponse)
    assert_type(flow.counters, Counter[str])


async def the_same_words_awaited(request: WebRequest) -> None:
    checkout = await async_flow.start_checkout(
        receipt_id="order-42",
        money=Money(1999, "USD"),
        callback_url="https://shop.example/xpay/return",
    )
    assert_type(checkout, Checkout)
    assert_type(await async_flow.send_to_checkout(checkout.intent_id), str)
    assert_type(await async_flow.receive_webhook({}, b""), WebhookResult)
    assert_type(await async_flow.status("in_1", wait_s=2), PaymentStatus)
    assert_type(await async_flow.timeline("order-42"), Timeline)
    assert_type(await async_flow.recent(), tuple[Timeline, ...])
    assert_type(await async_flow.deliver(), tuple[HandlerResult | FailedJob, ...])
    assert_type(await async_flow.reconcile(), tuple[ReconcileResult | FailedJob, ...])
    assert_type(await async_flow.handle(request), WebResponse)


def three_words_and_no_other(found: PaymentStatus) -> str:
    """A status is one of three words, and a checker knows when all were thought of."""
    match found.status:
        case "SUCCESS":
            return "paid"
        case "FAILED":
            return "not paid"
        case "PENDING":
            return "wait"


def floats_are_no_money() -> None:
    Money(19.99, "USD")  # type: ignore[arg-type]


def adapters_take_what_they_can_serve() -> None:
    handles: RequestHandler = flow
    async_handles: AsyncRequestHandler = async_flow
    assert_type(xpay_flow_asgi.routes(handles), xpay_flow_asgi.ASGIApp)
    assert_type(xpay_flow_asgi.routes(async_handles), xpay_flow_asgi.ASGIApp)
    assert_type(xpay_flow_fastapi.routes(flow), APIRouter)
    assert_type(xpay_flow_fastapi.routes(async_flow), APIRouter)
    assert_type(xpay_flow_wsgi.routes(flow), WSGIApplication)
