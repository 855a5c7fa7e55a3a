"""python -m benchmarks.waiting [--short] [--postgresql URL]: do those who wait hurt a webhook?

A webhook alone, and among thousands of strangers who wait on the same process, half of them for
payments that exist. And from the answer to a webhook until its customer sees the payment: in the
same process, and in another one on the same database.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

import attrs

from xpay_flow.stores import open_store
from xpay_flow_sqlalchemy import migrating

from . import machine
from .by_hand import PATH
from .calling import Refused
from .measure import FULL, SHORT, Group, Row, Size, quantile
from .orders import Order, fill, first_commit, orders
from .places import Server, served_by, server_in
from .serve import HOST
from .served import _SHUTDOWN_S, _line
from .shops import PREFIX
from .strangers import WAIT_S
from .table import duration, print_table

# What a shop is promised: a webhook's p99 is within the larger of these, and a customer sees a
# payment within so long.
P99_S: Final = 0.25
P99_TIMES: Final = 3
SHOWN_S: Final = 0.15
SHOWN_BY_LOOKS_S: Final = 0.7
_PACE_HZ: Final = 50
_ANSWER_S: Final = 30.0
# A customer's query has come to its wait by then.
_BEGINS_S: Final = 0.1
KINDS: Final = {
    "SQLite, Flow": ("Flow", "sqlite"),
    "SQLite, AsyncFlow": ("AsyncFlow", "sqlite"),
    "PostgreSQL (psycopg), Flow": ("Flow", "postgresql"),
    "PostgreSQL (psycopg), AsyncFlow": ("AsyncFlow", "postgresql+psycopg_async"),
    "PostgreSQL (asyncpg), AsyncFlow": ("AsyncFlow", "postgresql+asyncpg"),
}


def main() -> None:
    """Measure, and show it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--short", action="store_true", help="some seconds, and rough figures")
    parser.add_argument("--postgresql", metavar="URL", help="a server where databases may be made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xpay-flow-bench-") as folder:
        size = SHORT if options.short else FULL
        print_table(measured(size, Path(folder), options.postgresql), machine.described())


