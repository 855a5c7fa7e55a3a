"""How fast are paid orders fulfilled after a rush, beside how fast their webhooks came in?

Both on one SQLite file, in turns: so many webhooks, and then the calls of `on_success` that they
made due, two at a time as in a shop's own process, or eight as in a worker. The handler does
nothing, so that all of it is the library's own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Final

from xpay_flow import Flow, Payment
from xpay_flow.flows.all_due import do_all_due
from xpay_flow.job_pool import AT_ONCE, AT_ONCE_IN_WORKER
from xpay_flow.records import Work
from xpay_flow.stores.sqlite import SQLiteStore

from .calling import Refused
from .measure import WARM_UP_TURNS, Contestant, Group, Size, compared
from .orders import SETTINGS, Order, fill, orders
from .wear import wear_in_ours

WEBHOOKS: Final = "webhooks of a rush: Flow"


def measured(size: Size, folder: Path) -> list[Group]:
    """Seconds for each webhook, and for each call that one made due."""
    given = orders((WARM_UP_TURNS + size.turns) * 3 * size.webhooks_a_turn)
    with closing(_Shop(folder / "delivery.db", given)) as shop:
        count = size.webhooks_a_turn
        contestants: dict[str, Contestant] = {
            WEBHOOKS: lambda: shop.webhooks(count),
            f"on_success, {AT_ONCE} at a time": lambda: shop.deliveries(count, AT_ONCE),
            f"on_success, {AT_ONCE_IN_WORKER} at a time": lambda: shop.deliveries(
                count, AT_ONCE_IN_WORKER
            ),
        }
        title = "a paid order, from a rush to its handler"
        return [compared(title, contestants, size.turns, opponent=WEBHOOKS)]


class _Shop:
    """A shop that delivers when it is to."""

    def __init__(self, path: Path, given: Sequence[Order]) -> None:
        fill(path, given)
        store = SQLiteStore(path)
        wear_in_ours(store, path)
        self._flow, self._left = Flow(store, SETTINGS, background=False), list(given)
        self._called = 0
        self._flow.on_success(self._count)

    def _count(self, _: Payment) -> None:
        self._called += 1

    def webhooks(self, count: int) -> list[float]:
        """A rush, of which the calls are made when it is over."""
        took_s = self._rush(count)
        self._deliver(count, AT_ONCE)
        return [took_s / count] * count

    def deliveries(self, count: int, at_once: int) -> list[float]:
        """The calls that a rush has made due."""
        self._rush(count)
        return [self._deliver(count, at_once) / count] * count

    def _rush(self, count: int) -> float:
        taken, self._left = self._left[:count], self._left[count:]
        began = perf_counter()
        for order in taken:
            self._flow.receive_webhook(order.headers, order.body)
        return perf_counter() - began

    def _deliver(self, count: int, at_once: int) -> float:
        flow, jobs, before = self._flow, dict[Work, int](deliver=at_once), self._called
        began = perf_counter()
        flow.run(do_all_due(flow.context, flow.capabilities, jobs, lambda _: None))
        took_s = perf_counter() - began
        if self._called - before != count:
            raise Refused(f"on_success was called {self._called - before} times, not {count}")
        return took_s

    def close(self) -> None:
        self._flow.close()
