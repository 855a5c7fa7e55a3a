"""`manage.py xpay_worker`: calls the handlers that are due, and reconciles open payments."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, close_old_connections, connections

from xpay_flow import Flow, StoreError, XPayFlowError
from xpay_flow.background import POLL_S
from xpay_flow.job_pool import AT_ONCE_IN_WORKER, at_once
from xpay_flow.signals import on_stop
from xpay_flow.worker import Result, in_json, in_words, looking, one_pass, work_until
from xpay_flow_django import pooler
from xpay_flow_django.conf import database_alias, is_behind_pooler
from xpay_flow_django.database import connection_is_managed
from xpay_flow_django.web import flow_in


class Command(BaseCommand):
    """See the module."""

    help = "Call the handlers that are due and reconcile open payments with xPay, until stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="do what is due now, and end")
        parser.add_argument(
            "--json", action="store_true", help="print each result as a line of JSON"
        )
        parser.add_argument(
            "--poll", type=float, default=POLL_S, help="seconds between looks for work"
        )

        parser.add_argument(
            "--handlers-at-once",
            type=int,
            default=AT_ONCE_IN_WORKER,
            help="handlers called at a time, if the database serves so many",
        )

    def handle(
        self,
        *_: Any,
        once: bool,
        json: bool,
        poll: float,
        handlers_at_once: int = AT_ONCE_IN_WORKER,
        **__: Any,
    ) -> None:
        try:
            flow = flow_in()
        except XPayFlowError as error:
            raise CommandError(str(error)) from error
        if not flow.handlers:
            raise CommandError(
                "the flow has no handlers: import the module that registers @flow.on_success "
                "where the URLconf does"
            )
        _refuse_unnamed_pooler()
        poll_s = None if once else poll
        self.stderr.write(f"xpay_worker, {looking(poll_s)}")
        token = connection_is_managed.set(True)
        try:
            self._work(flow, poll_s, in_json if json else in_words, handlers_at_once)
        except StoreError as error:
            raise CommandError(str(error)) from error
        finally:
            connection_is_managed.reset(token)

    def _work(
        self, flow: Any, poll_s: float | None, line_of: Callable[[Result], str], handlers: int
    ) -> None:
        stop, most = Event(), at_once(handlers, flow.store)

        def report(result: Result) -> None:
            self.stdout.write(line_of(result))
            self.stdout.flush()

        def one() -> int:
            close_old_connections()
            _done(flow.report_unserved_work())
            return int(
                _done(
                    flow.run(one_pass(flow.context, flow.capabilities, stop.is_set, report, most))
                )
            )

        def _done(result: Any) -> Any:
            return result if isinstance(flow, Flow) else runner.run(result)

        # One event loop for all passes: an AsyncFlow keeps connections in it.
        with on_stop(stop.set), asyncio.Runner() as runner:
            work_until(stop, one, poll_s, self.stderr.write)


def _refuse_unnamed_pooler() -> None:
    alias = database_alias()
    with suppress(DatabaseError):  # A database that is away for a while comes back.
        if (
            connections[alias].vendor == "postgresql"
            and not is_behind_pooler()
            and pooler.is_found(alias)
        ):
            raise CommandError(f"{pooler.ADD_SETTING}: {pooler.HINT}")
