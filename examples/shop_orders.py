"""The orders of the example shops: a table of the shop's own, beside which xpay-flow keeps its own.

A real shop has its ORM here. The price is the server's, and never the browser's.
"""

import os
import sqlite3
from contextlib import closing

from xpay_flow import AsyncFlow, Flow, Money, Payment

PRICE = Money(1999, "USD")
FILE = os.environ.get("SHOP_ORDERS", "orders.db")


def prepare() -> None:
    """Make the table, once."""
    with closing(sqlite3.connect(FILE)) as database, database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS fulfilled (order_id TEXT PRIMARY KEY, paid_minor INTEGER)"
        )


def is_fulfilled(order_id: str) -> bool:
    """Whether the order is paid, and the shop has done its part."""
    with closing(sqlite3.connect(FILE)) as database:
        found = database.execute("SELECT 1 FROM fulfilled WHERE order_id = ?", (order_id,))
        return found.fetchone() is not None


def register_handlers(flow: Flow | AsyncFlow) -> None:
    """A function, so that tests can call it, too."""

    @flow.on_success
    def fulfil(payment: Payment) -> None:
        # A handler can be called again, so the order's id is unique.
        with closing(sqlite3.connect(FILE)) as database, database:
            database.execute(
                "INSERT INTO fulfilled VALUES (?, ?) ON CONFLICT DO NOTHING",
                (payment.receipt_id, payment.money.amount_minor),
            )
