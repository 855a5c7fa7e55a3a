"""A shop on Quart, with an `AsyncFlow`. `hypercorn --bind 127.0.0.1:8000 shop_quart:app`"""

from quart import Quart, redirect, request
from shop_orders import PRICE, is_fulfilled, prepare, register_handlers
from werkzeug.wrappers import Response

import xpay_flow_quart
from xpay_flow import AsyncFlow

prepare()
flow = AsyncFlow.open()  # the store and the keys come from XPAY_STORE and the other XPAY_ variables
register_handlers(flow)

app = Quart(__name__)
app.register_blueprint(xpay_flow_quart.routes(flow), url_prefix="/xpay")


@app.post("/orders/<order_id>/pay")
async def pay(order_id: str) -> Response:
    checkout = await flow.start_checkout(
        receipt_id=order_id,
        money=PRICE,
        callback_url=f"{request.host_url}xpay/return",
        customer={"name": "Ada Example", "email": "ada@example.org"},
    )
    return redirect(checkout.url, 303)


@app.get("/orders/<order_id>")
def show(order_id: str) -> str:  # not async: Quart calls it in a thread
    return "paid" if is_fulfilled(order_id) else "open"


@app.after_serving
async def close() -> None:
    await flow.close()
