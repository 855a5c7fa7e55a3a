"""How are processes of the shop started, killed, and started again?"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[2]
SHOP: Final = "tests.chaos.shop"
GOODBYE_S: Final = 10.0


@attrs.define
class Member:
    """One process that is to be there, and its present incarnation."""

    name: str
    command: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@attrs.define
class Crew:
    """The web processes and the workers, all of which are to be there."""

    members: tuple[Member, ...]
    environment: Mapping[str, str]
    log: Path
    kills: int = 0
    starts: int = 0

    def keep_up(self) -> None:
        """Start whoever is not there."""
        for member in self.members:
            if not member.is_running:
                self._end(member)
                self.starts += 1
                member.process = self._started(member.command)

    @property
    def ended(self) -> int:
        """How many have ended without being killed: a database that is away ends a start."""
        return self.starts - self.kills - sum(member.is_running for member in self.members)

    def kill_one(self, chance: random.Random) -> None:
        """SIGKILL to one of those that are there."""
        running = [member for member in self.members if member.is_running]
        if running:
            self._end(chance.choice(running), subprocess.Popen.kill)
            self.kills += 1

    def dismiss(self) -> None:
        """Have all finish what they are at; who does not is killed."""
        for member in self.members:
            if member.process is not None and member.is_running:
                member.process.terminate()
        for member in self.members:
            self._end(member, _patiently)

    def _started(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                # Held open by us; see `shop._end_with_parent`.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=dict(self.environment),
                # Ctrl-C is for us, and we tell them.
                start_new_session=True,
            )

    def _end(
        self, member: Member, how: Callable[[subprocess.Popen[bytes]], object] | None = None
    ) -> None:
        if member.process is None:
            return
        if how is not None:
            how(member.process)
        member.process.wait()
        if member.process.stdin is not None:
            member.process.stdin.close()
        member.process = None


def _patiently(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(GOODBYE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def web(number: int, port: int) -> Member:
    """A web process on this loopback port."""
    options = ("--factory", "--host=127.0.0.1", f"--port={port}", "--log-level=warning")
    return Member(
        f"web {number}",
        (sys.executable, "-m", "uvicorn", f"{SHOP}:app", *options, "--lifespan=off"),
    )


def worker(number: int) -> Member:
    """A worker that looks for work often."""
    words = ("worker", f"{SHOP}:flow", "--poll=0.3")
    return Member(f"worker {number}", (sys.executable, "-m", "xpay_flow.cli", *words))
