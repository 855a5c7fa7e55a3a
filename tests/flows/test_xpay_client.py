"""That the client's calls reach xPay as documented, and that each answer ends in one value.

Each test runs twice: over `Flow` and over `AsyncFlow`.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from xpay_flow import messages, xpay_api
from xpay_flow.errors import InvalidValue, OutcomeUnknown, XPayRefused
from xpay_flow.ports import NoAnswer
from xpay_flow.sandbox import ApiFault, FaultPlan
from xpay_flow.testing.world import World
from xpay_flow.wire import RefundAnswer
from xpay_flow.xpay_client import AsyncXPayClient, XPayClient

from .kit import UNHURRIED, ScriptedTransport, answer, error, scripted

REFUND_PATH = "/payments/merchant/refund"


class Awaited:
    """The asynchronous client, whose methods a test may call without awaiting."""

    def __init__(self, world: World) -> None:
        async def run(flow: Any) -> Any:
            return world.flow.run(flow)

        self._client = AsyncXPayClient(run, world.settings)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._client, name)
        assert inspect.iscoroutinefunction(member)

        def called(*args: Any, **options: Any) -> Any:
            call = member(*args, **options)
            try:
                call.send(None)
            except StopIteration as end:
                return end.value
            raise AssertionError("nothing here waits")

        return called


@pytest.fixture
def world() -> World:
    return World(config=UNHURRIED)


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, world: World) -> Any:
    return XPayClient(world.flow.run, world.settings) if request.param == "sync" else Awaited(world)


@pytest.fixture
def transport(world: World) -> ScriptedTransport:
    return scripted(world)


def paid(world: World) -> str:
    x_intent_id = world.start_checkout().x_intent_id or ""
    world.xpay.pay(x_intent_id)
    return x_intent_id


def break_calls(world: World, fault: Any, **options: Any) -> None:
    rule = ApiFault(fault=fault, path=REFUND_PATH, times=1, **options)
    world.xpay.set_faults(FaultPlan(api=(rule,)))


def test_both_clients_have_the_same_methods() -> None:
    """With the same arguments and answers, so that no program learns them twice."""

    def methods(client: type) -> dict[str, inspect.Signature]:
        functions = inspect.getmembers(client, inspect.isfunction)
        return {name: inspect.signature(f) for name, f in functions if not name.startswith("_")}

    assert methods(XPayClient) == methods(AsyncXPayClient)


def test_refund_names_its_amount_as_text_and_carries_its_key(
    world: World, client: Any, transport: ScriptedTransport
) -> None:
    """ "The amount is a string"; blank it would mean the whole payment."""
    x_intent_id = paid(world)
    refund = client.refund(x_intent_id, 500, "key-1")
    assert (x_intent_id, 500, "USD") == (refund.x_intent_id, refund.amount_minor, refund.currency)
    sent = transport.requests[-1]
    assert ("POST", "key-1") == (sent.method, sent.headers[messages.IDEMPOTENCY_HEADER])
    assert {"xIntentId": x_intent_id, "amount": "500"} == json.loads(sent.body)
    assert 500 == world.xpay.intent(x_intent_id).refunded_minor


def test_refund_repeated_under_its_key_is_one_refund(
    world: World, client: Any, transport: ScriptedTransport
) -> None:
    """The same bytes and key find the refund; another key makes another."""
    x_intent_id = paid(world)
    first = client.refund(x_intent_id, 500, "key-1")
    assert first == client.refund(x_intent_id, 500, "key-1")
    assert 1 == len({request.body for request in transport.requests[-2:]})
    second = client.refund(x_intent_id, 500, "key-2")
    assert (first, second) == client.refunds(x_intent_id)
    assert first == client.get_refund(first.refund_id)


def test_a_refund_whose_answer_is_lost_may_be_repeated_under_its_key(
    world: World, client: Any
) -> None:
    """No answer leaves the key unused, as far as is known: the repeat finds what was made."""
    x_intent_id = paid(world)
    break_calls(world, "lose_answer")
    with pytest.raises(OutcomeUnknown) as caught:
        client.refund(x_intent_id, 500, "key-1")
    assert not caught.value.answered
    assert 500 == client.refund(x_intent_id, 500, "key-1").amount_minor
    assert 500 == world.xpay.intent(x_intent_id).refunded_minor


@pytest.mark.parametrize("took_effect", [True, False])
def test_a_refund_that_was_answered_with_500_has_used_up_its_key(
    world: World, client: Any, took_effect: bool
) -> None:
    """xPay replays the error for a day, so only the list shows whether it was made."""
    x_intent_id = paid(world)
    break_calls(world, "error_json", took_effect=took_effect)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown) as caught:
            client.refund(x_intent_id, 500, "key-1")
        assert caught.value.answered
    assert [500] * took_effect == [r.amount_minor for r in client.refunds(x_intent_id)]


@pytest.mark.parametrize(
    "passing",
    [
        error(409, "conflict"),
        error(429, messages.RATE_LIMIT_EXCEEDED),
        error(400, messages.BAD_REQUEST, "A request with this Idempotency-Key is in progress"),
        answer(403, b"<html>a firewall's page</html>"),
        NoAnswer("the line is dead"),
    ],
    ids=["conflict", "rate", "progress", "firewall", "silence"],
)
def test_what_does_not_use_up_the_key_of_a_refund(
    world: World, client: Any, transport: ScriptedTransport, passing: Any
) -> None:
    """The same request may be sent again under the same key."""
    x_intent_id = paid(world)
    transport.then(passing)
    with pytest.raises(OutcomeUnknown) as caught:
        client.refund(x_intent_id, 500, "key-1")
    assert not caught.value.answered
    assert 500 == client.refund(x_intent_id, 500, "key-1").amount_minor


def test_a_refused_refund(world: World, client: Any) -> None:
    """More than is left, and an unpaid intent, are definite errors: nothing was given back."""
    x_intent_id = paid(world)
    for refused, amount_minor in ((x_intent_id, 2000), (world.start_checkout("2").x_intent_id, 1)):
        with pytest.raises(XPayRefused):
            client.refund(refused, amount_minor, f"key-{amount_minor}")
    assert () == client.refunds(x_intent_id)


@pytest.mark.parametrize("amount_minor", [0, -1, None, "500", 5.0, True])
def test_a_refund_without_a_whole_amount_is_not_sent(
    client: Any, transport: ScriptedTransport, amount_minor: Any
) -> None:
    """A blank amount is the whole payment to xPay."""
    with pytest.raises(InvalidValue):
        client.refund("in_1", amount_minor, "key-1")
    assert [] == transport.requests


OTHER = {"refundId": "rf_2", "intentId": "in_2", "amount": 500, "currency": "USD"}


def test_an_answer_about_another_refund_settles_nothing(
    client: Any, transport: ScriptedTransport
) -> None:
    """Neither to a refund, nor to a question about one, nor in a list."""
    transport.then(answer(200, OTHER), answer(200, OTHER), answer(200, [OTHER]))
    for call in (
        lambda: client.refund("in_1", 500, "key-1"),
        lambda: client.get_refund("rf_1"),
        lambda: client.refunds("in_1"),
    ):
        with pytest.raises(OutcomeUnknown) as caught:
            call()
        assert caught.value.answered


def test_refunds_follows_pages_where_xpay_answers_pages(
    client: Any, transport: ScriptedTransport
) -> None:
    """Each refund once, though it stands on two pages; a list without an end is none."""

    def page(refund_id: str, offset: str | None) -> Any:
        refund = OTHER | {"refundId": refund_id}
        return answer(200, {"data": [refund], "metadata": {"offset": offset}})

    transport.then(page("rf_1", "a b"), page("rf_1", "c"), page("rf_2", None))
    refunds: tuple[RefundAnswer, ...] = client.refunds("in_2")
    assert ["rf_1", "rf_2"] == [refund.refund_id for refund in refunds]
    urls = [request.url.partition("/payments")[2] for request in transport.requests]
    assert ["/refunds/in_2", "/refunds/in_2?offset=a+b", "/refunds/in_2?offset=c"] == urls
    transport.then(*[page("rf_1", "again")] * xpay_api.SHORT_LIST_PAGES_MAX)
    with pytest.raises(OutcomeUnknown, match="goes on"):
        client.refunds("in_2")


def test_list_intents_turns_pages(world: World, client: Any) -> None:
    """Every intent once."""
    made = {world.start_checkout(receipt_id).x_intent_id for receipt_id in ("1", "2")}
    now_ms = world.clock.now_ms()
    first = client.list_intents(start_ms=0, end_ms=now_ms, limit=1)
    second = client.list_intents(start_ms=0, end_ms=now_ms, limit=1, offset=first.offset)
    assert made == {intent.x_intent_id for intent in (*first.intents, *second.intents)}
    assert (False, None) == (first.offset is None, second.offset)


def test_webhook_endpoints_are_registered_listed_read_and_updated(
    world: World, client: Any, transport: ScriptedTransport
) -> None:
    """With all three fields each time, and without an idempotency key."""
    types = ("intent.success", "intent.refunded")
    endpoint_id = client.create_webhook_endpoint("https://shop.example/hook", "secret-1", types)
    shown = client.get_webhook_endpoint(endpoint_id)
    assert ("https://shop.example/hook", "secret-1", set(types), True) == (
        shown.url,
        shown.secret,
        set(shown.event_types),
        shown.is_active,
    )
    assert shown == client.list_webhook_endpoints()[-1]
    client.update_webhook_endpoint(endpoint_id, "https://shop.example/new", "secret-2", types[:1])
    shown = client.get_webhook_endpoint(endpoint_id)
    assert ("https://shop.example/new", "secret-2", types[:1]) == (
        shown.url,
        shown.secret,
        shown.event_types,
    )
    assert {None} == set(transport.keys)
    with pytest.raises(XPayRefused):
        client.get_webhook_endpoint("whc_unknown")
