"""What does a long history cost? Nothing that grows: deciding reads a bounded part of a record.

A payment with one webhook on file and one with 2,000 take turns, on each store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Final

import attrs

from xpay_flow import Flow, messages
from xpay_flow import sample_records as b
from xpay_flow.ports import Store
from xpay_flow.sandbox.signer import hmac_signature
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow_sqlalchemy import SQLAlchemyStore, migrating

from .measure import WARM_UP_TURNS, Contestant, Group, Size, compared
from .orders import SETTINGS, first_commit
from .places import Server

# A payment that works at the first try has about four events; these customers declined all day.
LONG: Final = 2_000

_numbers = count()


@attrs.frozen
class Shop:
    """A store with one payment of a long history, and many of a short one."""

    flow: Flow
    long: str
    short: Sequence[str]


def measured(size: Size, folder: Path, server: Server) -> list[Group]:
    """Seconds for one more webhook, and for one look of a waiting customer."""
    with ExitStack() as stack:
        (place,) = stack.enter_context(server.databases(1))
        migrating.upgrade(place)
        stores: dict[str, Store] = {
            "in memory": MemoryStore(),
            "on SQLite": SQLiteStore(folder / "histories.db"),
            "on PostgreSQL": SQLAlchemyStore.from_url(place),
        }
        shops = {where: stack.enter_context(_shop(store, size)) for where, store in stores.items()}
        return [
            group
            for where, shop in shops.items()
            for group in (
                _compared(f"a webhook {where}, after others", shop, size, _webhook),
                _compared(f"a status query {where}, after webhooks", shop, size, _status),
            )
        ]


def _compared(title: str, shop: Shop, size: Size, act: Callable[[Flow, str], object]) -> Group:
    left = iter(shop.short)

    def short() -> Sequence[float]:
        return [_timed(act, shop.flow, next(left)) for _ in range(size.webhooks_a_turn)]

    def long() -> Sequence[float]:
        return [_timed(act, shop.flow, shop.long) for _ in range(size.webhooks_a_turn)]

    contestants: dict[str, Contestant] = {"1 event": short, f"{LONG:,} events": long}
    return compared(title, contestants, size.turns, opponent="1 event")


@contextmanager
def _shop(store: Store, size: Size) -> Generator[Shop, None, None]:
    used = (WARM_UP_TURNS + size.turns) * size.webhooks_a_turn
    short = [_payment(store, f"in_short_{number}", 1) for number in range(used)]
    with closing(Flow(store, SETTINGS, background=False)) as flow:
        yield Shop(flow, _payment(store, "in_long", LONG), short)


def _payment(store: Store, x_intent_id: str, events: int) -> str:
    """Stored, created, and then declined so many times."""
    declined = [b.failed(f"whe_{n}", x_intent_id=x_intent_id) for n in range(events)]
    made = b.attempt(f"order-{x_intent_id}")
    record = b.next_change(made.record, b.created(x_intent_id), *declined).record
    assert store.commit(first_commit(record))
    return x_intent_id


def _webhook(flow: Flow, x_intent_id: str) -> object:
    event = {
        "eventId": f"whe_more_{next(_numbers)}",
        "eventType": messages.INTENT_FAILED,
        "eventTime": b.NOW_MS,
        "intentId": x_intent_id,
        "receiptId": f"order-{x_intent_id}",
        "status": messages.STATUS_FAILED,
    }
    body = json.dumps(event).encode()
    headers = {messages.HMAC_HEADER: hmac_signature(SETTINGS.webhook_secrets[0], body)}
    result = flow.receive_webhook(headers, body)
    assert result.disposition == "applied", result
    return result


def _status(flow: Flow, x_intent_id: str) -> object:
    status = flow.status(x_intent_id)
    assert status.known, status
    return status


def _timed(act: Callable[[Flow, str], object], flow: Flow, x_intent_id: str) -> float:
    began = perf_counter()
    act(flow, x_intent_id)
    return perf_counter() - began