def measured(size: Size, folder: Path, url: str | None = None) -> list[Group]:
    """Seconds for a webhook alone and among strangers, and until its customer sees the payment."""
    # Alone, among strangers, for customers here and elsewhere; and some that stay unpaid.
    given = orders(3 * size.among_strangers + 2 * size.shown + size.strangers // 2)
    groups: list[Group] = []
    with served_by(url) if url else server_in(folder) as server:
        for title, (kind, scheme) in KINDS.items():
            with _place(scheme, folder, server, given) as place, ExitStack() as stack:
                ports = [stack.enter_context(_shop(kind, place)) for _ in range(2)]
                with asyncio.Runner() as runner:
                    groups += runner.run(_of_one(title, ports, size, given))
    return groups


async def _of_one(
    title: str, ports: Sequence[int], size: Size, given: Sequence[Order]
) -> list[Group]:
    left = list(given)
    answers: Counter[int] = Counter()

    def taken(count: int) -> list[Order]:
        part, left[:count] = left[:count], []
        return part

    here, elsewhere = ports
    # The first requests connect and compile.
    await _paced(here, taken(size.among_strangers // 2), Counter())
    alone = await _paced(here, taken(size.among_strangers), answers)
    known = [order.x_intent_id for order in left[-size.strangers // 2 :]]
    async with _strangers(here, size.strangers, known):
        among = await _paced(here, taken(size.among_strangers), answers)
        # In a `Flow` they take the few threads in which customers may wait.
        while_they_wait = "AsyncFlow" in title
        shown = [await _shown(here, here, taken(size.shown), answers)] if while_they_wait else []
    if not shown:
        shown = [await _shown(here, here, taken(size.shown), answers)]
    shown.append(await _shown(here, elsewhere, taken(size.shown), answers))
    base = Row(name="alone", turns=(tuple(alone),))
    with_strangers = f"among {size.strangers:,} strangers"
    rows = (base, Row(name=with_strangers, turns=(tuple(among),), against=base))
    seen = Row(name="in the same process", turns=(tuple(shown[0]),))
    other = Row(name="in another process", turns=(tuple(shown[1]),), against=seen)
    p99s = [quantile(seconds, 0.99) for seconds in (alone, among)]
    limits = (SHOWN_S, SHOWN_BY_LOOKS_S if "SQLite" in title else SHOWN_S)
    refused = sum(count for status, count in answers.items() if status != 200)
    return [
        Group(
            title=f"a webhook on {title}",
            rows=rows,
            notes=(
                f"99 of 100 within {duration(p99s[0])} alone, and {duration(p99s[1])} among "
                f"strangers: {_verdict(p99s[1], max(P99_S, P99_TIMES * p99s[0]))}",
                f"{refused} of {sum(answers.values())} refused",
            ),
        ),
        Group(
            title=f"until a payment is shown, on {title}",
            rows=(seen, other),
            notes=tuple(
                f"{row.name}: at most {duration(max(row.seconds))}, {_verdict(max(row.seconds), s)}"
                for row, s in zip((seen, other), limits, strict=True)
            ),
        ),
    ]


def _verdict(seconds: float, limit_s: float) -> str:
    return f"{'within' if seconds <= limit_s else 'OVER'} the limit of {duration(limit_s)}"


async def _paced(port: int, given: Sequence[Order], answers: Counter[int]) -> list[float]:
    """Seconds of each webhook, from when it was to be sent."""
    loop = asyncio.get_running_loop()
    begin = loop.time()

    async def one(number: int, order: Order) -> float:
        await asyncio.sleep(begin + number / _PACE_HZ - loop.time())
        began = perf_counter()
        answers[await _post(port, order)] += 1
        return perf_counter() - began

    return list(await asyncio.gather(*(one(number, order) for number, order in enumerate(given))))


async def _post(port: int, order: Order) -> int:
    headers = (*order.headers, ("host", HOST), ("content-length", str(len(order.body))))
    lines = [f"POST {PATH} HTTP/1.1", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    answer = await _response(port, "\r\n".join([*lines, "", ""]).encode() + order.body)
    return int(answer.split(b" ", 2)[1])


async def _response(port: int, request: bytes) -> bytes:
    async with asyncio.timeout(_ANSWER_S):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


async def _shown(
    pays: int, shows: int, given: Sequence[Order], answers: Counter[int]
) -> list[float]:
    """Seconds from the answer to a webhook until the customer's query is answered."""
    taken: list[float] = []
    for order in given:
        path = f"{PREFIX}/payment-status?xpay_intent_id={order.x_intent_id}&wait={WAIT_S}"
        request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        customer = asyncio.ensure_future(_response(shows, request))
        await asyncio.sleep(_BEGINS_S)
        if customer.done():
            raise Refused(f"a customer could not wait: {customer}")
        answers[await _post(pays, order)] += 1
        began = perf_counter()
        await customer
        # It may have been shown before the webhook's answer was read.
        taken.append(max(1e-6, perf_counter() - began))
    return taken


# --- places and processes ------------------------------------------------------------------------


@contextmanager
def _place(
    scheme: str, folder: Path, server: Server, given: Sequence[Order]
) -> Generator[str, None, None]:
    """The URL of a database with all these orders, none of them paid."""
    if scheme == "sqlite":
        with tempfile.TemporaryDirectory(dir=folder) as own:
            fill(Path(own) / "waiting.db", given)
            yield f"sqlite:///{own}/waiting.db"
        return
    with server.databases(1) as (place,):
        url = place.replace("postgresql://", "postgresql+psycopg://")
        migrating.upgrade(url)
        store = open_store(place)
        for order in given:
            record = attrs.evolve(order.record, reconcile_at_ms=None)
            assert store.commit(first_commit(record))
        store.close()  # type: ignore[attr-defined]
        yield place.replace("postgresql://", f"{scheme}://")


@contextmanager
def _shop(kind: str, place: str) -> Generator[int, None, None]:
    with _process("waiting_shop", kind, place) as process:
        yield int(_line(process))


@asynccontextmanager
async def _strangers(port: int, count: int, known: Sequence[str]) -> AsyncGenerator[None, None]:
    with _process("strangers", str(port), str(count), *known) as process:
        await asyncio.to_thread(_line, process)
        # Those that know a payment have come to their wait by then, too.
        await asyncio.sleep(10 * _BEGINS_S)
        yield


@contextmanager
def _process(module: str, *arguments: str) -> Generator[subprocess.Popen[str], None, None]:
    command = [sys.executable, "-m", f"{__package__}.{module}", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
            assert process.stdin is not None
            process.stdin.close()
            process.wait(_SHUTDOWN_S)
        finally:
            process.kill()


if __name__ == "__main__":
    main()
