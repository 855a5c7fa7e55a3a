"""python -m benchmarks.rush [--short] [--postgresql URL]: what becomes of many webhooks at once?

Ratios to an opponent by hand of the same run, over uvicorn on loopback: throughput with 32
connections, with and without group commit; how long the slowest take at a given pace; and whether
a webhook costs the same among ten times as many stored intents.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

import asyncpg
import attrs

from xpay_flow import Flow
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing import builders as b

from .calling import Refused
from .measure import quantile
from .orders import SETTINGS, Order, orders, store_at_once
from .rush_shops import BY_HAND, OURS, OURS_ALONE
from .served import _connected, _line

AT_ONCE: Final = 32
TURNS: Final = 5
PACE_HZ: Final = 200
_DATABASE: Final = "xpay_flow_bench"


@attrs.frozen
class Size:
    """How much is delivered in a turn, how long the pace is kept, and how much is stored."""

    in_a_turn: int
    paced: int
    stored: tuple[int, int]


FULL: Final = Size(1000, 4000, (10_000, 1_000_000))
SHORT: Final = Size(400, 1000, (10_000, 100_000))


def main() -> None:
    """Measure, and print one line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rush", description=__doc__)
    parser.add_argument("--short", action="store_true", help="about a minute")
    parser.add_argument("--postgresql", metavar="URL", help="a server where databases may be made")
    asked = parser.parse_args()
    size = SHORT if asked.short else FULL
    with tempfile.TemporaryDirectory(prefix="xpay-flow-bench-") as folder:
        rush("SQLite", [f"{folder}/{n}.db" for n in range(3)], size)
        if asked.postgresql:
            with asyncio.Runner() as runner, _databases(runner, asked.postgresql) as urls:
                rush("PostgreSQL", urls, size)
        growth(Path(folder), size)


def rush(where: str, places: Sequence[str], size: Size) -> None:
    """Throughput of all contestants in turns, and the slowest of ours at a steady pace."""
    given = orders((TURNS + 1) * size.in_a_turn + size.paced)
    names = (BY_HAND, OURS_ALONE, OURS)
    with asyncio.Runner() as runner, _serving(names, places, len(given)) as ports:
        taken: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(TURNS + 1):
            mine = given[turn * size.in_a_turn : (turn + 1) * size.in_a_turn]
            for name in (*names[turn % 3 :], *names[: turn % 3]):
                taken[name].append(runner.run(_together(ports[name], mine)))
        print(f"{where}, {AT_ONCE} connections:")
        for name in names:
            # The first turn warms everything up.
            seconds = statistics.median(taken[name][1:]) / size.in_a_turn
            pairs = zip(taken[BY_HAND][1:], taken[name][1:], strict=True)
            ratio = statistics.median(theirs / mine for theirs, mine in pairs)
            print(f"  {name:42} {1 / seconds:7.0f}/s  x{ratio:.2f} of by hand")
        print(f"{where}, {PACE_HZ} deliveries a second:")
        for name in names:
            paced = runner.run(_paced(ports[name], given[-size.paced :]))
            halves = " ".join(f"p{q:.0%} {quantile(paced, q) * 1000:.1f} ms" for q in (0.5, 0.99))
            print(f"  {name:42} {halves.replace('%', '')}")


async def _together(port: int, given: Sequence[Order]) -> float:
    left: Iterator[Order] = iter(given)
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(_connected(port)) for _ in range(AT_ONCE)]

        async def send(number: int) -> None:
            for order in left:
                await connections[number].post(order)

        began = perf_counter()
        await asyncio.gather(*map(send, range(AT_ONCE)))
        return perf_counter() - began


async def _paced(port: int, given: Sequence[Order]) -> list[float]:
    """Seconds from when each was to be sent, so that a queue shows."""
    taken: list[float] = []
    async with AsyncExitStack() as stack:
        free: asyncio.Queue[object] = asyncio.Queue()
        for _ in range(AT_ONCE):
            free.put_nowait(await stack.enter_async_context(_connected(port)))
        began = perf_counter()

        async def send(number: int, order: Order) -> None:
            due = began + number / PACE_HZ
            await asyncio.sleep(max(0.0, due - perf_counter()))
            connection: object = await free.get()
            await connection.post(order)  # type: ignore[attr-defined]
            free.put_nowait(connection)
            taken.append(perf_counter() - due)

        await asyncio.gather(*(send(number, order) for number, order in enumerate(given)))
    return taken


def growth(folder: Path, size: Size) -> None:
    """What a webhook, and a look for work, cost among few and among many stored intents."""
    given = orders(300)
    costs = [_among(stored, folder, given) for stored in size.stored]
    print(f"SQLite, {size.stored[0]} and {size.stored[1]} stored intents:")
    for number, name in enumerate(("a webhook", "due, of which 10 are returned")):
        few, many = (cost[number] for cost in costs)
        figures = f"{few * 1e6:.0f} and {many * 1e6:.0f} µs"
        print(f"  {name:42} {figures:>18}  x{many / few:.2f}")


def _among(stored: int, folder: Path, given: Sequence[Order]) -> tuple[float, float]:
    path = folder / f"{stored}.db"
    others = (b.attempt(f"other-{number}").record for number in range(stored))
    waiting = (attrs.evolve(record, ask_at_ms=2**50) for record in others)
    mine = [attrs.evolve(order.record, ask_at_ms=n + 1) for n, order in enumerate(given)]
    store_at_once(path, [*waiting, *mine])
    taken: list[float] = []
    with SQLiteStore(path) as store:
        looks = [_timed(lambda: store.due("ask", 2**40, 10)) for _ in range(300)]
        flow = Flow(store, SETTINGS, background=False)
        for order in given:
            taken.append(_timed(lambda o=order: flow.receive_webhook(o.headers, o.body)))  # type: ignore[misc]
    return statistics.median(taken), statistics.median(looks)


def _timed(act: object) -> float:
    began = perf_counter()
    act()  # type: ignore[operator]
    return perf_counter() - began


@contextmanager
def _serving(
    names: Sequence[str], places: Sequence[str], count: int
) -> Generator[dict[str, int], None, None]:
    module = f"{__package__}.rush_shops"
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-m", module, name, place, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, place in zip(names, places, strict=True)
    }
    try:
        yield {name: int(_line(process)) for name, process in processes.items()}
        for name, process in processes.items():
            assert process.stdin is not None
            process.stdin.close()
            if odd := int(_line(process)):
                raise Refused(f"{name}: {odd} orders are not paid")
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


@contextmanager
def _databases(runner: asyncio.Runner, url: str) -> Generator[list[str], None, None]:
    names = [f"{_DATABASE}_{number}" for number in range(3)]

    async def said(*statements: str) -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    dropped = [f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names]
    runner.run(said(*dropped, *(f"CREATE DATABASE {name}" for name in names)))
    try:
        yield [f"{url.rpartition('/')[0]}/{name}" for name in names]
    finally:
        runner.run(said(*dropped))


if __name__ == "__main__":
    main()
