"""A shop on Starlette. `uvicorn shop_starlette:app --port 8000`"""

from shop_orders import PRICE, is_fulfilled, prepare, register_handlers
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route

import xpay_flow_starlette
from xpay_flow import Flow

prepare()
flow = Flow.open()  # the store and the keys come from XPAY_STORE and the other XPAY_ variables
register_handlers(flow)


def pay(request: Request) -> RedirectResponse:  # not async: Starlette calls it in a thread
    checkout = flow.start_checkout(
        receipt_id=request.path_params["order_id"],
        money=PRICE,
        callback_url=str(request.url_for("xpay:xpay_return")),
        customer={"name": "Ada Example", "email": "ada@example.org"},
    )
    return RedirectResponse(checkout.url, 303)


def show(request: Request) -> PlainTextResponse:
    return PlainTextResponse("paid" if is_fulfilled(request.path_params["order_id"]) else "open")


app = Starlette(
    routes=[
        Mount("/xpay", routes=xpay_flow_starlette.routes(flow), name="xpay"),
        Route("/orders/{order_id}/pay", pay, methods=["POST"]),
        Route("/orders/{order_id}", show),
    ],
    lifespan=xpay_flow_starlette.lifespan(flow),
)
