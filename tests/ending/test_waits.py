"""No test, fixture or shipped module waits without a limit, but for those named here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from .waits import unlimited_waits

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = ("xpay_flow", "adapters", "tests", "benchmarks", "examples", "docs")

# A task that is awaited nowhere else, and that the test cancels.
CANCELLED: Final = "asyncio.Event().wait()"
# Each with what ends it.
ALLOWED: Final = {
    "xpay_flow/checker/app/delivery.py: answered.wait()": "the app answers, or is killed",
    "xpay_flow/checker/app/delivery.py: started.wait()": "the wait for the task has a limit",
    "xpay_flow/checker/app/delivery.py: self._pipe.recv()": "polled before, with a limit",
    "xpay_flow/checker/app/entry.py: pipe.recv()": "polled before, with a limit",
    "xpay_flow/checker/app/gate.py: _INSIDE.get()": "a context variable",
    "xpay_flow/checker/app/gate.py: self._pipe.recv()": "the end of the process that forked it",
    "xpay_flow/calls.py: inside.get()": "a context variable",
    "xpay_flow/call_within.py: under_way.result()": "the call has ended",
    "xpay_flow/drive.py: self._task.result()": "the task is done",
    "xpay_flow/flow.py: inside.get()": "a context variable",
    "xpay_flow/handlers.py: call.result()": "the call has ended",
    "xpay_flow/handlers.py: self.call.result()": "the call has ended",
    "xpay_flow/handlers.py: made.result()": "the call has ended",
    "xpay_flow/handlers.py: task.result()": "the task is done",
    "xpay_flow/checker/contract/steered.py: self._go.get()": "a daemon thread that is parked",
    "xpay_flow/checker/parked.py: self._turn.acquire()": "a daemon thread that is parked",
    "xpay_flow/checker/looped.py: main.result()": "the task is done",
    "xpay_flow/checker/processes.py: pipe.recv()": "the search's bound, or the process's end",
    "xpay_flow/cli/demo.py: stop.wait()": "Ctrl+C",
    "xpay_flow/testing/adapter_clients.py: is_answered.wait()": "the limit of the whole request",
    "xpay_flow/testing/mounted.py: self._events.get()": "a task that the end of its loop cancels",
    "xpay_flow/testing/mounted.py: self._answers.get()": "the limit of the whole start or stop",
    "xpay_flow/testing/mounted.py: answer.result()": "the task is done",
    "xpay_flow/testing/mounted.py: ThreadPoolExecutor(1, 'xpay-flow test')": "what it runs has one",
    "xpay_flow/testing/transport_suite.py: listening.accept()": "its socket has a limit",
    "xpay_flow/testing/server_client.py: reader.readline()": "the limit of the whole request",
    "xpay_flow/in_flight.py: future.result()": "the future is done",
    "xpay_flow/testing/store_processes.py: self._reports.recv()": "polled before, with a limit",
    "xpay_flow/rounds.py: it.result()": "it has ended, or its time is over",
    "xpay_flow/threads.py: ThreadPoolExecutor(self._at_most, self._name)": "no block of it",
    "xpay_flow/adapter_kit.py: answered.result()": "the task is done",
    "xpay_flow/watcher.py: hang_up.get()": "a context variable",
    "adapters/xpay_flow_django/database.py: connection_is_managed.get()": "a context variable",
    "adapters/xpay_flow_sqlalchemy/stores.py: ThreadPoolExecutor(1)": "what it runs has a limit",
    "tests/chaos/customers.py: self._is_sent_on[number].wait()": "the run's limit cancels it",
    "tests/chaos/processes.py: parent.join()": "a daemon thread, for as long as its parent lives",
    "tests/chaos/run.py: one.result()": "the task is done",
    "tests/checker/test_app.py: pipe.recv()": "polled before, with a limit",
    "tests/checker/test_contract_stores.py: in_turn[0].acquire()": "planted, on a daemon thread",
    "tests/checker/test_contract_stores.py: in_turn[1].acquire()": "planted, on a daemon thread",
    "tests/checker/test_plain.py: task.result()": "the task is done",
    "tests/crash/elsewhere.py: self._talk.readline()": "its socket has a limit",
    "tests/crash/shop.py: talk.readline()": "the end of the process that forked it",
    "tests/docs/alone.py: process.stdout.readline()": "the test that runs it has a limit",
    "tests/flows/test_networks.py: listening.accept()": "its socket has a limit",
    "tests/flows/test_handlers_at_once.py: self._barrier.wait()": "the barrier has a limit",
    "tests/flows/test_rounds.py: together.wait()": "the barrier has a limit",
    "tests/flows/test_rush.py: rate_limiter.acquire(0)": "it waits for nothing",
    "tests/flows/test_rush.py: rate_limiter.acquire(1000)": "it waits for nothing",
    "tests/flows/test_rush.py: ThreadPoolExecutor(len(orders))": "each press has a limit",
    "tests/serving/test_threads.py: WHO.get()": "a context variable",
    "tests/sql/wire.py: self._listening.accept()": "a daemon thread; close() ends it",
    "benchmarks/rush.py: free.get()": "a connection that is in use comes back, or fails",
    "benchmarks/rush_shops.py: pool.acquire()": "a connection that is in use comes back, or fails",
}


def found(folder: str) -> set[str]:
    files = sorted((ROOT / folder).rglob("*.py"))
    return {wait.name for path in files for wait in unlimited_waits(path, ROOT)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_unlimited_waits_are_only_those_that_are_allowed(folder: str) -> None:
    """Each wait has a limit, or stands in the list above with what ends it."""
    waits = {wait for wait in found(folder) if not wait.endswith(f": {CANCELLED}")}
    allowed = {wait for wait in ALLOWED if wait.startswith(f"{folder}/")}
    assert allowed == waits


@pytest.mark.parametrize(
    "code",
    [
        "thread.join()",
        "process.wait()",
        "process.communicate(b'')",
        "future.result()",
        "future.result(timeout=None)",
        "lock.acquire()",
        "lock.acquire(True)",
        "queue.get()",
        "queue.get(timeout=None)",
        "subprocess.run(['true'], check=True)",
        "subprocess.check_output(['true'])",
        "process.stdout.readline()",
        "with ThreadPoolExecutor(2) as pool: pass",
        "async def f():\n    await event.wait()",
        "async def f():\n    async with opened():\n        await event.wait()",
    ],
)
def test_unlimited_waits_finds(code: str, tmp_path: Path) -> None:
    """Every kind of wait without a limit is found."""
    (tmp_path / "it.py").write_text(code)
    assert 1 == len(list(unlimited_waits(tmp_path / "it.py", tmp_path)))


@pytest.mark.parametrize(
    "code",
    [
        "thread.join(5)",
        "process.wait(timeout=5)",
        "process.communicate(b'', 5)",
        "future.result(5)",
        "lock.acquire(blocking=False)",
        "lock.acquire(True, 5)",
        "queue.get(timeout=5)",
        "queue.get(block=False)",
        "subprocess.run(['true'], timeout=5)",
        "', '.join(words)",
        "words.get('a')",
        "rate_limiter.acquire(now_ms)",
        "Model.objects.get(pk=1)",
        "async def f():\n    async with asyncio.timeout(5):\n        await event.wait()",
        "async def f():\n    await asyncio.wait_for(event.wait(), 5)",
    ],
)
def test_unlimited_waits_leaves_alone(code: str, tmp_path: Path) -> None:
    """A wait with a limit is none of these, nor is what only has such a name."""
    (tmp_path / "it.py").write_text(code)
    assert [] == list(unlimited_waits(tmp_path / "it.py", tmp_path))
