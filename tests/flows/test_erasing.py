"""Is a customer forgotten? What is personal is erased; ids, totals and marks of copies stay."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from xpay_flow import AsyncFlow, Settings
from xpay_flow import sample_records as b
from xpay_flow.errors import ConfigurationError, InvalidValue, StoreUnavailable, UnknownIntent
from xpay_flow.flows import ErasureResult
from xpay_flow.payment import Payment, UnmatchedEvent
from xpay_flow.ports import HttpRequest, HttpResponse, NoAnswer
from xpay_flow.records import change
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.world import World

from .kit import StoreBehind, paid_order, send_webhook

ADA = {
    "name": "Ada Canary",
    "email": "ada.canary@mail.example",
    "contact_number": "+14155550199",
    "city": "Canarytown",
}
# A payment that another system has begun.
ELSEWHERE: dict[str, Any] = {
    "intentId": "in_elsewhere",
    "status": "SUCCESS",
    "amount": 5,
    "currency": "USD",
    "metadata": {"for": "Canary"},
}
# Whatever of it is found anywhere was not forgotten.
PERSONAL = ("canary", "14155550199", "Canary")


@pytest.fixture(autouse=True)
def _stores_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python 3.13 warns of a connection that is left to the garbage collector."""
    opened: list[SQLiteStore] = []
    usual = SQLiteStore.__init__

    def noted(store: SQLiteStore, *arguments: Any, **options: Any) -> None:
        usual(store, *arguments, **options)
        opened.append(store)

    monkeypatch.setattr(SQLiteStore, "__init__", noted)
    yield
    for store in opened:
        store.close()


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(**_store(request.param, tmp_path))


def _store(kind: str, folder: Path) -> dict[str, Any]:
    return {} if kind == "memory" else {"store": SQLiteStore(folder / "p.db")}


def begin(world: World, receipt_id: str, **options: Any) -> None:
    world.flow.start_checkout(
        receipt_id=receipt_id,
        money=b.PRICE,
        callback_url="https://shop.example/canary",
        customer=ADA,
        description="A canary",
        metadata={"for": "Canary"},
        **options,
    )


def pay(world: World, receipt_id: str) -> str:
    x_intent_id = world.flow.timeline(receipt_id).intent
    assert x_intent_id is not None
    assert x_intent_id.x_intent_id is not None
    world.xpay.pay(x_intent_id.x_intent_id)
    world.deliver_webhooks()
    return x_intent_id.x_intent_id


def bought(world: World, receipt_id: str) -> str:
    begin(world, receipt_id)
    x_intent_id = pay(world, receipt_id)
    world.flow.deliver()
    return x_intent_id


def stored(world: World) -> str:
    """All that the store holds, and whatever could be read of it."""
    whole = "".join(str(attrs.asdict(r)) for r in world.flow.store.recent(100))  # type: ignore[attr-defined]
    if isinstance(world.flow.store, SQLiteStore):
        folder = Path(world.flow.store._path).parent
        whole += "".join(file.read_bytes().decode("latin-1") for file in folder.iterdir())
    return whole


def left_in(text: str) -> list[str]:
    return [part for part in PERSONAL if part in text]


@pytest.mark.parametrize("name", ["receipt", "intent", "x_intent", "e-mail", "customer_id"])
def test_erase_forgets_a_paid_order(world: World, name: str) -> None:
    """By each name nothing personal is left in the store; ids, totals and the state stay."""
    begin(world, "order-1", customer_id="cus_canary")
    x_intent_id = pay(world, "order-1")
    world.flow.deliver()
    before = world.flow.timeline("order-1").intent
    assert before is not None
    names = {"receipt": "order-1", "intent": before.id, "x_intent": x_intent_id}
    names |= {"e-mail": ADA["email"], "customer_id": "cus_canary"}
    (result,) = world.flow.erase(names[name])
    assert (before.id, "order-1", "erased", ()) == (
        result.intent_id,
        result.receipt_id,
        result.outcome,
        result.waits_for,
    )
    assert [] == left_in(stored(world))
    after = world.flow.timeline("order-1").intent
    assert attrs.evolve(before, metadata=(), terms=()) == after
    assert ["erased before"] == [again.outcome for again in world.flow.erase(names["receipt"])]


def test_erase_forgets_every_payment_of_a_customer(world: World) -> None:
    """All orders of an e-mail address are found by it, and no other's."""
    bought(world, "order-1")
    bought(world, "order-2")
    paid_order(world, "order-3")
    results = world.flow.erase(f" {ADA['email']}")
    assert ["order-1", "order-2"] == sorted(str(result.receipt_id) for result in results)
    assert [] == left_in(stored(world))
    with pytest.raises(UnknownIntent):
        world.flow.erase(ADA["email"])


