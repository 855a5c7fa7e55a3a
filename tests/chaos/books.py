"""Which tables does the shop begin with, and what is changed in them meanwhile?

Half way a newer schema is rolled out, which only adds, while the processes of now go on working.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from xpay_flow_sqlalchemy import migrating, schema

from .evidence import MAKE_LEDGER

NEXT_SCHEMA: Final = schema.CODE + 1
# A change that waits for a lock holds up all that come after it; it had better give up.
GROWING: Final = (
    "SET LOCAL lock_timeout = '300ms'",
    "ALTER TABLE xpay_flow_intents ADD COLUMN IF NOT EXISTS newer TEXT",
    "ALTER TABLE xpay_flow_events ADD COLUMN IF NOT EXISTS newer BIGINT DEFAULT 7",
    "CREATE TABLE IF NOT EXISTS xpay_flow_newer (id BIGINT PRIMARY KEY)",
    f"INSERT INTO xpay_flow_schema VALUES ({NEXT_SCHEMA}, {schema.CODE}) ON CONFLICT DO NOTHING",
)


def open_books(url: str) -> None:
    """Make the tables, in an empty database."""
    migrating.upgrade(url)
    _do(url, MAKE_LEDGER)


def grow(url: str) -> None:
    """Roll out the newer schema. Raises SQLAlchemyError, and has changed nothing; try again."""
    _do(url, *GROWING)


def open_ends(url: str) -> int:
    """How many handler calls are not done, and how many payments have no id of xPay's yet."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return sum(int(connection.execute(text(count)).scalar_one()) for count in _OPEN)


_OPEN: Final = (
    "SELECT count(*) FROM xpay_flow_outbox WHERE status = 'pending'",
    "SELECT count(*) FROM xpay_flow_intents"
    " WHERE receipt_id IS NOT NULL AND x_intent_id IS NULL AND state <> 'rejected'",
)


def _do(url: str, *statements: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
