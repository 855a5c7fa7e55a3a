"""What is in the shop's books before the news begins, and what is changed in them meanwhile?

At first there are payments that xPay knows and that wait to be paid. Half way a newer schema is
rolled out, which only adds, while the processes of now go on working.
"""

from __future__ import annotations

import time
from typing import Final

import attrs
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from xpay_flow.decide import decide
from xpay_flow.flows.filing import with_decision
from xpay_flow.records import Change, Record, change
from xpay_flow.testing import builders as b
from xpay_flow_sqlalchemy import SQLAlchemyStore, migrating, schema

from .evidence import MAKE_LEDGER
from .plan import Plan, receipt_id, x_intent_id

BATCH: Final = 200
NEXT_SCHEMA: Final = schema.CODE + 1
# A change that waits for a lock holds up all that come after it; it had better give up.
GROWING: Final = (
    "SET LOCAL lock_timeout = '300ms'",
    "ALTER TABLE xpay_flow_intents ADD COLUMN IF NOT EXISTS newer TEXT",
    "ALTER TABLE xpay_flow_facts ADD COLUMN IF NOT EXISTS newer BIGINT DEFAULT 7",
    "CREATE TABLE IF NOT EXISTS xpay_flow_newer (id BIGINT PRIMARY KEY)",
    f"INSERT INTO xpay_flow_schema VALUES ({NEXT_SCHEMA}, {schema.CODE}) ON CONFLICT DO NOTHING",
)


def stock(url: str, plan: Plan) -> None:
    """Make the tables and every payment of the plan, in an empty database."""
    migrating.upgrade(url)
    _do(url, MAKE_LEDGER)
    now_ms = time.time_ns() // 1_000_000
    with SQLAlchemyStore.from_url(url) as store:
        for first in range(0, plan.intents, BATCH):
            numbers = range(first, min(first + BATCH, plan.intents))
            assert all(store.commit_many([_waiting(number, now_ms) for number in numbers]))


def _waiting(number: int, now_ms: int) -> Change:
    """One payment, stored and created at xPay, about which nobody will ask."""
    record = attrs.evolve(b.attempt(receipt_id(number), at_ms=now_ms).record, version=0)
    assert record.intent is not None
    decision = decide(record.intent, b.created(x_intent_id(number)))
    created = with_decision(record, decision, now_ms, b.RULES)
    return change(Record(key=record.key), attrs.evolve(created, ask_at_ms=None))


def grow(url: str) -> None:
    """Roll out the newer schema. Raises SQLAlchemyError, and has changed nothing; try again."""
    _do(url, *GROWING)


def owed(url: str) -> int:
    """How many handler calls are not done."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        count = "SELECT count(*) FROM xpay_flow_effects WHERE status = 'owed'"
        return int(connection.execute(text(count)).scalar_one())


def _do(url: str, *statements: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
