"""That a handler that fails, and a webhook that is refused, leave a line in the log."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from xpay_flow.errors import UntrustedMessage
from xpay_flow.flow import AsyncFlow
from xpay_flow.payment import Payment
from xpay_flow.ports import HandlerRolledBack
from xpay_flow.refusal_log import RefusalLog
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import AsyncManualClock, World

from .kit import paid_order, quiet_world

HANDLERS = "xpay_flow.handlers"
WEBHOOKS = "xpay_flow.webhooks"


def reach_into_the_stock(payment: Payment, *_: Any) -> None:
    raise LookupError(f"no stock for {payment.receipt_id}")


ADDRESS = "nobody@mail.example"


def errors_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == HANDLERS]


def test_run_handler_logs_what_a_handler_raised(caplog: pytest.LogCaptureFixture) -> None:
    """One ERROR with handler, intent, attempt, time of the next one, and the traceback."""
    world = World(retry_schedule_s=(60,))
    world.flow.on_success(reach_into_the_stock)
    paid_order(world, "order-42")
    world.flow.deliver()
    (record,) = errors_in(caplog)
    assert logging.ERROR == record.levelno
    line = record.getMessage()
    assert "on_success for pi_1 failed at attempt 1, next attempt at " in line
    assert "LookupError: no stock for order-42" in line
    assert "reach_into_the_stock" in caplog.text
    assert "Traceback" in caplog.text


def test_run_handler_masks_what_a_handler_raised(caplog: pytest.LogCaptureFixture) -> None:
    """No e-mail address is in the line, in the traceback, in the causes, or in the store."""

    def refuse(_: Payment) -> None:
        try:
            raise LookupError(f"{ADDRESS} is unknown")
        except LookupError as error:
            raise ValueError(f"no mail to {ADDRESS}") from error

    world = World(retry_schedule_s=(60,))
    world.flow.on_success(refuse)
    paid_order(world, "order-42")
    world.flow.deliver()
    (record,) = errors_in(caplog)
    assert "ValueError: no mail to […]" in caplog.text
    assert ADDRESS not in caplog.text + str(record.exc_info) + repr(vars(record))
    assert ADDRESS not in str(world.flow.timeline("order-42").to_json())


def test_run_handler_logs_the_time_at_which_it_is_due_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The time in the line is the one in the store."""
    world = World(retry_schedule_s=(60,))
    world.flow.on_success(reach_into_the_stock)
    paid_order(world, "order-42")
    world.flow.deliver()
    (entry,) = world.flow.store.history("receipt:order-42")[0].outbox
    (record,) = errors_in(caplog)
    assert world.clock.now_ms() + 60_000 == entry.next_at_ms
    due = datetime.fromtimestamp(entry.next_at_ms // 1000, UTC)
    assert f"next attempt at {due:%Y-%m-%dT%H:%M:%SZ}" in record.getMessage()


def test_run_handler_logs_that_it_gives_up(caplog: pytest.LogCaptureFixture) -> None:
    """The last attempt names no next one."""
    world = World(retry_schedule_s=(60,))
    world.flow.on_success(reach_into_the_stock)
    paid_order(world, "order-42")
    world.flow.deliver()
    world.advance(60)
    world.flow.deliver()
    last = errors_in(caplog)[-1].getMessage()
    assert "on_success for pi_1 failed at attempt 2, given up: LookupError" in last


def test_arun_handler_logs_what_a_coroutine_raised(caplog: pytest.LogCaptureFixture) -> None:
    """An AsyncFlow leaves the same line."""
    world = World()
    paid_order(world, "order-42")
    flow = AsyncFlow(
        world.flow.store,
        world.settings,
        transport=object(),  # type: ignore[arg-type]
        clock=AsyncManualClock(world.clock),
        background=False,
    )

    async def fulfil(payment: Payment) -> None:
        reach_into_the_stock(payment)

    flow.on_success(fulfil)
    asyncio.run(flow.deliver())
    (record,) = errors_in(caplog)
    assert "on_success for pi_1 failed at attempt 1" in record.getMessage()
    assert "reach_into_the_stock" in caplog.text


def test_run_in_transaction_logs_what_a_handler_raised_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The traceback is the handler's, though its transaction was rolled back in between."""
    world = World(SQLiteStore(tmp_path / "payments.db"))
    world.flow.on_success(transactional=True)(reach_into_the_stock)
    paid_order(world, "order-42")
    world.flow.deliver()
    world.flow.close()
    (record,) = errors_in(caplog)
    assert "on_success for pi_1 failed at attempt 1" in record.getMessage()
    assert "reach_into_the_stock" in caplog.text


def test_run_in_transaction_logs_what_the_store_refused(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Where a handler has spoilt the transaction, the store's reason is in the log."""
    store = SQLiteStore(tmp_path / "payments.db")

    def refuses(*_: Any) -> bool:
        raise HandlerRolledBack("the handler committed by itself")

    store.commit_with = refuses  # type: ignore[method-assign]
    world = World(store)
    world.flow.on_success(transactional=True)(lambda payment, transaction: None)
    paid_order(world, "order-42")
    world.flow.deliver()
    world.flow.close()
    (record,) = errors_in(caplog)
    assert "the handler committed by itself" in record.getMessage()


def test_a_handler_that_succeeds_leaves_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """The log has errors only."""
    world = World()
    paid_order(world, "order-42")
    world.flow.deliver()
    assert [] == errors_in(caplog)


# --- refused webhooks ----------------------------------------------------------------------------


def test_receive_webhook_warns_once_a_minute_for_each_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A flood of forgeries is one line, with the number of the others in the next one."""
    world = quiet_world()
    for _ in range(5):
        with pytest.raises(UntrustedMessage):
            world.flow.receive_webhook({}, b"{}")
    world.advance(60)
    with pytest.raises(UntrustedMessage):
        world.flow.receive_webhook({}, b"{}")
    lines = [record.getMessage() for record in caplog.records if record.name == WEBHOOKS]
    assert 2 == len(lines)
    assert lines[1].endswith("(4 more since the last such line)")
    assert 6 == sum(
        times for name, times in world.flow.counters.items() if name.startswith("webhook.refused.")
    )


def test_refusal_log_keeps_reasons_apart(caplog: pytest.LogCaptureFixture) -> None:
    """One reason does not silence another, and a clock set back silences none."""
    refusals = RefusalLog()
    for reason, now_ms in (("a", 60_000), ("b", 60_001), ("a", 60_002), ("a", 59_000)):
        refusals.add(reason, now_ms)
    lines = [record.getMessage() for record in caplog.records if record.name == WEBHOOKS]
    assert [
        "a webhook was refused: a",
        "a webhook was refused: b",
        "a webhook was refused: a (1 more since the last such line)",
    ] == lines
