"""python -m benchmarks.rush [--short] [--postgresql URL]: what becomes of many webhooks at once?

One uvicorn process for each contestant and one client with 32 connections, all on this machine's
loopback. Beside the opponent by hand runs an app that answers 200 and does nothing: what it takes
cannot be saved. It is measured again with flushes that take longer, as on a disk of the network or
with a standby that must have each commit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Final

import attrs

from . import growth, histories, machine, slow_flush
from .calling import Refused
from .measure import (
    FULL,
    SHORT,
    WARM_UP_TURNS,
    Contestant,
    Group,
    Row,
    Size,
    compared,
    quantile,
)
from .orders import Order, orders
from .places import Server, served_by, server_in
from .rush_shops import BY_HAND, CONTESTANTS, FLOOR
from .served import _SHUTDOWN_S, Connection, _connected, _line
from .served import Server as Listening
from .table import duration, print_table

AT_ONCE: Final = 32
PACE_HZ: Final = 200


def main() -> None:
    """Measure, and show it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rush", description=__doc__)
    parser.add_argument("--short", action="store_true", help="about half a minute")
    parser.add_argument("--postgresql", metavar="URL", help="a server where databases may be made")
    options = parser.parse_args()
    size = SHORT if options.short else FULL
    with tempfile.TemporaryDirectory(prefix="xpay-flow-bench-") as folder:
        print_table(measured(size, Path(folder), options.postgresql), machine.described())


def measured(size: Size, folder: Path, url: str | None = None) -> list[Group]:
    """Seconds for each of many webhooks at once, among many stored intents, and after many events.

    Args:
        url: of a server whose superuser may make databases; without it, one is started.
    """
    groups = _on_sqlite(folder, size)
    with served_by(url) if url else server_in(folder) as server:
        for flush_ms in size.flushes_ms:
            groups += _on_postgresql(server, flush_ms, size)
        groups += growth.measured(size, folder, server)
        groups += histories.measured(size, folder, server)
    return groups


def _on_sqlite(folder: Path, size: Size) -> list[Group]:
    groups: list[Group] = []
    for flush_ms in size.sqlite_flushes_ms:
        files = [str(folder / f"rush-{flush_ms}-{number}.db") for number in range(len(CONTESTANTS))]
        slower = slow_flush.environment(folder, flush_ms)
        if slower is None:
            (alone,) = groups
            return [attrs.evolve(alone, notes=(*alone.notes, slow_flush.NEEDS))]
        groups += _rush(f"on SQLite{_longer(flush_ms)}", files, size, environment=slower)
    return groups


def _longer(flush_ms: int) -> str:
    return f", flushes {flush_ms} ms longer" if flush_ms else ""


def _on_postgresql(server: Server, flush_ms: int, size: Size) -> list[Group]:
    with server.databases(len(CONTESTANTS), commit_delay_us=1000 * flush_ms) as places:
        return _rush(f"on PostgreSQL{_longer(flush_ms)}", places, size, paced=not flush_ms)


