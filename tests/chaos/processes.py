"""How are processes of the shop started, killed, and started again?

They are forked from a process that has imported everything and done nothing, so that starting one
costs little even where two processors do all the work.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
from multiprocessing.process import BaseProcess
from typing import Final

import attrs

GOODBYE_S: Final = 10.0
# What cannot be imported there is imported after the fork.
_PRELOADED: Final = (
    "asyncpg",
    "httpx",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.ext.asyncio",
    "starlette.applications",
    "uvicorn.main",
    "uvicorn.lifespan.off",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "xpay_flow.cli.root",
    "xpay_flow.httpx_transport",
    "xpay_flow.sample_records",
    "xpay_flow_asgi",
    "xpay_flow_sqlalchemy",
)


@attrs.frozen
class Job:
    """What one process does.

    Args:
        port: of a web process on loopback; None is a worker.
        environment: where it finds what it shares with the others; see `shop`.
        log: the file of its output.
    """

    port: int | None
    environment: dict[str, str]
    log: str


@attrs.define
class Member:
    """One process that is to be there, and its present incarnation."""

    job: Job
    process: BaseProcess | None = None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.is_alive()


class Crew:
    """The processes that are to be there, one for each job."""

    def __init__(self, jobs: list[Job]) -> None:
        self.kills = self.starts = 0
        self._members = [Member(job) for job in jobs]
        self._stable = multiprocessing.get_context("forkserver")
        self._stable.set_forkserver_preload(list(_PRELOADED))

    def keep_up(self) -> None:
        """Start each process that is missing."""
        for member in self._members:
            if not member.is_running:
                _buried(member)
                self.starts += 1
                # Ctrl-C is for us, and a daemon is killed where we forget to.
                member.process = self._stable.Process(target=_work, args=(member.job,), daemon=True)
                member.process.start()

    @property
    def ended(self) -> int:
        """How many have ended without being killed: a database that is away ends a start."""
        return self.starts - self.kills - sum(member.is_running for member in self._members)

    def kill_one(self, chance: random.Random) -> None:
        """SIGKILL to one of those that are there."""
        running = [member for member in self._members if member.is_running]
        if running:
            self.kills += 1
            _buried(chance.choice(running))

    def dismiss(self) -> None:
        """Have all finish what they are at; who does not is killed."""
        present = [member.process for member in self._members if member.process is not None]
        for process in present:
            process.terminate()
        for process in present:
            process.join(GOODBYE_S)
        for member in self._members:
            _buried(member)


def _buried(member: Member) -> None:
    if member.process is not None:
        member.process.kill()
        member.process.join(GOODBYE_S)
        member.process.close()
        member.process = None


# --- in the process ------------------------------------------------------------------------------


def _work(job: Job) -> None:
    """Be a web process or a worker, in a session of our own and for as long as our parent lives."""
    os.setsid()
    _end_with_parent()
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ.update(job.environment)
    if job.port is None:
        _be_worker()
    else:
        _be_web(job.port)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _be_web(port: int) -> None:
    import uvicorn

    from . import shop

    config = uvicorn.Config(
        shop.app, factory=True, host="127.0.0.1", port=port, lifespan="off", log_level="warning"
    )
    uvicorn.Server(config).run()


def _be_worker() -> None:
    from xpay_flow.cli.root import xpay_flow

    from . import shop

    xpay_flow.main(["worker", f"{shop.__name__}:flow", "--poll=0.3"])
