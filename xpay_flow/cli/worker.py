"""`xpay-flow worker`: calls the handlers that are due, and reconciles open payments with xPay."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable
from typing import Any

import attrs

from xpay_flow import AsyncFlow, ConfigurationError, Flow, StoreError
from xpay_flow.background import POLL_S
from xpay_flow.effects import Command
from xpay_flow.job_pool import AT_ONCE_IN_WORKER, at_once
from xpay_flow.settings import STORE_VARIABLE
from xpay_flow.signals import on_stop
from xpay_flow.worker import (
    Result,
    in_json,
    in_words,
    looking,
    one_pass,
    trying_again,
    work_until,
)

from .loading import checked, find_flow
from .needs import click
from .stores import store_option


@attrs.frozen(kw_only=True)
class _Job:
    """How to work; without `poll_s`, until nothing is due."""

    name: str
    poll_s: float | None
    at_once: int
    report: Callable[[Result], None]


@click.command(short_help="Call the handlers that are due, reconcile open payments.")
@click.argument("flow", metavar="MODULE:FLOW")
@store_option
@click.option("--once", is_flag=True, help="Work until nothing is due, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print each result as a line of JSON.")
@click.option(
    "--poll",
    "poll_s",
    type=click.FloatRange(0.05, 3600),
    default=POLL_S,
    show_default=True,
    help="Seconds between looks for work.",
)
@click.option(
    "--handlers-at-once",
    "handlers",
    type=click.IntRange(1, 1000),
    default=AT_ONCE_IN_WORKER,
    show_default=True,
    help="Handlers called at a time, if the store serves so many.",
)
def worker(
    flow: str, store_url: str | None, once: bool, as_json: bool, poll_s: float, handlers: int
) -> None:
    """Call the handlers that are due and reconcile open payments with xPay, until stopped.

    MODULE:FLOW is your Flow or AsyncFlow, or a function that returns one. --store names the store
    for a Flow.open() without a URL.
    """
    if store_url is not None:
        os.environ[STORE_VARIABLE] = store_url
    say = in_json if as_json else in_words
    job = _Job(
        name=flow,
        poll_s=None if once else poll_s,
        at_once=handlers,
        report=lambda result: click.echo(say(result)),
    )
    found = find_flow(flow)
    made = found if isinstance(found, Flow | AsyncFlow) else found()
    if isinstance(made, Flow):
        _work(made, job)
    elif isinstance(made, AsyncFlow) or inspect.isawaitable(made):
        asyncio.run(_work_async(made, job))
    else:
        checked(made, flow)


def _work(flow: Flow, job: _Job) -> None:
    checked(flow, job.name)
    stop = threading.Event()
    _say_hello(job)

    def one() -> int:
        flow.report_unserved_work()
        return flow.run(_pass(flow, job, stop.is_set))

    try:
        with on_stop(stop.set):
            work_until(stop, one, job.poll_s, _say)
    finally:
        flow.close()


def _pass(flow: Flow | AsyncFlow, job: _Job, stopping: Callable[[], bool]) -> Command[int]:
    most = at_once(job.at_once, flow.store)
    return one_pass(flow.context, flow.capabilities, stopping, job.report, most)


async def _work_async(made: Any, job: _Job) -> None:
    flow = checked(await made if inspect.isawaitable(made) else made, job.name)
    if isinstance(flow, Flow):
        flow.close()
        raise ConfigurationError(f"{job.name} is async and makes a Flow; let it make an AsyncFlow")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    _say_hello(job)
    try:
        with on_stop(lambda: loop.call_soon_threadsafe(stop.set)):
            await _work_until(stop, flow, job)
    finally:
        await flow.close()


async def _work_until(stop: asyncio.Event, flow: AsyncFlow, job: _Job) -> None:
    """`work_until` in a loop in which others may have their turns between two passes."""
    while not stop.is_set():
        found = 0
        try:
            await flow.report_unserved_work()
            found = await flow.run(_pass(flow, job, stop.is_set))
        except StoreError as error:
            if job.poll_s is None:
                raise
            _say(trying_again(error))
        if not found:
            if job.poll_s is None:
                return
            await _wait(stop, job.poll_s)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _say_hello(job: _Job) -> None:
    _say(f"xpay-flow worker for {job.name}, {looking(job.poll_s)}")


def _say(text: str) -> None:
    click.echo(text, err=True)
