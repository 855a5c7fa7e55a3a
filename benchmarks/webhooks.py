"""How long does a webhook take, without sockets, beside one written by hand?"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .calling import Caller, Refused, asgi_caller, wsgi_caller
from .measure import WARM_UP_TURNS, Contestant, Group, Size, compared
from .orders import Order, orders
from .shops import ASGI_SHOPS, STARLETTE, WSGI, WSGI_SHOPS, Opened, Shop


def measured(size: Size, folder: Path) -> list[Group]:
    """Each order's success once, then the same webhooks again."""
    with asyncio.Runner() as runner:
        return [
            *_contest(
                "over ASGI, in process",
                ASGI_SHOPS,
                STARLETTE,
                lambda shop: asgi_caller(shop.app, runner),
                size,
                folder / "asgi",
                runner,
            ),
            *_contest(
                "over WSGI, in process",
                WSGI_SHOPS,
                WSGI,
                lambda shop: wsgi_caller(shop.app),
                size,
                folder / "wsgi",
                runner,
            ),
        ]


def _contest(
    how: str,
    shops: Mapping[str, Opened],
    opponent: str,
    caller_of: Callable[[Shop], Caller],
    size: Size,
    folder: Path,
    runner: asyncio.Runner,
) -> list[Group]:
    given = orders((WARM_UP_TURNS + size.turns) * size.webhooks_a_turn)
    with open_shops(shops, given, folder, runner) as opened:
        callers = {name: caller_of(shop) for name, shop in opened.items()}
        groups = [
            compared(
                f"webhook {word}, {how}",
                {name: _taking(call, given, size) for name, call in callers.items()},
                size.turns,
                opponent=opponent,
            )
            for word in ("that pays an order", "that came before")
        ]
        refuse_unpaid(opened)
    return groups


@contextmanager
def open_shops(
    shops: Mapping[str, Opened], given: Sequence[Order], folder: Path, runner: asyncio.Runner
) -> Generator[dict[str, Shop], None, None]:
    """Each shop with all the orders, on a file of its own in `folder`."""
    folder.mkdir()
    with ExitStack() as stack:
        opened: dict[str, Shop] = {}
        for number, (name, open_shop) in enumerate(shops.items()):
            opened[name] = open_shop(folder / f"{number}.db", given)
            stack.callback(_closed, opened[name], runner)
        yield opened


def _closed(shop: Shop, runner: asyncio.Runner) -> None:
    async def waited() -> None:
        if inspect.isawaitable(closing := shop.close()):
            await closing

    runner.run(waited())


def refuse_unpaid(opened: Mapping[str, Shop]) -> None:
    """A time counts only if the work was done."""
    for name, shop in opened.items():
        if odd := shop.unpaid():
            raise Refused(f"{name}: {odd} orders are not paid")


def _taking(call: Caller, given: Sequence[Order], size: Size) -> Contestant:
    """A contestant that takes the next few of the webhooks in each turn."""
    count = size.webhooks_a_turn
    batches = iter([given[start : start + count] for start in range(0, len(given), count)])
    return lambda: call(next(batches))