def test_erase_leaves_what_copies_are_known_by(world: World) -> None:
    """A webhook that comes again is a duplicate, a refund counts, and an event keeps no payload."""
    x_intent_id = bought(world, "order-1")
    world.flow.erase("order-1")
    refund = world.xpay.refund(x_intent_id, 500)
    assert refund is not None
    world.deliver_webhooks()
    world.flow.deliver()
    intent = world.flow.timeline("order-1").intent
    assert intent is not None
    assert (500, "partial") == (intent.refunded_minor, intent.refund_status)
    (record,) = world.flow.store.history("order-1") or world.flow.store.history("receipt:order-1")
    assert {""} == {recorded.event.payload for recorded in record.events}
    for recorded in record.events:
        assert recorded.id in intent.evidence


def test_a_handler_that_is_pending_gets_what_it_needs(world: World) -> None:
    """The metadata stay for the call that is pending, and go with the commit that ends it."""
    seen: list[Payment] = []
    world.flow.on_success(seen.append)
    begin(world, "order-1")
    pay(world, "order-1")
    (result,) = world.flow.erase("order-1")
    assert ("due", ("a call of on_success is pending",)) == (result.outcome, result.waits_for)
    world.flow.deliver()
    assert [{"for": "Canary"}] == [payment.metadata for payment in seen]
    assert [] == left_in(stored(world))
    assert ["erased before"] == [again.outcome for again in world.flow.erase("order-1")]
    assert [] == left_in(stored(world))


def test_texts_of_handlers_are_not_kept_of_an_erased_order(world: World) -> None:
    """What a handler raises after the erasure leaves the type of its error only."""

    def refuse(_: Payment) -> None:
        raise LookupError("no parcel for Ada Canary")

    world.flow.on_success(refuse)
    begin(world, "order-1")
    pay(world, "order-1")
    world.flow.deliver()
    assert "LookupError: no parcel for Ada Canary" in str(world.flow.timeline("order-1"))
    world.flow.erase("order-1")
    world.clock.advance(3600)
    world.flow.deliver()
    shown = str(world.flow.timeline("order-1"))
    assert "LookupError" in shown
    assert "Ada" not in shown


class Silent:
    """xPay does not answer."""

    def send(self, request: HttpRequest) -> HttpResponse:
        raise NoAnswer("silence")


def test_an_unanswered_creation_is_erased_when_it_is_answered(world: World) -> None:
    """The request is needed to repeat it; the commit that knows the answer erases it."""
    answering, world.flow.ports.transport = world.flow.ports.transport, Silent()
    with pytest.raises(Exception, match="did not answer"):
        begin(world, "order-1")
    (result,) = world.flow.erase("order-1")
    assert "due" == result.outcome
    assert "xPay has not answered the creation" in result.waits_for[0]
    world.flow.ports.transport = answering
    begin(world, "order-1")
    (result,) = world.flow.erase("order-1")
    assert ("due", ("the customer can still pay, or xPay has not named the amount",)) == (
        result.outcome,
        result.waits_for,
    )
    pay(world, "order-1")
    world.flow.deliver()
    assert "erased before" == world.flow.erase("order-1")[0].outcome
    assert [] == left_in(stored(world))


def test_a_payment_that_is_never_made_is_erased_when_no_question_is_left(world: World) -> None:
    """When the last question about an open payment is sent, what it still needed goes."""
    begin(world, "order-1")
    assert "due" == world.flow.erase("order-1")[0].outcome
    for _ in range(60):
        world.clock.advance(10 * 86_400)
        world.flow.reconcile()
        world.flow.deliver()
    assert "erased before" == world.flow.erase("order-1")[0].outcome
    assert [] == left_in(stored(world))


def test_purge_goes_by_age(world: World) -> None:
    """What is older is erased, of payments and of unmatched events; what is younger stays."""
    bought(world, "order-1")
    send_webhook(world, "intent.success", **ELSEWHERE)
    world.clock.advance(86_400)
    world.flow.deliver()
    bought(world, "order-2")
    result = world.flow.purge(timedelta(hours=12))
    assert (2, ()) == (result.erased, result.due)
    assert ["order-2"] == [str(r.receipt_id) for r in world.flow.erase(ADA["email"])]
    assert [] == left_in(stored(world))
    again = world.flow.purge(timedelta(hours=12))
    assert (0, ()) == (again.erased, again.due)


