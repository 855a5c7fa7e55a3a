"""A flow of each kind on a store, with customers who wait, and a clock that the test moves.

A watcher's clock pauses until the test lets it go on: what is shown meanwhile was not looked up.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from xpay_flow import sample_records as b
from xpay_flow.endpoints import WebRequest, WebResponse
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.settings import Settings
from xpay_flow.stores import open_store
from xpay_flow.testing.adapter_suite import event, signature

# Far longer than anything takes, so that a fault ends the test.
ENDS_S: Final = 10.0
WAIT_S: Final = 25
KINDS: Final = ("Flow", "AsyncFlow")


class HeldClock:
    """A clock whose pauses end when the test lets them."""

    def __init__(self) -> None:
        self.pauses = threading.Semaphore(0)
        self._go_on = threading.Semaphore(0)
        self.is_let_go = False

    def now_ms(self) -> int:
        return b.NOW_MS

    def pause(self, seconds: float) -> None:
        self.pauses.release()
        while not self.is_let_go:
            if self._go_on.acquire(timeout=0.01):
                return

    def let_go(self, pauses: int = 1) -> None:
        self._go_on.release(pauses)


class AsyncHeldClock(HeldClock):
    async def pause(self, seconds: float) -> None:  # type: ignore[override]  # the async namesake
        await asyncio.to_thread(super().pause, seconds)


class Site:
    """A shop with payments `in_0`, `in_1` …, whose customers are threads of the test."""

    def __init__(self, kind: str, path: Path, payments: int = 1, **settings: Any) -> None:
        self.settings = Settings.sandbox(
            **{"status_waiting_threads_max": 500, "status_wait_s_max": WAIT_S, **settings}
        )
        self.store = open_store(f"sqlite:///{path / 'payments.db'}")
        for number in range(payments):
            for step in b.history(b.created(f"in_{number}"), receipt_id=f"order-{number}"):
                assert self.store.commit(step)
        self._is_async = kind == "AsyncFlow"
        self.flow: Any
        if self._is_async:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
            self.flow = AsyncFlow(self.store, self.settings, background=False)
            self.clock: HeldClock = AsyncHeldClock()
        else:
            self.flow = Flow(self.store, self.settings, background=False)
            self.clock = HeldClock()
        self.flow._watcher._clock = self.clock

    @property
    def waiting(self) -> int:
        return len(self.flow.ports.shared.waiting)

    def status(self, x_intent_id: str, **query: object) -> Future[WebResponse]:
        """A customer's query, which may take its time."""
        given = {"xpay_intent_id": x_intent_id, **{k: str(v) for k, v in query.items()}}
        return self.ask(WebRequest(method="GET", path="/payment-status", query=given))

    def pay(self, x_intent_id: str) -> Future[WebResponse]:
        """xPay's webhook."""
        body = event(x_intent_id, f"whe_{x_intent_id}")
        request = WebRequest(method="POST", path="/webhook", headers=(signature(body),), body=body)
        return self.ask(request)

    def pay_elsewhere(self, x_intent_id: str) -> None:
        """The webhook comes to another process on the same store."""
        other = Flow(self.store, self.settings, background=False)
        body = event(x_intent_id, f"whe_{x_intent_id}")
        other.receive_webhook([signature(body)], body)

    def ask(self, request: WebRequest) -> Future[WebResponse]:
        if self._is_async:
            return asyncio.run_coroutine_threadsafe(self.flow.handle(request), self._loop)
        answer: Future[WebResponse] = Future()
        thread = threading.Thread(target=lambda: answer.set_result(self.flow.handle(request)))
        thread.daemon = True
        thread.start()
        return answer

    def until_waiting(self, count: int) -> None:
        """Come back when as many wait."""
        until(lambda: self.waiting == count, f"{count} wait")

    def close(self) -> None:
        self.clock.is_let_go = True
        if self._is_async:
            self.result(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(ENDS_S)
            self._loop.close()
        else:
            self.flow.close()

    async def _end(self) -> None:
        await self.flow.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def result(self, awaited: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(ENDS_S)


@contextmanager
def site(kind: str, path: Path, payments: int = 1, **settings: Any) -> Generator[Site]:
    opened = Site(kind, path, payments, **settings)
    try:
        yield opened
    finally:
        opened.close()


def until(is_so: Callable[[], bool], what: str) -> None:
    """Come back when it is so."""
    turn = threading.Event()
    for _ in range(int(ENDS_S / 0.005)):
        if is_so():
            return
        turn.wait(0.005)
    raise AssertionError(f"it was never so that {what}")


def answered(answer: Future[WebResponse]) -> Any:
    """The JSON of an answer that must come at once."""
    try:
        return json.loads(answer.result(ENDS_S).body)
    except TimeoutError:
        raise AssertionError("a query waits on, which should have been answered") from None


def words(answers: Sequence[Future[WebResponse]]) -> list[str]:
    return [answered(answer)["status"] for answer in answers]
