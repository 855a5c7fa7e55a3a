"""`manage.py xpay_worker`: calls the handlers that are owed, and asks xPay about open payments.

Any number of workers may run on one database; a job is claimed there. A worker that is told to stop
finishes the job it is at, and one that is killed leaves a claim that runs out.
"""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from xpay_flow import Asked, Delivered, Flow, StoreError, Unworkable, XPayFlowError
from xpay_flow.flow import POLL_S
from xpay_flow_django.database import looked_after
from xpay_flow_django.web import flow_in

Result = Delivered | Asked | Unworkable


class Command(BaseCommand):
    """See the module."""

    help = "Call the handlers that are owed and ask xPay about open payments, until stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="do what is due now, and end")
        parser.add_argument(
            "--poll", type=float, default=POLL_S, help="seconds between looks for work"
        )

    def handle(self, *_: Any, once: bool, poll: float, **__: Any) -> None:
        try:
            flow = flow_in()
        except XPayFlowError as error:
            raise CommandError(str(error)) from error
        if not flow.able:
            raise CommandError(
                "the flow has no handlers: import the module that registers @flow.on_success "
                "where the URLconf does"
            )
        stop = Event()
        before = _on_stop(stop.set)
        token = looked_after.set(True)
        how = "once" if once else f"every {poll:g} s; Ctrl+C ends it"
        self.stderr.write(f"xpay_worker, looking {how}")
        try:
            # One event loop for all passes: an AsyncFlow keeps connections in it.
            with asyncio.Runner() as runner:
                self._work(flow, runner.run, stop, None if once else poll)
        finally:
            looked_after.reset(token)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _work(self, flow: Any, run: Callable[[Any], Any], stop: Event, poll: float | None) -> None:
        while not stop.is_set():
            close_old_connections()
            found = 0
            try:
                found = self._pass(flow, run, stop)
            except StoreError as error:
                if poll is None:
                    raise CommandError(str(error)) from error
                # A database that is away for a while is no reason to end.
                self.stderr.write(f"the store failed, trying again: {error}")
            if poll is None:
                return
            if not found:
                stop.wait(poll)

    def _pass(self, flow: Any, run: Callable[[Any], Any], stop: Event) -> int:
        """Everything that is due now, one job after the other; how many results there were."""
        found = 0
        # What asking has made owed is delivered in the same pass.
        for work in (flow.deliver, flow.reconcile, flow.deliver):
            while not stop.is_set():
                answer = work(limit=1)
                results: Sequence[Result] = answer if isinstance(flow, Flow) else run(answer)
                for result in results:
                    self.stdout.write(_told(result))
                self.stdout.flush()
                done = sum(not isinstance(result, Unworkable) for result in results)
                found += done
                if not done:
                    break
        return found


def _on_stop(do: Callable[[], object]) -> dict[signal.Signals, Any]:
    """Call `do` at SIGINT or SIGTERM; the second one ends the process. Gives what was there."""

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        do()

    return {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}


def _told(result: Result) -> str:
    if isinstance(result, Delivered):
        why = f" ({result.error})" if result.error else ""
        return f"{result.name} for {result.intent_id}: {result.outcome}{why}"
    if isinstance(result, Unworkable):
        return f"{result.work} of {result.key} failed, and stays due: {result.error}"
    state = f", state {result.state}" if result.state else ""
    return f"asked about {result.intent_id or result.key}: {result.outcome}{state}"
