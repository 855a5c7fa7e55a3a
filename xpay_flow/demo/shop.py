"""The shop, as a user of this library would write it.

A customer picks a mug, is sent to xPay, and comes back to the library's return page. That return
writes nothing: the handler packs the order, when a webhook or an answer of xPay makes it due.
"""

from __future__ import annotations

import contextlib
from asyncio import to_thread
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

import xpay_flow_fastapi
from xpay_flow import (
    AlreadyPaid,
    AsyncFlow,
    Intent,
    Money,
    OutcomeUnknown,
    Payment,
    ReceiptInUse,
    StoreError,
    TooManyRequests,
    UnknownIntent,
    UnmatchedEvent,
    XPayRefused,
)

from .catalogue import MUGS
from .operator import OperatorPages
from .orders import Order, Orders, is_order_id, new_order_id
from .rendering import Looks, icon, same_origin, stylesheet
from .trouble import Trouble

# The key of metadata under which the return page finds the name of the mug.
ITEM = "item"


class Handlers:
    """The shop's handlers. Each may be called again, with the same key."""

    def __init__(self, orders: Orders, trouble: Trouble) -> None:
        self._orders, self._trouble = orders, trouble

    def register(self, flow: AsyncFlow) -> None:
        """Have the flow call us."""
        flow.on_success(self.pack)
        flow.on_refunded(self.note_refund)
        flow.on_failed(self.do_nothing)
        flow.on_dispute(self.do_nothing)
        flow.on_attention(self.do_nothing)
        flow.on_unmatched(self.do_nothing)

    def pack(self, payment: Payment) -> None:
        """The order is paid."""
        if self._trouble.jammed:
            raise RuntimeError("the packing machine is jammed")
        self._orders.pack(payment.receipt_id, payment.idempotency_key)

    def note_refund(self, payment: Payment) -> None:
        """Money went back."""
        amount_minor = payment.refund_minor or 0
        self._orders.record_refund(payment.receipt_id, payment.idempotency_key, amount_minor)

    def do_nothing(self, _: Payment | UnmatchedEvent) -> None:
        """A real shop would write to the customer, or alert staff; here the operator sees it."""


def create_app(
    flow: AsyncFlow, orders: Orders, trouble: Trouble, *, shop_url: str, xpay_url: str
) -> FastAPI:
    """The shop as an application.

    Args:
        shop_url: where customers find it; never taken from a request.
        xpay_url: the local xPay, for links and for the forms' content security policy.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        await flow.start()
        yield
        await flow.close()

    looks = Looks(xpay_url)

    async def refuse(_: Request, error: Any) -> Response:
        return looks.message(error.status_code, "That did not work", f"{error.detail}.")

    async def wait(_: Request, __: Any) -> Response:
        text = "Our books cannot be read at this moment. Nothing was lost; please try again."
        return looks.message(503, "One moment, please", text)

    app = FastAPI(
        lifespan=lifespan,
        exception_handlers={HTTPException: refuse, StoreError: wait},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    # Another name that points at this machine is not the shop's.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app.include_router(xpay_flow_fastapi.routes(flow), prefix="/xpay")
    app.include_router(ShopPages(flow, orders, looks, shop_url).router)
    app.include_router(OperatorPages(flow, trouble, looks).router, prefix="/operator")
    return app


class ShopPages:
    """The customer's pages."""

    def __init__(self, flow: AsyncFlow, orders: Orders, looks: Looks, shop_url: str) -> None:
        self._flow, self._orders, self._looks = flow, orders, looks
        self._shop_url = shop_url
        self.router = router = APIRouter()
        forms = [Depends(same_origin)]
        router.add_api_route("/", self.mugs, methods=["GET"])
        router.add_api_route("/buy", self.buy, methods=["POST"], dependencies=forms)
        router.add_api_route("/order", self.order, methods=["GET"])
        router.add_api_route("/pay", self.pay, methods=["POST"], dependencies=forms)
        router.add_api_route("/shop.css", stylesheet, methods=["GET"])
        router.add_api_route("/favicon.ico", icon, methods=["GET"])

    async def mugs(self) -> Response:
        """What is for sale. Each form carries a fresh order id, so that it is one order only."""
        return self._looks.page("mugs.html", mugs=[(mug, new_order_id()) for mug in MUGS.values()])

    async def buy(self, kind: Annotated[str, Form()], order: Annotated[str, Form()]) -> Response:
        """Store the order and go on to xPay. A second click finds it and is answered the same."""
        if kind not in MUGS or not is_order_id(order):
            raise HTTPException(400, "This form is not one of ours")
        placed = await to_thread(self._orders.place, order, kind, MUGS[kind].price)
        if placed.kind != kind:
            # An old page: its order id was used for another mug.
            placed = await to_thread(self._orders.place, new_order_id(), kind, MUGS[kind].price)
        return await self._to_checkout(placed)

    async def pay(self, order: Annotated[str, Form()]) -> Response:
        """Go to xPay again."""
        return await self._to_checkout(await self._find(order))

    async def _to_checkout(self, found: Order) -> Response:
        own_page = f"{self._shop_url}/order?order={found.order_id}"
        try:
            checkout = await self._flow.start_checkout(
                receipt_id=found.order_id,
                money=found.money,
                callback_url=f"{self._shop_url}/xpay/return?order={found.order_id}",
                cancel_url=f"{own_page}&left=1",
                description=f"{MUGS[found.kind].name} mug",
                metadata={ITEM: f"{MUGS[found.kind].name} mug"},
                customer={"name": "Ada Example", "email": "ada@example.org"},
            )
            return RedirectResponse(await self._flow.send_to_checkout(checkout.intent_id), 303)
        except AlreadyPaid:
            return RedirectResponse(own_page, 303)
        except (OutcomeUnknown, ReceiptInUse):
            return self._not_reached(found)
        except TooManyRequests as error:
            text = "Nothing was charged. Please try again in a few seconds."
            page = self._looks.message(503, "Many customers at once", text)
            page.headers["Retry-After"] = str(error.retry_after_s)
            return page
        except XPayRefused as error:
            text = f"xPay does not take this order ({error.error_code}). Nothing was charged."
            return self._looks.message(502, "This cannot be paid", text)

    def _not_reached(self, order: Order) -> Response:
        return self._looks.message(
            503,
            "xPay does not answer",
            "Nothing was charged, and your order is kept. Please try again in a moment.",
            back=f"/order?order={order.order_id}",
            back_text="To your order",
        )

    async def order(self, order: str, left: bool = False) -> Response:
        """How an order stands, from the shop's own table and from the flow, reading both."""
        found = await self._find(order)
        intent = await self._intent_of(found)
        paid = bool(intent and intent.is_settled)
        return self._looks.page(
            "order.html",
            order=found,
            mug=MUGS[found.kind],
            intent=intent,
            paid=paid,
            left=left and not paid,
            refunded=Money(found.refunded_minor, found.money.currency),
        )

    async def _intent_of(self, order: Order) -> Intent | None:
        try:
            return (await self._flow.timeline(order.order_id)).intent
        except UnknownIntent:
            return None

    async def _find(self, order_id: str) -> Order:
        known = is_order_id(order_id)
        order = await to_thread(self._orders.get, order_id) if known else None
        if order is None:
            raise HTTPException(404, "There is no such order")
        return order
