"""A handler is called twice under one key, and cut at each of its lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from xpay_flow import AsyncFlow, Flow, Settings
from xpay_flow.checker import check
from xpay_flow.checker.bounds import DEFAULT, HANDLERS
from xpay_flow.checker.verdict import Result
from xpay_flow.payment import Payment
from xpay_flow.stores.memory import MemoryStore

BOUND = attrs.evolve(DEFAULT, faults=0, scenes=(HANDLERS,))
PROMISE = "handlers_can_be_repeated"

ORDERS: dict[str, str] = {}
MAILS: list[str] = []


class Shop:
    """Orders as an object of the shop's own."""

    def __init__(self) -> None:
        self.paid: set[str] = set()
        self.count = 0


SHOP = Shop()


def loses_the_mail(payment: Payment) -> None:
    """Notes that it is paid, and then sends the mail: a death between the two loses the mail."""
    if ORDERS.get(payment.receipt_id) == "paid":
        return
    ORDERS[payment.receipt_id] = "paid"
    MAILS.append(payment.receipt_id)


def counts_twice(payment: Payment) -> None:
    """Does the same once more when it is called again."""
    SHOP.count += 1


def fails_again(payment: Payment) -> None:
    """Is not prepared to find its own work."""
    if payment.idempotency_key in SHOP.paid:
        raise ValueError("paid already")
    SHOP.paid.add(payment.idempotency_key)


def undoes_in_finally(payment: Payment) -> None:
    """Relies on `finally`, which a process that dies does not run."""
    if "lock" in ORDERS:
        raise RuntimeError("locked")
    ORDERS["lock"] = "taken"
    try:
        SHOP.paid.add(payment.idempotency_key)
    finally:
        del ORDERS["lock"]


async def loses_the_mail_awaiting(payment: Payment) -> None:
    """The same as a coroutine."""
    loses_the_mail(payment)


def is_right(payment: Payment) -> None:
    """Each step is one that can be made again."""
    if payment.receipt_id not in MAILS:
        MAILS.append(payment.receipt_id)
    SHOP.paid.add(payment.idempotency_key)
    ORDERS[payment.receipt_id] = "paid"


def nothing(payment: Payment) -> None: ...


async def nothing_awaited(payment: Payment) -> None: ...


def checked(handler: Callable[[Payment], Any], *without: str) -> Result:
    ORDERS.clear()
    MAILS.clear()
    SHOP.paid.clear()
    SHOP.count = 0
    kind: Any = AsyncFlow if inspect.iscoroutinefunction(handler) else Flow
    flow = kind(MemoryStore(), Settings.sandbox(), background=False)
    for register in (flow.on_failed, flow.on_refunded, flow.on_attention):
        register(nothing if kind is Flow else nothing_awaited)
    flow.on_success(handler)
    return check(flow, BOUND, without=without)


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (loses_the_mail, "test_checker_repeating.MAILS than in one go"),
        (loses_the_mail_awaiting, "test_checker_repeating.MAILS than in one go"),
        (counts_twice, "test_checker_repeating.SHOP twice"),
        (fails_again, "called again under the same key, it fails: ValueError: paid already"),
        (undoes_in_finally, "called again, it fails: RuntimeError: locked"),
    ],
)
def test_a_handler_that_cannot_be_repeated_is_found(handler: Any, why: str) -> None:
    """A call that comes again after a death must leave what one call leaves."""
    violation = checked(handler).violation
    assert violation is not None
    assert (PROMISE, 0, True) == (violation.promise, violation.faults, violation.confirmed)
    assert why in violation.sentence


def test_the_line_of_the_death_is_named() -> None:
    """The sentence names the line before which the process died."""
    violation = checked(loses_the_mail).violation
    assert violation is not None
    line = loses_the_mail.__code__.co_firstlineno + 5
    assert f"test_checker_repeating.py:{line} in loses_the_mail" in violation.sentence


def test_a_handler_that_can_be_repeated_is_right() -> None:
    """Steps that can be made again raise no alarm, and what they left is put back after a trial."""
    result = checked(is_right)
    assert "EXHAUSTED" == result.verdict, result.as_text()


def test_the_promise_can_be_left_out() -> None:
    """A shop may say that it does not need it, and the verdict repeats that."""
    result = checked(loses_the_mail, PROMISE)
    assert ("EXHAUSTED", (PROMISE,)) == (result.verdict, result.without)


def test_a_handler_that_raises_is_named_with_its_error() -> None:
    """A dead end that a handler makes by raising shows what it raised, and where."""

    def fulfil(payment: Payment) -> None:
        raise RuntimeError("the printer is gone")

    violation = checked(fulfil).violation
    assert violation is not None
    line = fulfil.__code__.co_firstlineno + 1
    raised = "on_success raised RuntimeError: the printer is gone at "
    assert raised in violation.as_text()
    assert f"test_checker_repeating.py:{line} in fulfil" in violation.as_text()


def test_a_missing_handler_is_named_with_the_cure() -> None:
    """A dead end for want of a handler shows how to add it."""
    flow = Flow(MemoryStore(), Settings.sandbox(), background=False)
    violation = check(flow, BOUND).violation
    assert violation is not None
    assert "on_success is missing: register one, @flow.on_success" in violation.as_text()


def test_lines_that_run_are_still_collected() -> None:
    """The trials leave the account of lines that never ran alone."""
    assert not any("not collected" in line for line in checked(is_right).never_run)
