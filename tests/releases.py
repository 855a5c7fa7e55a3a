"""What would a later release of a package be? A copy of today's in which a few words are others.

It runs in processes of its own, beside those of today's.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Semaphore, Thread
from typing import Final

import attrs

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreUnavailable
from xpay_flow.ports import Store
from xpay_flow.testing.store_suite import put

_ROOT: Final = Path(__file__).parents[1]
ENDS_S: Final = 60
COMMITS_S: Final = 30.0
# A commit takes about as long on a quiet machine.
PAUSE_S: Final = 0.005
TRIES_MAX: Final = 50


@attrs.frozen
class Release:
    """A folder that holds the later release of one package, and comes before today's."""

    folder: Path

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        """`python …` of this release: the exit code, and its output."""
        path = os.pathsep.join([str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, *words],
            env={**os.environ, **environment, "PYTHONPATH": path},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=ENDS_S,
        )
        return done.returncode, done.stdout + done.stderr


def release(
    folder: Path,
    package: str,
    changes: Mapping[str, tuple[str, str]],
    additions: Mapping[str, str],
) -> Release:
    """Today's `package` in a new folder, with other words and more files.

    Args:
        changes: for each file, what stands in it once and what stands there instead.
        additions: for each new file, its text.
    """
    copy = folder / package
    home = _ROOT if package == "xpay_flow" else _ROOT / "adapters"
    shutil.copytree(home / package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (before, after) in changes.items():
        text = (copy / name).read_text(encoding="utf-8")
        assert 1 == text.count(before), f"{before!r} does not stand once in {name}"
        (copy / name).write_text(text.replace(before, after), encoding="utf-8")
    for name, text in additions.items():
        (copy / name).write_text(text, encoding="utf-8")
    return Release(folder)


def _commit(store: Store, order: str) -> None:
    """As xPay does: while a migration holds the file, a webhook is answered 503, and sent again."""
    for _ in range(TRIES_MAX):
        try:
            put(store, b.attempt(order))
        except StoreUnavailable as error:
            if "locked" not in str(error):
                raise
        else:
            return
    raise AssertionError(f"{order} was not taken in {TRIES_MAX} tries")


class AtWork:
    """Counts what a thread of today's has committed."""

    def __init__(self) -> None:
        self.stop = Event()
        self.failed: list[BaseException] = []
        self._done = Semaphore(0)

    def commit_on(self, stores: Sequence[Store]) -> None:
        try:
            for number in itertools.count():
                for store in stores:
                    _commit(store, f"order-{secrets.token_hex(8)}-{number}")
                self._done.release()
                # SQLite looks for a lock only now and then: without a pause, another process that
                # writes a few times might never find the file free.
                if self.stop.wait(PAUSE_S):
                    return
        except BaseException as error:
            self.failed.append(error)
            self._done.release()

    def wait_for_more(self) -> None:
        """Come back when everybody has committed once more."""
        while self._done.acquire(blocking=False):
            pass
        # One that was under way, and one that was begun after that.
        for _ in range(2):
            assert self._done.acquire(timeout=COMMITS_S)


@contextmanager
def at_work(stores: Sequence[Store]) -> Generator[AtWork]:
    """Meanwhile new payments are committed on each of these, and none may fail."""
    work = AtWork()
    thread = Thread(target=work.commit_on, args=(stores,))
    thread.start()
    try:
        yield work
    finally:
        work.stop.set()
        thread.join(COMMITS_S)
    assert [] == work.failed
