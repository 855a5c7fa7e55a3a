"""A flow that only reads cannot be made to write: both type checkers refuse it. Never run.

Each ignore below stands for an error that must be there: where one of the two no longer sees it, it
reports the ignore as unnecessary.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true
from __future__ import annotations

from typing import assert_type

from xpay_flow.drive import Ports, run, run_query
from xpay_flow.effects import (
    Command,
    Commit,
    Query,
    acquire_rate_limit,
    commit,
    count,
    due,
    exchange,
    load,
    new_id,
    now,
    pause,
    run_handler,
)
from xpay_flow.endpoints import Pages, ReadRoute, WebRequest, WebResponse, WriteRoute, route
from xpay_flow.flows import (
    FlowContext,
    PaymentStatus,
    deliver,
    receive_webhook,
    recent_records,
    reconcile,
    status,
)
from xpay_flow.payment import Payment
from xpay_flow.ports import Clock, HttpRequest, Reader
from xpay_flow.records import Change


def reads(x_intent_id: str) -> Query[bool]:
    """What a query may do."""
    records = yield from load(x_intent_id)
    yield from pause(0.5)
    yield from recent_records(10)
    return bool(records) and (yield from now()) > 0


def commits_by_hand(change: Change) -> Query[None]:
    yield Commit(change)  # type: ignore[misc]


def commits(change: Change) -> Query[bool]:
    return (yield from commit(change))  # type: ignore[misc]


def looks_for_work() -> Query[None]:
    yield from due("deliver", 0, 1)  # type: ignore[misc]


def makes_an_id() -> Query[str]:
    return (yield from new_id("pi"))  # type: ignore[misc]


def calls_xpay(request: HttpRequest) -> Query[None]:
    yield from acquire_rate_limit()  # type: ignore[misc]
    yield from exchange(request)  # type: ignore[misc]


def counts() -> Query[None]:
    yield from count("seen")  # type: ignore[misc]


def calls_a_handler(payment: Payment) -> Query[None]:
    yield from run_handler("on_success", payment)  # type: ignore[misc]


def receives(body: bytes, context: FlowContext) -> Query[None]:
    yield from receive_webhook((), body, context)  # type: ignore[misc]


def delivers(context: FlowContext) -> Query[None]:
    yield from deliver(context)  # type: ignore[misc]


def asks(context: FlowContext) -> Query[None]:
    yield from reconcile(context)  # type: ignore[misc]


def writes(change: Change) -> Command[bool]:
    """A command may do what a query may, and write."""
    yield from status("in_1")
    return (yield from commit(change))


def a_reader_runs_queries_only(reader: Reader, clock: Clock, ports: Ports, change: Change) -> None:
    """With nothing but a reader in hand, a command does not get to run."""
    assert_type(run_query(status("in_1"), reader, clock), PaymentStatus)
    assert_type(run(status("in_1"), ports), PaymentStatus)
    assert_type(run(writes(change), ports), bool)
    run_query(writes(change), reader, clock)  # type: ignore[arg-type]


def what_only_asks_is_a_query(
    request: WebRequest,
    context: FlowContext,
    pages: Pages,
    reader: Reader,
    clock: Clock,
    change: Change,
) -> None:
    """The endpoints say which requests need more than a reader."""
    found = route(request, context, pages)
    assert_type(found, ReadRoute | WriteRoute)
    if isinstance(found, ReadRoute):
        assert_type(run_query(found.flow, reader, clock), WebResponse)
    else:
        run_query(found.flow, reader, clock)  # type: ignore[arg-type]


def asks_cannot_hold_a_command(flow: Command[WebResponse]) -> None:
    """Calling a writing flow a question does not make it one."""
    WriteRoute(flow)
    ReadRoute(flow)  # type: ignore[arg-type]
