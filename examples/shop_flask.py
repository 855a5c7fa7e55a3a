"""A shop on Flask. `flask --app shop_flask run --port 8000`, or any WSGI server with threads."""

from flask import Flask, redirect, url_for
from shop_orders import PRICE, is_fulfilled, prepare, register_handlers
from werkzeug.wrappers import Response

import xpay_flow_flask
from xpay_flow import Flow

prepare()
flow = Flow.open()  # the store and the keys come from XPAY_STORE and the other XPAY_ variables
register_handlers(flow)

app = Flask(__name__)
app.register_blueprint(xpay_flow_flask.routes(flow), url_prefix="/xpay")


@app.post("/orders/<order_id>/pay")
def pay(order_id: str) -> Response:
    checkout = flow.start_checkout(
        receipt_id=order_id,
        money=PRICE,
        callback_url=url_for("xpay_flow.return", _external=True),
        customer={"name": "Ada Example", "email": "ada@example.org"},
    )
    return redirect(checkout.url, 303)


@app.get("/orders/<order_id>")
def show(order_id: str) -> str:
    return "paid" if is_fulfilled(order_id) else "open"
