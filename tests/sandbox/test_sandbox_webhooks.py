"""Deliveries, retries, faults of webhooks, and the registration of endpoints."""

import json

import pytest

from xpay_flow.errors import InvalidValue, UnknownIntent
from xpay_flow.sandbox import Delivery, FaultPlan, Sandbox, SandboxConfig, WebhookFault
from xpay_flow.sandbox.signer import hmac_signature

from .merchant import HOOK, call, clock_of, create, error_of, make_sandbox, payloads

SECRET = "sandbox_signing_key_0123456789"
OLD_SECRET = "sandbox_previous_key_0123456789"


def types(sandbox: Sandbox) -> list[str]:
    return [payload["eventType"] for payload in payloads(sandbox)]


def with_fault(rule: WebhookFault, **settings: object) -> Sandbox:
    sandbox = make_sandbox(**settings)
    sandbox.set_faults(FaultPlan(webhooks=(rule,)))
    return sandbox


def is_signed(delivery: Delivery, secret: str = SECRET) -> bool:
    return delivery.header("xpay-signature") == hmac_signature(secret, delivery.body)


# Deliveries


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_stops(status: int) -> None:
    """Any 2xx ends the deliveries of an event."""
    sandbox = make_sandbox()
    create(sandbox)

    assert 1 == sandbox.deliver_due(lambda _: status)
    assert sandbox.next_due_at_ms() is None
    assert [status] == [attempt.http_status for attempt in sandbox.delivery_log()]


@pytest.mark.parametrize("status", [None, 199, 300, 302, 400, 401, 404, 500, 503])
def test_back_off(status: int | None) -> None:
    """Anything else is retried after each pause of the schedule, then given up."""
    sandbox = make_sandbox()
    create(sandbox)
    seen = []

    while (due_at_ms := sandbox.next_due_at_ms()) is not None:
        wait_s = (due_at_ms - clock_of(sandbox).now_ms()) / 1000
        clock_of(sandbox).advance(wait_s)
        for delivery in sandbox.due():
            seen.append((wait_s, delivery.attempt))
            sandbox.outcome(delivery, status)

    assert [(0, 1), (10, 2), (30, 3), (120, 4), (600, 5), (3600, 6)] == seen
    assert "given up" == sandbox.delivery_log()[-1].note


def test_retries_are_the_same() -> None:
    """Event id, bytes and signature are the same in every attempt."""
    sandbox = make_sandbox(retry_schedule_s=(1, 1))
    create(sandbox)
    seen: list[Delivery] = []

    def post(delivery: Delivery) -> int:
        seen.append(delivery)
        return 500

    for _ in range(3):
        sandbox.deliver_due(post)
        clock_of(sandbox).advance(1)

    assert [1, 2, 3] == [delivery.attempt for delivery in seen]
    assert 1 == len({(delivery.event_id, delivery.body) for delivery in seen})
    assert all(is_signed(delivery) for delivery in seen)
    assert json.loads(seen[0].body)["eventId"] == seen[0].event_id


def test_asking_changes_nothing() -> None:
    """A call stays due until its outcome is reported, and a second report is ignored."""
    sandbox = make_sandbox()
    create(sandbox)
    (delivery,) = sandbox.due()

    assert [delivery] == sandbox.due()
    sandbox.outcome(delivery, 200)
    sandbox.outcome(delivery, 500)
    assert [] == sandbox.due()
    assert sandbox.next_due_at_ms() is None
    assert 1 == len(sandbox.delivery_log())


def test_due_at_another_time() -> None:
    """`due` takes another moment than now."""
    sandbox = make_sandbox(webhook_delay_ms=5000)
    create(sandbox)
    now_ms = clock_of(sandbox).now_ms()

    assert [] == sandbox.due()
    assert now_ms + 5000 == sandbox.next_due_at_ms()
    assert 1 == len(sandbox.due(now_ms + 5000))


