"""That the tests on time limits find the faults that they are there for."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

from xpay_flow.call_threads import Call
from xpay_flow.calls import Calls
from xpay_flow.flows import outbox

from . import test_calls, test_handler_timeout


@pytest.fixture
def let_go() -> Generator[threading.Event, None, None]:
    event = threading.Event()
    yield event
    event.set()


def test_a_left_handler_whose_transaction_still_commits_is_found(
    let_go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: a call that was left may end as a success."""
    monkeypatch.setattr(Call, "may_end", lambda self: True)
    with pytest.raises(AssertionError):
        test_handler_timeout.test_a_left_handler_does_not_commit_on_any_store(let_go)


def test_overlapping_calls_for_one_payment_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: every slot is free."""
    monkeypatch.setattr(Calls, "take", lambda *_: "mine")
    monkeypatch.setattr(test_calls, "DEADLINE_S", 0.5)
    with pytest.raises(AssertionError):
        test_calls.test_calls_for_one_payment_do_not_overlap_in_a_process(True)


def test_a_suspect_that_is_called_beside_others_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a call that was cut short is made again like any other, and takes neighbours."""
    delivered = outbox._delivered

    def never_alone(key: str, context: Any, capabilities: Any, alone: bool) -> Any:
        return delivered(key, context, capabilities, True)

    monkeypatch.setattr(outbox, "_delivered", never_alone)
    with pytest.raises(AssertionError):
        test_calls.test_a_call_that_was_cut_short_is_made_alone()