def test_an_unmatched_event_is_erased_after_its_call(world: World) -> None:
    """What `on_unmatched` is about stays until it was called, and then goes by itself."""
    seen: list[UnmatchedEvent] = []
    world.flow.on_unmatched(seen.append)
    send_webhook(world, "intent.success", **ELSEWHERE)
    world.clock.advance(10)
    result = world.flow.purge(timedelta(seconds=5))
    assert [("a call of on_unmatched is pending",)] == [due.waits_for for due in result.due]
    world.clock.advance(86_400)
    world.flow.deliver()
    assert ["Canary"] == ["Canary" for event in seen if "Canary" in event.payload]
    world.flow.store.scrub()  # type: ignore[attr-defined]
    assert [] == left_in(stored(world))


@pytest.mark.parametrize("seconds", [0, -1])
def test_purge_refuses_an_age_that_is_none(world: World, seconds: int) -> None:
    """Everything would be erased, of which some is a minute old."""
    with pytest.raises(InvalidValue, match="age"):
        world.flow.purge(timedelta(seconds=seconds))


def test_erase_refuses_what_belongs_to_another_account(world: World) -> None:
    """The error names whose it is, and nothing is erased."""
    step = b.attempt("order-9", realm="live/other")
    world.flow.store.commit(step)
    with pytest.raises(InvalidValue, match="live/other"):
        world.flow.erase("order-9")
    assert [step.record] == list(world.flow.store.history(step.record.key))


def test_erase_names_what_is_not_known(world: World) -> None:
    """A name under which nothing is filed is an error, so that a typing error is seen."""
    with pytest.raises(UnknownIntent, match="order-7"):
        world.flow.erase("order-7")


def test_erase_needs_a_store_that_can() -> None:
    """A store without the capability is named, before anything was changed."""

    class Plain(StoreBehind):
        """It keeps records, and can do no more."""

    world = World(store=Plain(MemoryStore()))
    paid_order(world, "order-1")
    with pytest.raises(ConfigurationError, match="no method"):
        world.flow.erase("order-1")


def test_erase_goes_on_where_it_was_cut(world: World) -> None:
    """A crash after any of its steps is healed by erasing again."""
    bought(world, "order-1")

    class Failing(StoreBehind):
        """Fails once, between the commit and the payloads."""

        def blank_payloads(self, key: str) -> None:
            raise StoreUnavailable("gone")

        def scrub(self) -> None:
            """It is not reached."""

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    right = world.flow.ports.store
    world.flow.ports.store = Failing(right)
    with pytest.raises(StoreUnavailable):
        world.flow.erase("order-1")
    world.flow.ports.store = right
    world.flow.erase("order-1")
    assert [] == left_in(stored(world))


def test_nothing_is_readable_after_any_crash_of_a_process(tmp_path: Path) -> None:
    """In the file of a process that never closed it, nothing is left after the erasure."""
    world = World(store=SQLiteStore(tmp_path / "p.db"))
    for n in range(30):
        begin(world, f"order-{n}")
        pay(world, f"order-{n}")
    world.flow.deliver()
    assert left_in(stored(world))
    world.flow.erase(ADA["email"])
    assert [] == left_in(stored(world))
    assert 0 == (tmp_path / "p.db-wal").stat().st_size


def test_scrub_waits_for_readers_and_then_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that reads all the time keeps the log; the error says what can be left."""
    monkeypatch.setattr("xpay_flow.stores.sqlite.WAIT_S", 0.01)
    store = SQLiteStore(tmp_path / "p.db")
    store.commit(b.attempt())
    reader = sqlite3.connect(tmp_path / "p.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM intents").fetchall()
    store.commit(b.attempt("order-2"))
    with pytest.raises(StoreUnavailable, match="run this again"):
        store.scrub()
    reader.close()
    store.scrub()
    store.close()


def test_async_flow_erases_alike(tmp_path: Path) -> None:
    """`AsyncFlow` has the same words."""
    world = World(store=SQLiteStore(tmp_path / "p.db"))
    bought(world, "order-1")
    bought(world, "order-2")
    settings: Settings = world.settings

    async def erase() -> tuple[ErasureResult, ...]:
        flow = AsyncFlow(SQLiteStore(tmp_path / "p.db"), settings, background=False)
        results = await flow.erase("order-1")
        with pytest.raises(InvalidValue):
            await flow.purge(timedelta())
        await flow.purge(timedelta(microseconds=1))
        await flow.close()
        return results

    (result,) = asyncio.run(erase())
    assert "erased" == result.outcome
    assert [] == left_in(stored(world))


def test_an_erased_record_writes_nothing_personal_down() -> None:
    """Whatever a flow adds to an erased record, the change that a store gets is clean."""
    whole = b.history(b.created(), b.paid())[-1].record
    done = attrs.evolve(whole, outbox=(), erased="due")
    erased = change(done, done).record
    assert "done" == erased.erased
    step = b.next_change(erased, b.refunded(), b.failed(payload='{"name":"Ada"}'))
    assert "Ada" not in str(attrs.asdict(step))
