"""What the checker finds in shops that are written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from xpay_flow.checker.bounds import DEFAULT, EVENTS, HANDLERS, SUPERSEDED, Scene
from xpay_flow.checker.parked import release_threads
from xpay_flow.checker.plain import PlainPorts
from xpay_flow.checker.shop import Shop, response_of
from xpay_flow.checker.verdict import Result
from xpay_flow.checker.verify import check
from xpay_flow.endpoints import WebRequest, json_response
from xpay_flow.errors import ConfigurationError

from . import plain_shops as shops

BOTH = pytest.mark.parametrize("made", [lambda f: f, shops.blocking], ids=["awaiting", "blocking"])
Made = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    yield
    release_threads()


def checked(webhook: Any, scene: Scene, faults: int, *without: str) -> Result:
    shop = Shop.plain(webhook=webhook)
    bound = attrs.evolve(DEFAULT, faults=faults, scenes=(shop.fitted(scene),))
    return check(shop, bound, without=without)


@BOTH
@pytest.mark.parametrize("scene", [EVENTS, HANDLERS, SUPERSEDED], ids=lambda scene: scene.name)
def test_a_correct_shop_without_flows_is_exhausted(made: Made, scene: Scene) -> None:
    """A webhook written by hand that reads, decides, compares and sets, and claims is right."""
    # What is flawed it refuses, however often it comes.
    result = checked(made(shops.correct), scene, 1, "events_are_acknowledged")
    assert "EXHAUSTED" == result.verdict, result.as_text()
    assert result.searched[0].states > 10


@BOTH
@pytest.mark.parametrize(
    ("webhook", "scene", "promise", "faults"),
    [
        (shops.get_then_put, EVENTS, "order_does_not_matter", 0),
        (shops.dedupes_first, HANDLERS, "never_stuck", 1),
        (shops.answers_first, SUPERSEDED, "recorded_once", 0),
        (shops.locks_for_ever, HANDLERS, "never_stuck", 1),
        (shops.last_word_wins, SUPERSEDED, "order_does_not_matter", 0),
    ],
)
def test_a_classic_mistake_is_found(
    made: Made, webhook: Any, scene: Scene, promise: str, faults: int
) -> None:
    """A classic mistake breaks its promise, with as many faults as it needs and not with fewer."""
    found = checked(made(webhook), scene, faults).violation
    assert found is not None
    assert (promise, faults) == (found.promise, found.faults), found.as_text()
    assert found.confirmed
    if faults:
        assert "EXHAUSTED" == checked(made(webhook), scene, faults - 1).verdict


def test_a_party_that_is_none_does_not_exist() -> None:
    """A shop without a worker has to fulfil orders in its webhook."""
    shop = Shop.plain(webhook=shops.correct)
    assert {"send_to_checkout", "worker", "reconciler"} == shop.absent
    fitted = shop.fitted(HANDLERS)
    assert {"webhook": 1, "worker": 0} == dict(fitted.parties)
    assert fitted.delivers


async def only_records(request: WebRequest, ports: PlainPorts) -> int:
    """Records the event, and leaves the rest to a worker."""
    event = shops.event_of(request)
    found = await shops.load_order(event, ports) if event else []
    if (status := shops.refused(event, found)) is not None or event is None:
        return status or 401
    record = found[0]
    after = shops.with_news(record, event, ports.clock.now_ms())
    if shops.knows(record, event) or await ports.store.commit(shops.change(record, after)):
        return 200
    return 503


def works_off(ports: PlainPorts) -> None:
    """A worker of the shop's own: claim, call, settle."""
    for key in ports.store.due("deliver", ports.clock.now_ms(), 10):
        record = ports.store.history(key)[0]
        entry, now_ms = record.outbox[0], ports.clock.now_ms()
        if entry.status == "done" or entry.next_at_ms > now_ms:
            continue
        claimed = attrs.evolve(entry, next_at_ms=now_ms + shops.LEASE_MS)
        if ports.store.commit(shops.change(record, record.with_entry(claimed))):
            ports.handlers.on_success(shops.payment(record))
            record = ports.store.history(key)[0]
            done = attrs.evolve(record.outbox[0], status="done")
            ports.store.commit(shops.change(record, record.with_entry(done)))


def test_a_plain_worker_takes_part() -> None:
    """With a worker of its own a shop need only record; without one it gets stuck."""
    bound = attrs.evolve(DEFAULT, faults=1, scenes=(HANDLERS,))
    worker = Shop.plain(webhook=only_records, deliver=works_off)
    assert "EXHAUSTED" == check(worker, bound).verdict
    found = checked(only_records, HANDLERS, 0).violation
    assert found is not None
    assert "never_stuck" == found.promise


@pytest.mark.parametrize(
    ("status", "returned"),
    [
        (200, None),
        (200, {"received": True}),
        (202, 202),
        (201, ("made", 201)),
        (503, json_response(503, {})),
        (404, type("Framework", (), {"status_code": 404})()),
    ],
)
def test_what_an_endpoint_may_return(status: int, returned: object) -> None:
    """A status is found in whatever a framework takes for an answer."""
    assert status == response_of(returned).status


def test_an_answer_without_a_status_is_refused() -> None:
    """A return value that no framework could send is an error that names what to return."""
    with pytest.raises(ConfigurationError, match="return a status such as 200"):
        response_of(object())
