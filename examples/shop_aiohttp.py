"""A shop on aiohttp, with an `AsyncFlow`. `python shop_aiohttp.py 8000`"""

import asyncio
import sys

from aiohttp import web
from shop_orders import PRICE, is_fulfilled, prepare, register_handlers

import xpay_flow_aiohttp
from xpay_flow import AsyncFlow

prepare()
flow = AsyncFlow.open()  # the store and the keys come from XPAY_STORE and the other XPAY_ variables
register_handlers(flow)


async def pay(request: web.Request) -> web.Response:
    checkout = await flow.start_checkout(
        receipt_id=request.match_info["order_id"],
        money=PRICE,
        callback_url=f"{request.url.origin()}/xpay/return",
        customer={"name": "Ada Example", "email": "ada@example.org"},
    )
    raise web.HTTPSeeOther(checkout.url)


async def show(request: web.Request) -> web.Response:
    is_paid = await asyncio.to_thread(is_fulfilled, request.match_info["order_id"])
    return web.Response(text="paid" if is_paid else "open")


async def close(_: web.Application) -> None:
    await flow.close()


app = web.Application()
app.add_subapp("/xpay", xpay_flow_aiohttp.routes(flow))
app.router.add_post("/orders/{order_id}/pay", pay)
app.router.add_get("/orders/{order_id}", show)
app.on_cleanup.append(close)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))
