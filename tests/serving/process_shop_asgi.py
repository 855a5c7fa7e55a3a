"""The same shop behind FastAPI, whose start starts the background work."""

from __future__ import annotations

from fastapi import FastAPI

from serving.process_shop import buy, flow
from xpay_flow_fastapi import routes

app = FastAPI()
app.include_router(routes(flow), prefix="/xpay")


@app.get("/{order}")
def start(order: str) -> str:
    return buy(order)
