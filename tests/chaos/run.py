"""What happens in a run? Customers pay, xPay sends, processes are killed, and all is compared."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import servers
from sql.poolers import Pooler
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from . import books, checking, evidence, shop, xpay
from .checking import Fault
from .customers import Customers
from .database import Server
from .evidence import Evidence
from .line import until_they_listen
from .plan import Plan, planned
from .planted_faults import PLANT
from .processes import Crew, Job
from .sender import Sender
from .xpay import XPay

WEBS: Final = 4
WORKERS: Final = 2
KILL_EVERY_S: Final = 1.0
LOOK_S: Final = 0.25
# So few that the processes behind the pooler have to share them.
POOL: Final = {"default_pool_size": 6, "server_login_retry": 1}
TELL_EVERY_S: Final = 5.0
# A machine that others use, too, may take so many times as long to answer all.
SLOWER_MAX: Final = 6
# After the last kill everything must be answered, and then done, within so many seconds more.
ANSWER_S: Final = 60.0
SETTLE_S: Final = 60.0

IN_FOLDER: Final = "the run is in "
# What is written down meanwhile, and by whom: the customers, xPay, the shop's handlers.
PAGES, ANSWERS, CALLS = "pages", "answers", "calls"


@attrs.frozen
class Size:
    """How many payments and events, over how long, and how often the server is killed meanwhile."""

    intents: int
    deliveries: int
    seconds: float
    server_kills: int
    seed: int = 1


@attrs.frozen
class Report:
    """What a run has done, and what the checker finds."""

    size: Size
    duplicates: int
    seconds: float
    sent_on: int
    clicks: dict[str, int]
    tries: dict[str, int]
    at_xpay: int
    refused: int
    process_kills: int
    server_kills: int
    pooler_kills: int
    recoveries: int
    ended_by_themselves: int
    kills_after_rollout: int
    paid: int
    calls: int
    calls_repeated: int
    faults: tuple[Fault, ...]

    @property
    def by_kind(self) -> dict[str, int]:
        """The faults of each kind, those that did not occur among them."""
        found = Counter(fault.kind for fault in self.faults)
        return {kind: found[kind] for kind in checking.KINDS}


PrintLine = Callable[[str], None]


def to_stderr(line: str) -> None:
    """Show progress in a terminal."""
    print(line, file=sys.stderr, flush=True)


def run(size: Size, print_line: PrintLine = to_stderr, plant: str = "") -> Report:
    """One run from an empty server to the verdict; it leaves nothing behind.

    Args:
        print_line: is given a line about progress every few seconds.
        plant: a mistake that the shop is to make; see `planted`.

    Raises:
        NotThere: there is no PostgreSQL on this machine.
        Broken: PostgreSQL has not survived.
        InvalidValue: the size makes no sense.
    """
    plan = planned(size.intents, size.deliveries, size.seed)
    with _folder() as folder, xpay.at_work() as their:
        print_line(f"{IN_FOLDER}{folder}")
        home = folder / "postgresql"
        home.mkdir(mode=0o755)
        server = Server(home)
        between = folder / "pooler"
        between.mkdir(mode=0o755)
        pooler = Pooler(make_url(server.url("psycopg")), between, **POOL)
        scene = Scene(size, plan, folder, server, pooler, their, print_line, plant)
        try:
            server.start()
            pooler.start()
            books.open_books(server.url("psycopg"))
            seconds = asyncio.run(scene.play())
            scene.crew.dismiss()
            found = scene.evidence()
        finally:
            scene.crew.dismiss()
            scene.close()
            pooler.stop()
            server.stop()
        server.check_pages()
        return scene.report(found, seconds)


@contextmanager
def _folder() -> Generator[Path]:
    # Not pytest's own, which strangers may not enter, and the server runs as one.
    folder = Path(tempfile.mkdtemp(prefix="xpay-flow-chaos-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Scene:
    """One run: the shop, xPay, the customers and the killers."""

    def __init__(
        self,
        size: Size,
        plan: Plan,
        folder: Path,
        server: Server,
        pooler: Pooler,
        xpay: XPay,
        print_line: PrintLine,
        plant: str,
    ) -> None:
        self.size, self.plan, self.server, self.print_line = size, plan, server, print_line
        self._xpay, self._folder, self._pooler = xpay, folder, pooler
        self._ports = [servers.free_port() for _ in range(WEBS)]
        self._customers = Customers(plan, self._ports, size.seconds, folder / PAGES, xpay)
        self._sender = Sender(
            plan, self._ports, size.seconds, folder / ANSWERS, self._customers, xpay
        )
        environment = {
            shop.URL: server.url("asyncpg"),
            shop.CALLS: str(folder / CALLS),
            shop.XPAY: xpay.base_url,
            PLANT: plant,
        }
        # Every second process of the shop, web and worker alike, goes through the pooler.
        pooled = server.url("asyncpg").replace(f":{server.port}/", f":{pooler.port}/")
        through = environment | {shop.URL: f"{pooled}?pooler=transaction"}
        log = str(folder / "log")
        jobs = [
            Job(port, through if number % 2 else environment, log)
            for number, port in enumerate([*self._ports, *[None] * WORKERS])
        ]
        self.crew = Crew(jobs)
        self._chance = random.Random(size.seed)
        self._killed_before_rollout: int | None = None
        self._restart: asyncio.Task[None] | None = None

    async def play(self) -> float:
        """Everything up to the moment at which nothing is due; how long the sending took."""
        self.crew.keep_up()
        async with asyncio.timeout(ANSWER_S):
            await until_they_listen(self._ports)
        begin = time.monotonic()
        all_done = asyncio.gather(self._customers.all_pay(), self._sender.send_all())
        trouble = asyncio.gather(
            self._keep_up(), self._kill(), self._kill_server(), self._roll_out(), self._show()
        )
        try:
            limit_s = SLOWER_MAX * self.size.seconds + ANSWER_S
            both: set[asyncio.Future[Any]] = {all_done, trouble}
            await asyncio.wait(both, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            # Trouble has no end, unless it is our own; what was not answered the checker sees.
            for one in both:
                if one.done():
                    one.result()
        finally:
            trouble.cancel()
            all_done.cancel()
            await asyncio.gather(trouble, all_done, return_exceptions=True)
        seconds = time.monotonic() - begin
        self.print_line(f"{seconds:4.0f} s: {self._standing()}; no process is killed any more")
        await self._settle()
        return seconds

    async def _keep_up(self) -> None:
        while True:
            self.crew.keep_up()
            await asyncio.sleep(LOOK_S)

    async def _kill(self) -> None:
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            self.crew.kill_one(self._chance)

    async def _kill_server(self) -> None:
        for _ in range(self.size.server_kills):
            await asyncio.sleep(self.size.seconds / (self.size.server_kills + 1))
            # Once it is killed it must be started, also where the run ends meanwhile.
            self._restart = asyncio.create_task(asyncio.to_thread(self._kill_and_start_server))
            await asyncio.shield(self._restart)

    def _kill_and_start_server(self) -> None:
        self.server.kill()
        self.server.start()
        # What it still holds of the server's connections is dead; and now so is the pooler.
        self._pooler.kill()
        self._pooler.start()

    async def _roll_out(self) -> None:
        await asyncio.sleep(self.size.seconds / 2)
        while self._killed_before_rollout is None:
            try:
                await asyncio.to_thread(books.grow, self.server.url("psycopg"))
                self._killed_before_rollout = self.crew.kills
            except SQLAlchemyError:
                await asyncio.sleep(LOOK_S)

    async def _show(self) -> None:
        begin = time.monotonic()
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self.print_line(f"{time.monotonic() - begin:4.0f} s: {self._standing()}")

    def _standing(self) -> str:
        return (
            f"{self._customers.sent_on} of {self.plan.intents} sent on, "
            f"{self._sender.acknowledged} of {len(self.plan.deliveries)} answered, "
            f"{self.crew.kills} processes and {self.server.kills} servers killed"
        )

    async def _settle(self) -> None:
        """Give the shop time for its open ends; those that are left, the checker sees."""
        if self._restart is not None:
            await self._restart
        for _ in range(int(SETTLE_S / LOOK_S)):
            self.crew.keep_up()
            if not await asyncio.to_thread(books.open_ends, self.server.url("psycopg")):
                return
            await asyncio.sleep(LOOK_S)

    def evidence(self) -> Evidence:
        """Everything that can be compared, when all have left."""
        files = (self._folder / name for name in (PAGES, ANSWERS, CALLS))
        theirs = (self._xpay.ledger(), self._xpay.refused())
        return evidence.gathered(self.server.url("psycopg"), *theirs, *files)

    def close(self) -> None:
        self._customers.close()
        self._sender.close()

    def report(self, found: Evidence, seconds: float) -> Report:
        """The figures, and the checker's verdict."""
        before = self._killed_before_rollout
        return Report(
            size=self.size,
            duplicates=self.plan.duplicates,
            seconds=round(seconds, 1),
            sent_on=self._customers.sent_on,
            clicks=dict(self._customers.tries),
            tries=dict(self._sender.tries),
            at_xpay=len(found.at_xpay),
            refused=len(found.refused),
            process_kills=self.crew.kills,
            server_kills=self.server.kills,
            pooler_kills=self._pooler.kills,
            recoveries=self.server.recoveries(),
            ended_by_themselves=self.crew.ended,
            kills_after_rollout=0 if before is None else self.crew.kills - before,
            paid=len(found.ledger),
            calls=len(found.calls),
            calls_repeated=len(found.calls) - len({*found.calls}),
            faults=tuple(checking.faults(self.plan, found)),
        )
