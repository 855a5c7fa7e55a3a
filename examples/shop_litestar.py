"""A shop on Litestar, with an `AsyncFlow`. `granian --interface asgi shop_litestar:app`"""

from typing import Any

from litestar import Litestar, Request, Router, get, post
from litestar.response import Redirect
from shop_orders import PRICE, is_fulfilled, prepare, register_handlers

import xpay_flow_litestar
from xpay_flow import AsyncFlow

prepare()
flow = AsyncFlow.open()  # the store and the keys come from XPAY_STORE and the other XPAY_ variables
register_handlers(flow)


@post("/orders/{order_id:str}/pay")
async def pay(request: Request[Any, Any, Any], order_id: str) -> Redirect:
    checkout = await flow.start_checkout(
        receipt_id=order_id,
        money=PRICE,
        callback_url=f"{request.base_url}xpay/return",
        customer={"name": "Ada Example", "email": "ada@example.org"},
    )
    return Redirect(checkout.url, status_code=303)


@get("/orders/{order_id:str}", sync_to_thread=True)
def show(order_id: str) -> str:
    return "paid" if is_fulfilled(order_id) else "open"


app = Litestar(
    route_handlers=[
        Router("/xpay", route_handlers=xpay_flow_litestar.routes(flow)),
        pay,
        show,
    ],
    lifespan=[xpay_flow_litestar.lifespan(flow)],
    on_shutdown=[flow.close],
)