def test_acts_during_delivery() -> None:
    """A merchant may act while an event is delivered; the new event is delivered as well."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    seen: list[str] = []

    def post(delivery: Delivery) -> int:
        seen.append(delivery.event_type)
        if delivery.event_type == "intent.success":
            sandbox.refund(x_intent_id)
        return 200

    sandbox.pay(x_intent_id)

    assert 3 == sandbox.deliver_due(post)
    assert ["intent.created", "intent.success", "intent.refunded"] == seen


def test_redeliver() -> None:
    """An event can be sent again with the same id and bytes; an unknown one is UnknownIntent."""
    sandbox = make_sandbox()
    create(sandbox)
    (first,) = sandbox.due()
    sandbox.outcome(first, 200)

    assert 1 == sandbox.redeliver(first.event_id)
    (again,) = sandbox.due()
    assert (first.event_id, first.body, 1) == (again.event_id, again.body, again.attempt)
    with pytest.raises(UnknownIntent):
        sandbox.redeliver("whe_nobody")


def test_no_listener() -> None:
    """Without an endpoint events happen and nothing is sent."""
    sandbox = make_sandbox(webhook_url=None)
    create(sandbox)

    assert [] == sandbox.due()
    assert 1 == len(sandbox.events())


def test_queue_is_limited() -> None:
    """Beyond `deliveries_max` a webhook is noted as not sent, and events are forgotten."""
    sandbox = make_sandbox(deliveries_max=2, events_max=3)
    for _ in range(4):
        create(sandbox)

    assert 2 == len(sandbox.due())
    assert 3 == len(sandbox.events())
    assert "too many" in sandbox.delivery_log()[-1].note


# Faults


def test_lost_for_good() -> None:
    """`lose` keeps an event from ever arriving; the log shows it."""
    sandbox = with_fault(WebhookFault(fault="lose", event_type="intent.created"))
    sandbox.open_checkout(create(sandbox))

    assert ["intent.checkout_opened"] == types(sandbox)
    sandbox.deliver_due(lambda _: 200)
    assert sandbox.next_due_at_ms() is None
    assert 6 == sum(attempt.note == "fault: lost" for attempt in sandbox.delivery_log())


def test_lost_twice() -> None:
    """`lose` with `attempts` loses that many and lets the next one through, at its time."""
    sandbox = with_fault(WebhookFault(fault="lose", attempts=2))
    create(sandbox)

    assert [] == sandbox.due()
    assert clock_of(sandbox).now_ms() + 40_000 == sandbox.next_due_at_ms()
    clock_of(sandbox).advance(40)
    assert [3] == [delivery.attempt for delivery in sandbox.due()]


def test_lost_answer() -> None:
    """`lose_answer` makes xPay send again what was received."""
    sandbox = with_fault(WebhookFault(fault="lose_answer", attempts=1))
    create(sandbox)
    sandbox.deliver_due(lambda _: 200)
    clock_of(sandbox).advance(10)

    assert [2] == [delivery.attempt for delivery in sandbox.due()]
    assert 1 == sandbox.deliver_due(lambda _: 200)
    assert sandbox.next_due_at_ms() is None


def test_duplicate() -> None:
    """`duplicate` sends copies of the same event, which are not retried themselves."""
    sandbox = with_fault(WebhookFault(fault="duplicate", copies=2, seconds=5))
    create(sandbox)
    start_ms = clock_of(sandbox).now_ms()
    clock_of(sandbox).advance(10)

    due = sandbox.due()

    assert [0, 5000, 10_000] == [delivery.due_at_ms - start_ms for delivery in due]
    assert 1 == len({(delivery.event_id, delivery.body) for delivery in due})
    assert 3 == len({delivery.number for delivery in due})
    for delivery in due:
        sandbox.outcome(delivery, 500)
    clock_of(sandbox).advance(4000)
    assert 1 == len(sandbox.due())


def test_delay() -> None:
    """`delay` holds an event, and later ones pass it."""
    sandbox = with_fault(WebhookFault(fault="delay", seconds=60, nth=1))
    sandbox.open_checkout(create(sandbox))

    assert ["intent.checkout_opened"] == types(sandbox)
    clock_of(sandbox).advance(60)
    assert ["intent.checkout_opened", "intent.created"] == types(sandbox)


def test_reorder() -> None:
    """`reorder` sends an event right after the next one."""
    sandbox = with_fault(WebhookFault(fault="reorder", event_type="intent.failed"))
    x_intent_id = create(sandbox)
    sandbox.decline(x_intent_id)
    assert ["intent.created"] == types(sandbox)

    sandbox.pay(x_intent_id)

    assert ["intent.created", "intent.success", "intent.failed"] == types(sandbox)


def test_reorder_without_another() -> None:
    """A reordered event that nothing overtakes is sent after a while."""
    sandbox = with_fault(WebhookFault(fault="reorder"))
    create(sandbox)

    assert [] == sandbox.due()
    clock_of(sandbox).advance(30)
    assert ["intent.created"] == types(sandbox)


def test_reordered_event_is_retried() -> None:
    """A reordered event that failed keeps its own retries, whatever else happens."""
    sandbox = with_fault(WebhookFault(fault="reorder", nth=1))
    x_intent_id = create(sandbox)
    clock_of(sandbox).advance(30)
    sandbox.deliver_due(lambda _: 500)
    sandbox.open_checkout(x_intent_id)

    assert ["intent.checkout_opened"] == types(sandbox)
    clock_of(sandbox).advance(10)
    assert {2, 1} == {delivery.attempt for delivery in sandbox.due()}


def test_wrong_signature() -> None:
    """`wrong_signature` spoils both signatures of the attempts that it covers."""
    sandbox = with_fault(WebhookFault(fault="wrong_signature", attempts=1))
    create(sandbox)
    (first,) = sandbox.due()
    sandbox.outcome(first, 401)
    clock_of(sandbox).advance(10)
    (second,) = sandbox.due()

    assert not is_signed(first)
    assert 88 == len(first.header("xpay-signature") or "")
    assert is_signed(second)
    assert first.body == second.body


def test_old_secret() -> None:
    """`old_secret` signs with the secret from before the last rotation."""
    sandbox = with_fault(WebhookFault(fault="old_secret"))
    create(sandbox)
    assert is_signed(sandbox.due()[0], OLD_SECRET)

    endpoint_id = sandbox.endpoints()[0].endpoint_id
    body = {
        "eventSigner": "brand-new",
        "endpoint": HOOK,
        "subscribedEventTypes": ["intent.created"],
    }
    assert 200 == call(sandbox, "PUT", f"/webhook/{endpoint_id}", body).status
    create(sandbox)
    assert is_signed(sandbox.due()[-1], SECRET)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("extra_fields", {"x-new": True}),
        ("null_receipt", {"receiptId": None}),
        ("null_metadata", {"metadata": None}),
    ],
)
def test_changed_content(fault: str, expected: dict[str, object]) -> None:
    """Faults of content change the payload, which is signed as it is sent."""
    sandbox = with_fault(WebhookFault(fault=fault))  # type: ignore[arg-type]
    sandbox.open_checkout(create(sandbox))

    payload = payloads(sandbox)[-1]

    assert expected.items() <= payload.items()
    assert all(is_signed(delivery) for delivery in sandbox.due())


def test_no_metadata() -> None:
    """`no_metadata` leaves the field out."""
    sandbox = with_fault(WebhookFault(fault="no_metadata"))
    create(sandbox)

    assert "metadata" not in payloads(sandbox)[0]


def test_unknown_type() -> None:
    """`unknown_type` sends an event of an unknown type along with the real one."""
    sandbox = with_fault(WebhookFault(fault="unknown_type"))
    x_intent_id = create(sandbox)

    assert ["intent.created", "intent.sandbox_surprise"] == types(sandbox)
    assert x_intent_id == payloads(sandbox)[1]["intentId"]


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        ({}, [True] * 4),
        ({"nth": 2}, [False, True, False, False]),
        ({"times": 2}, [True, True, False, False]),
        ({"probability": 0}, [False] * 4),
        ({"event_type": "intent.*"}, [True] * 4),
        ({"event_type": "setup_method.*"}, [False] * 4),
    ],
)
def test_when_a_rule_strikes(rule: dict[str, object], struck: list[bool]) -> None:
    """Type, nth, times and probability say which events a rule strikes."""
    sandbox = with_fault(WebhookFault(fault="null_metadata", **rule))  # type: ignore[arg-type]
    for _ in struck:
        create(sandbox)

    assert struck == [payload["metadata"] is None for payload in payloads(sandbox)]


def test_dice_follow_the_seed() -> None:
    """The same seeds strike the same events."""

    def run(seed: int, plan_seed: int) -> list[bool]:
        rule = WebhookFault(fault="null_metadata", probability=0.5)
        plan = FaultPlan(webhooks=(rule,), seed=plan_seed)
        config = SandboxConfig(webhook_url=HOOK, rate_limit=None)
        sandbox = Sandbox(config, seed=seed, faults=plan)
        for _ in range(40):
            create(sandbox)
        return [json.loads(event.body)["metadata"] is None for event in sandbox.events()]

    assert run(1, 1) == run(1, 1)
    assert len({tuple(run(*seeds)) for seeds in ((1, 1), (2, 1), (1, 2))}) == 3
    assert 10 < sum(run(1, 1)) < 30


# Endpoints


def registration(**changes: object) -> dict[str, object]:
    return {
        "eventSigner": "my-own-secret",
        "endpoint": "https://shop.example/hook",
        "subscribedEventTypes": ["intent.success"],
        **changes,
    }


def test_registration() -> None:
    """An endpoint is registered as `endpoint`, shown as `webHookUrl`, and gets what it wants."""
    sandbox = make_sandbox()
    answer = call(sandbox, "POST", "/webhook", registration())
    assert 200 == answer.status
    endpoint_id = answer.json()["webhookConfigId"]
    assert endpoint_id.startswith("whc_")

    shown = call(sandbox, "GET", f"/webhook/{endpoint_id}").json()
    listed = call(sandbox, "GET", "/webhook").json()
    sandbox.pay(create(sandbox))

    assert {
        "webhookConfigId": endpoint_id,
        "webHookUrl": "https://shop.example/hook",
        "eventSigner": "my-own-secret",
        "subscribedEventTypes": ["intent.success"],
        "isActive": True,
    } == shown
    assert shown == listed["data"][1]
    assert HOOK == listed["data"][0]["webHookUrl"]
    theirs = [delivery for delivery in sandbox.due() if delivery.url.startswith("https")]
    assert ["intent.success"] == [delivery.event_type for delivery in theirs]
    assert is_signed(theirs[0], "my-own-secret")


@pytest.mark.parametrize(
    "change",
    [
        {"eventSigner": ""},
        {"eventSigner": None},
        {"eventSigner": "s" * 256},
        {"endpoint": None},
        {"endpoint": "not a url"},
        {"endpoint": "http://shop.example/hook"},
        {"subscribedEventTypes": None},
        {"subscribedEventTypes": []},
        {"subscribedEventTypes": "intent.success"},
        {"subscribedEventTypes": [1]},
        {"subscribedEventTypes": ["a" * 101]},
        {"subscribedEventTypes": [str(number) for number in range(101)]},
    ],
)
def test_wrong_registration(change: dict[str, object]) -> None:
    """All three fields are required and checked, when registering and when changing."""
    sandbox = make_sandbox()
    endpoint_id = sandbox.endpoints()[0].endpoint_id

    for method, path in (("POST", "/webhook"), ("PUT", f"/webhook/{endpoint_id}")):
        answer = call(sandbox, method, path, registration(**change))
        assert (400, "bad_request") == error_of(answer)
    assert 1 == len(sandbox.endpoints())


def test_number_of_endpoints() -> None:
    """The number of endpoints is limited."""
    sandbox = make_sandbox(endpoints_max=2)

    assert 200 == call(sandbox, "POST", "/webhook", registration()).status
    assert 400 == call(sandbox, "POST", "/webhook", registration()).status


@pytest.mark.parametrize(("keep", "secret"), [(True, SECRET), (False, "my-own-secret")])
def test_queued_events_after_a_rotation(keep: bool, secret: str) -> None:
    """A retry of an event from before a rotation keeps the old signature, or not."""
    sandbox = make_sandbox(queued_events_keep_secret=keep)
    create(sandbox)
    endpoint_id = sandbox.endpoints()[0].endpoint_id
    answer = call(sandbox, "PUT", f"/webhook/{endpoint_id}", registration())
    sandbox.deliver_due(lambda _: 500)
    clock_of(sandbox).advance(10)

    assert (200, b"") == (answer.status, answer.body)
    assert is_signed(sandbox.due()[0], secret)


# Plans


def test_plan_as_json() -> None:
    """A plan is the same after a round trip through JSON, and leaves out defaults."""
    text = (
        '{"seed": 7, "webhooks": [{"fault": "lose", "nth": 1, "attempts": 2}],'
        ' "api": [{"fault": "slow", "path": "/payments/*", "milliseconds": 50}]}'
    )
    plan = FaultPlan.from_json(text)

    assert json.loads(text) == plan.to_dict()
    assert plan == FaultPlan.from_dict(plan.to_dict())
    assert FaultPlan() == FaultPlan.from_json("{}")


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        ([], "the fault plan: must be an object"),
        ({"webhook": []}, "'webhook' is not one of api, seed, webhooks"),
        ({"webhooks": {}}, "webhooks: must be a list"),
        ({"webhooks": [3]}, "webhooks[0]: must be an object"),
        ({"webhooks": [{}]}, "webhooks[0].fault: is missing"),
        ({"webhooks": [{"fault": "explode"}]}, "webhooks[0].fault: 'explode' is not one of lose"),
        ({"api": [{"fault": "slow"}, {"fault": "lose"}]}, "api[1].fault: 'lose' is not one of"),
        ({"api": [{"fault": "slow", "ms": 1}]}, "api[0]: 'ms' is not one of"),
        ({"api": [{"fault": "slow", "milliseconds": -1}]}, "api[0].milliseconds: must be a whole"),
        ({"api": [{"fault": "slow", "took_effect": 1}]}, "api[0].took_effect: must be true"),
        ({"api": [{"fault": "slow", "path": ""}]}, "api[0].path: must be a text"),
        ({"webhooks": [{"fault": "lose", "nth": 0}]}, "webhooks[0].nth: must be a whole"),
        ({"webhooks": [{"fault": "lose", "nth": True}]}, "webhooks[0].nth: must be a whole"),
        ({"webhooks": [{"fault": "lose", "probability": 2}]}, "webhooks[0].probability: must be"),
        ({"webhooks": [{"fault": "delay", "seconds": "5"}]}, "webhooks[0].seconds: must be"),
        ({"webhooks": [{"fault": ["lose"]}]}, "webhooks[0].fault: ['lose'] is not one of"),
        ({"webhooks": [{"fault": "lose"}] * 101}, "webhooks: at most 100 rules"),
        ({"seed": "x"}, "seed: must be a whole number"),
    ],
)
def test_wrong_plans(plan: object, problem: str) -> None:
    """A wrong plan is refused, and the text names rule and field."""
    with pytest.raises(InvalidValue) as error:
        FaultPlan.from_json(json.dumps(plan))
    assert problem in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff"])
def test_plans_that_are_no_json(text: str | bytes) -> None:
    """What is not JSON is refused as such."""
    with pytest.raises(InvalidValue, match="not JSON"):
        FaultPlan.from_json(text)


def test_random_plans() -> None:
    """A random plan depends on its seed alone, and unless allowed loses nothing for good."""
    assert FaultPlan.random(5) == FaultPlan.random(5)
    plans = [FaultPlan.random(seed) for seed in range(30)]
    assert len(plans) == len({str(plan) for plan in plans})
    for plan in plans:
        assert plan == FaultPlan.from_dict(plan.to_dict())
        assert all(rule.attempts is not None for rule in plan.webhooks if rule.fault == "lose")
    lossy = [FaultPlan.random(seed, permanent_loss=True) for seed in range(30)]
    assert any(rule.attempts is None for plan in lossy for rule in plan.webhooks)
