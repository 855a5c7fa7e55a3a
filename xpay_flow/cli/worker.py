"""`xpay-flow worker`: calls the handlers that are owed, and asks xPay about open payments.

Any number of workers may run on one store; a job is claimed in the store. A worker that is told to
stop finishes the job it is at. One that is killed leaves a claim that runs out, or, where the store
holds records by locks, a job that is free at once.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from xpay_flow import Asked, AsyncFlow, ConfigurationError, Delivered, Flow, StoreError
from xpay_flow.effects import Command
from xpay_flow.flow import POLL_S
from xpay_flow.flows import Rules, Unworkable
from xpay_flow.flows.outbox import Means, deliver_record, left_behind
from xpay_flow.flows.passes import work_on, work_through
from xpay_flow.flows.reconcile import ask_record
from xpay_flow.records import Work

from .loading import checked, find_flow
from .needs import click
from .stopping import on_stop

# Keys read at once; the next pass reads the next ones.
BATCH = 100

Result = Delivered | Asked | Unworkable
_Do = Callable[[str], Command[Sequence[Result]]]


@attrs.frozen(kw_only=True)
class _Job:
    """How to work."""

    name: str
    once: bool
    poll_s: float
    tell: Callable[[Result], None]


@click.command(short_help="Call owed handlers, ask about open payments.")
@click.argument("flow", metavar="MODULE:FLOW")
@click.option("--once", is_flag=True, help="Do what is due now, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print each result as a line of JSON.")
@click.option(
    "--poll",
    "poll_s",
    type=click.FloatRange(0.05, 3600),
    default=POLL_S,
    show_default=True,
    help="Seconds between looks for work.",
)
def worker(flow: str, once: bool, as_json: bool, poll_s: float) -> None:
    """Call the handlers that are owed and ask xPay about open payments, until stopped.

    MODULE:FLOW is your Flow or AsyncFlow, or a function that makes one.
    """
    job = _Job(name=flow, once=once, poll_s=poll_s, tell=_tell_json if as_json else _tell)
    found = find_flow(flow)
    made = found if isinstance(found, Flow | AsyncFlow) else found()
    if isinstance(made, Flow):
        _work(made, job)
    elif isinstance(made, AsyncFlow) or inspect.isawaitable(made):
        asyncio.run(_work_async(made, job))
    else:
        checked(made, flow)


def one_pass(
    rules: Rules, means: Means, stopping: Callable[[], bool], tell: Callable[[Result], None]
) -> Command[int]:
    """Everything that is due now, one job after the other; how many results there were.

    What asking has made owed is delivered in the same pass.
    """

    def deliver_one(key: str) -> Command[Sequence[Result]]:
        return told((yield from deliver_record(key, rules, means)))

    def ask_one(key: str) -> Command[Sequence[Result]]:
        return told((yield from ask_record(key, rules)))

    def told(found: Sequence[Result]) -> Sequence[Result]:
        for result in found:
            tell(result)
        return found

    def counted(done: Sequence[Result]) -> int:
        told([result for result in done if isinstance(result, Unworkable)])
        return sum(not isinstance(result, Unworkable) for result in done)

    results = 0
    if means.holds:
        keys = yield from left_behind(BATCH)
        results += counted((yield from work_on("deliver", keys, deliver_one, stopping=stopping)))
    steps: tuple[tuple[Work, _Do], ...] = (
        ("deliver", deliver_one),
        ("ask", ask_one),
        ("deliver", deliver_one),
    )
    for work, do in steps:
        results += counted((yield from work_through(work, do, BATCH, stopping=stopping)))
    return results


def _work(flow: Flow, job: _Job) -> None:
    checked(flow, job.name)
    stop = threading.Event()
    _say_hello(job)
    try:
        with on_stop(stop.set):
            while not stop.is_set():
                found = 0
                try:
                    found = flow.run(one_pass(flow.rules, flow.means, stop.is_set, job.tell))
                except StoreError as error:
                    _or_raise(error, job)
                if job.once:
                    return
                if not found:
                    stop.wait(job.poll_s)
    finally:
        flow.close()


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
            while not stop.is_set():
                found = 0
                try:
                    found = await flow.run(one_pass(flow.rules, flow.means, stop.is_set, job.tell))
                except StoreError as error:
                    _or_raise(error, job)
                if job.once:
                    return
                if not found:
                    await _wait(stop, job.poll_s)
    finally:
        await flow.close()


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _say_hello(job: _Job) -> None:
    how = "once" if job.once else f"every {job.poll_s:g} s; Ctrl+C ends it"
    click.echo(f"xpay-flow worker for {job.name}, looking {how}", err=True)


def _or_raise(error: StoreError, job: _Job) -> None:
    """A store that is away for a while is no reason to end; what is due stays due."""
    if job.once:
        raise error
    click.echo(f"the store failed, trying again: {error}", err=True)


def _tell(result: Result) -> None:
    at = time.strftime("%H:%M:%S")
    if isinstance(result, Delivered):
        why = f" ({result.error})" if result.error else ""
        click.echo(f"{at} {result.name} for {result.intent_id}: {result.outcome}{why}")
    elif isinstance(result, Unworkable):
        click.echo(f"{at} {result.work} of {result.key} failed, and stays due: {result.error}")
    else:
        state = f", state {result.state}" if result.state else ""
        about = result.intent_id or result.key
        click.echo(f"{at} asked about {about}: {result.outcome}{state}")


def _tell_json(result: Result) -> None:
    kinds = {Delivered: "delivered", Asked: "asked", Unworkable: "unworkable"}
    line = {
        "kind": kinds[type(result)],
        "at_ms": time.time_ns() // 1_000_000,
        **attrs.asdict(result),
    }
    click.echo(json.dumps(line))