def _rush(
    where: str,
    places: Sequence[str],
    size: Size,
    *,
    paced: bool = False,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> list[Group]:
    """All contestants in turns with as many at once as there are connections, then at a pace.

    Args:
        environment: what their processes are given beside ours.
    """
    in_turns = (WARM_UP_TURNS + size.rush_turns) * size.rush_a_turn
    given = orders(in_turns + size.paced)
    with asyncio.Runner() as runner, _serving(places, len(given), environment) as servers:
        computing: dict[str, list[float]] = {name: [] for name in CONTESTANTS}

        def contestant(server: Listening) -> Contestant:
            starts = iter(range(0, in_turns, size.rush_a_turn))

            def turn() -> list[float]:
                begin, before_s = next(starts), _computed_s(server.process.pid)
                mine = given[begin : begin + size.rush_a_turn]
                taken = [runner.run(_together(server.port, mine))]
                took_s = _computed_s(server.process.pid) - before_s
                computing[server.name].append(took_s / len(mine))
                return taken

            return turn

        contestants = {server.name: contestant(server) for server in servers}
        title = f"webhooks {where}, {AT_ONCE} at a time"
        group = compared(title, contestants, size.rush_turns, opponent=BY_HAND)
        notes = (_as_many(row, computing[row.name][WARM_UP_TURNS:]) for row in group.rows)
        groups = [attrs.evolve(group, notes=tuple(notes))]
        rest = given[in_turns:]
        if paced:
            late = {server.name: runner.run(_paced(server.port, rest)) for server in servers}
            groups.append(_at_a_pace(where, late))
        else:
            # Each contestant must have all of them paid in the end.
            for server in servers:
                runner.run(_together(server.port, rest))
    return groups


def _as_many(row: Row, computing: Sequence[float]) -> str:
    # A ratio of times the other way round.
    ratio = statistics.median(1 / ratio for ratio in row.ratios)
    many = f"{row.name}: {1 / row.median:.0f} a second, {ratio:.2f} times as many as by hand"
    computing_s = statistics.median(computing)
    return f"{many}; {duration(computing_s)} of computing for each" if computing_s else many


def _computed_s(pid: int) -> float:
    """How long a process has computed so far; 0 where the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _at_a_pace(where: str, taken: Mapping[str, Sequence[float]]) -> Group:
    base = Row(name=BY_HAND, turns=(tuple(taken[BY_HAND]),))
    others = (
        Row(name=name, turns=(tuple(seconds),), against=base)
        for name, seconds in taken.items()
        if name not in (BY_HAND, FLOOR)
    )
    rows = (base, *others)
    return Group(
        title=f"webhooks {where}, {PACE_HZ} a second",
        rows=rows,
        notes=tuple(
            f"{row.name}: 99 of 100 within {duration(quantile(row.seconds, 0.99))}" for row in rows
        ),
    )


async def _together(port: int, given: Sequence[Order]) -> float:
    """Seconds for each, its share of the whole."""
    left: Iterator[Order] = iter(given)
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(_connected(port)) for _ in range(AT_ONCE)]

        async def send(connection: Connection) -> None:
            for order in left:
                await connection.post(order)

        began = perf_counter()
        await asyncio.gather(*map(send, connections))
        return (perf_counter() - began) / len(given)


async def _paced(port: int, given: Sequence[Order]) -> list[float]:
    """Seconds from when each was to be sent, so that a queue shows."""
    taken: list[float] = []
    async with AsyncExitStack() as stack:
        free: asyncio.Queue[Connection] = asyncio.Queue()
        for _ in range(AT_ONCE):
            free.put_nowait(await stack.enter_async_context(_connected(port)))
        began = perf_counter()

        async def send(number: int, order: Order) -> None:
            due = began + number / PACE_HZ
            await asyncio.sleep(max(0.0, due - perf_counter()))
            connection = await free.get()
            await connection.post(order)
            free.put_nowait(connection)
            taken.append(perf_counter() - due)

        await asyncio.gather(*(send(number, order) for number, order in enumerate(given)))
    return taken


@contextmanager
def _serving(
    places: Sequence[str], count: int, environment: Mapping[str, str]
) -> Generator[list[Listening], None, None]:
    """All contestants, listening; each must have every order paid in the end."""
    module = f"{__package__}.rush_shops"
    processes = {
        name: subprocess.Popen(
            [sys.executable, "-m", module, name, place, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        for name, place in zip(CONTESTANTS, places, strict=True)
    }
    try:
        yield [Listening(name, p, int(_line(p))) for name, p in processes.items()]
        for name, process in processes.items():
            assert process.stdin is not None
            process.stdin.close()
            if odd := int(_line(process)):
                raise Refused(f"{name}: {odd} orders are not paid")
    finally:
        for process in processes.values():
            process.kill()
            process.wait(_SHUTDOWN_S)


if __name__ == "__main__":
    main()
