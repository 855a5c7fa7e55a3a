"""Lists, refunds, and the faults of the API."""

import pytest

from xpay_flow.sandbox import PROFILES, ApiFault, FaultPlan, NoAnswer, Sandbox

from .merchant import (
    BODY,
    CREATE,
    call,
    clock_of,
    create,
    error_of,
    make_sandbox,
    payloads,
    request,
)

LIST = "/payments/intents"
REFUND = "/payments/merchant/refund"


def paid(sandbox: Sandbox) -> str:
    x_intent_id = create(sandbox)
    sandbox.pay(x_intent_id)
    return x_intent_id


# Lists


def test_list_items() -> None:
    """An item has seven fields, and its dates are milliseconds (Q7)."""
    sandbox = make_sandbox()
    x_intent_id = paid(sandbox)

    answer = call(sandbox, "GET", LIST).json()

    item = {
        "xIntentId": x_intent_id,
        "amount": 2599,
        "currency": "EUR",
        "status": "SUCCESS",
        "receiptId": "order-1001",
        "createdAt": 1767605400000,
        "succeededAt": 1767605400000,
    }
    assert {"data": [item], "metadata": {"offset": None}} == answer


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages(newest_first: bool) -> None:
    """Following the cursor shows every intent once, in order, also when new ones come."""
    sandbox = make_sandbox(list_newest_first=newest_first)
    ids = [create(sandbox) for _ in range(7)]
    seen: list[str] = []
    offset = ""

    for _ in range(10):
        page = call(sandbox, "GET", LIST, query=f"limit=3&offset={offset}").json()
        seen += [item["xIntentId"] for item in page["data"]]
        if newest_first:
            create(sandbox)
        offset = page["metadata"]["offset"]
        if offset is None:
            break

    assert (ids[::-1] if newest_first else ids) == seen


def test_page_sizes() -> None:
    """A page holds 50 by default and at most 100; the last page has no cursor."""
    sandbox = make_sandbox()
    for _ in range(100):
        create(sandbox)

    assert 50 == len(call(sandbox, "GET", LIST).json()["data"])
    whole = call(sandbox, "GET", LIST, query="limit=100").json()
    assert (100, None) == (len(whole["data"]), whole["metadata"]["offset"])


def test_absent_cursor() -> None:
    """With `absent_as_null=False` the last page's cursor is left out."""
    answer = call(make_sandbox(absent_as_null=False), "GET", LIST).json()

    assert {"data": [], "metadata": {}} == answer


def test_filters() -> None:
    """Times are inclusive and in milliseconds, statuses are separated by commas."""
    sandbox = make_sandbox()
    first = create(sandbox)
    clock_of(sandbox).advance(1)
    second = paid(sandbox)
    clock_of(sandbox).advance(1)
    third = create(sandbox)
    sandbox.decline(third)
    start_ms = 1767605400000

    def found(query: str) -> set[str]:
        data = call(sandbox, "GET", LIST, query=query).json()["data"]
        return {item["xIntentId"] for item in data}

    assert {second, third} == found(f"startTime={start_ms + 1000}")
    assert {first, second} == found(f"endTime={start_ms + 1000}")
    assert {second} == found(f"startTime={start_ms + 1000}&endTime={start_ms + 1000}")
    assert {second, third} == found("statuses=SUCCESS,FAILED")
    assert {first} == found("statuses=CREATED")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=ten",
        "limit=",
        "limit=²",
        "startTime=yesterday",
        "endTime=1.5",
        "startTime=" + "9" * 30,
        "statuses=PAID",
        "offset=nonsense",
        "offset=%ff",
        "offset=MS5hYmM",
        "&".join(f"a{number}=1" for number in range(60)),
        "a" * 5000,
    ],
    ids=lambda query: query[:30],
)
def test_wrong_queries(query: str) -> None:
    """A query that is wrong is 400 `bad_request`."""
    assert (400, "bad_request") == error_of(call(make_sandbox(), "GET", LIST, query=query))


def test_cursor_of_other_filters() -> None:
    """Changing a filter voids the cursor."""
    sandbox = make_sandbox()
    for _ in range(3):
        create(sandbox)
    offset = call(sandbox, "GET", LIST, query="limit=1").json()["metadata"]["offset"]

    answer = call(sandbox, "GET", LIST, query=f"limit=1&offset={offset}&statuses=CREATED")

    assert (400, "bad_request") == error_of(answer)


# Refunds


@pytest.mark.parametrize("amount", ["1000", 1000])
def test_partial_refund(amount: object) -> None:
    """A refund takes a string (or a number), answers a number, and names `intentId` (Q3, Q8)."""
    sandbox = make_sandbox()
    x_intent_id = paid(sandbox)

    answer = call(sandbox, "POST", REFUND, {"xIntentId": x_intent_id, "amount": amount})

    received = answer.json()
    refund_id = received.pop("refundId")
    assert refund_id.startswith("rf_")
    assert {
        "intentId": x_intent_id,
        "amount": 1000,
        "currency": "EUR",
        "refundedAt": 1767605400000,
    } == received
    assert answer.json() == call(sandbox, "GET", f"/payments/refund/{refund_id}").json()
    assert [answer.json()] == call(sandbox, "GET", f"/payments/refunds/{x_intent_id}").json()
    assert "PARTIALLY_REFUNDED" == sandbox.status(x_intent_id)


def test_refunds_add_up() -> None:
    """Refunds add up to the amount and no further; each event has its own amount."""
    sandbox = make_sandbox()
    x_intent_id = paid(sandbox)

    def refund(**amount: object) -> int:
        return call(sandbox, "POST", REFUND, {"xIntentId": x_intent_id, **amount}).status

    assert 400 == refund(amount="2600")
    assert 200 == refund(amount="1000")
    assert 400 == refund(amount="1600")
    assert 200 == refund(amount="1")
    assert 200 == refund()
    assert 400 == refund()
    assert 400 == refund(amount="1")
    assert "REFUNDED" == sandbox.status(x_intent_id)
    assert 2599 == sandbox.intent(x_intent_id).refunded_minor
    events = [p for p in payloads(sandbox) if p["eventType"] == "intent.refunded"]
    assert [
        (1000, "PARTIALLY_REFUNDED"),
        (1, "PARTIALLY_REFUNDED"),
        (1598, "REFUNDED"),
    ] == [(event["amount"], event["status"]) for event in events]
    assert 3 == len({event["refundId"] for event in events})


def test_status_of_refund_events() -> None:
    """A setting sends REFUNDED with every refund, as xPay documents."""
    sandbox = make_sandbox(refund_event_status="always_refunded")
    sandbox.refund(paid(sandbox), 1)

    assert "REFUNDED" == payloads(sandbox)[-1]["status"]


@pytest.mark.parametrize(
    "amount", ["0", 0, -1, "-1", "1.5", 1.5, "1e3", "ten", " 1", "²", True, [], "9" * 40]
)
def test_wrong_refund_amounts(amount: object) -> None:
    """An amount that is not a whole positive number within the rest is 400."""
    sandbox = make_sandbox()
    x_intent_id = paid(sandbox)

    answer = call(sandbox, "POST", REFUND, {"xIntentId": x_intent_id, "amount": amount})

    assert (400, "bad_request") == error_of(answer)
    assert "SUCCESS" == sandbox.status(x_intent_id)


@pytest.mark.parametrize("body", [{}, {"xIntentId": None}, {"xIntentId": 5}, {"intentId": "in_1"}])
def test_refund_of_nothing(body: object) -> None:
    """A refund without `xIntentId` is 400."""
    assert (400, "bad_request") == error_of(call(make_sandbox(), "POST", REFUND, body))


def test_refund_of_an_unpaid_intent() -> None:
    """An unpaid intent cannot be refunded: 400."""
    sandbox = make_sandbox()

    answer = call(sandbox, "POST", REFUND, {"xIntentId": create(sandbox)})

    assert (400, "bad_request") == error_of(answer)


def test_refunds_of_the_dashboard_look_like_any_other() -> None:
    """Only the sandbox knows who ordered a refund; the API's answers and events do not show it."""
    sandbox = make_sandbox()
    x_intent_id = paid(sandbox)
    call(sandbox, "POST", REFUND, {"xIntentId": x_intent_id, "amount": "1000"})
    sandbox.refund(x_intent_id, 1000)

    refunds = sandbox.intent(x_intent_id).refunds
    assert [("api", 1000), ("dashboard", 1000)] == [(r.origin, r.amount_minor) for r in refunds]
    shown = call(sandbox, "GET", f"/payments/refunds/{x_intent_id}").json()
    events = [p for p in payloads(sandbox) if p["eventType"] == "intent.refunded"]
    for first, second in (shown, events):
        assert set(first) == set(second)


@pytest.mark.parametrize(
    ("by_default", "in_status", "status"),
    [
        (False, None, "SUCCESS"),
        (False, True, "DISPUTED"),
        (True, None, "DISPUTED"),
        (True, False, "SUCCESS"),
    ],
)
def test_disputes_in_the_status(by_default: bool, in_status: bool | None, status: str) -> None:
    """`DISPUTED` is answered when asked for, and by default in the profile `disputes`."""
    sandbox = make_sandbox(**PROFILES["disputes" if by_default else "newest"])
    x_intent_id = paid(sandbox)
    sandbox.dispute(x_intent_id, in_status=in_status)

    assert status == call(sandbox, "GET", f"/payments/v2/get-intent/{x_intent_id}").json()["status"]


# Faults of the API


def test_lists_lag() -> None:
    """A page shows what was so a minute ago: no new intent, no charge, no cancellation since."""
    sandbox = make_sandbox()
    old, cancelled = create(sandbox), create(sandbox)
    clock_of(sandbox).advance(61)
    sandbox.pay(old)
    sandbox.cancel(cancelled)
    create(sandbox)
    sandbox.set_faults(FaultPlan(api=(ApiFault(fault="lag", path=LIST, seconds=60, times=1),)))

    shown = [(i["xIntentId"], i["status"]) for i in call(sandbox, "GET", LIST).json()["data"]]

    assert [(cancelled, "CREATED"), (old, "CREATED")] == shown
    assert 3 == len(call(sandbox, "GET", LIST).json()["data"])


def test_refund_pages_lag() -> None:
    """A refund that was just made is in no list yet, and is not found by its id."""
    sandbox = make_sandbox()
    x_intent_id = paid(sandbox)
    clock_of(sandbox).advance(61)
    refund_id = sandbox.refund(x_intent_id, 1000).refund_id
    sandbox.add_fault(ApiFault(fault="lag", path="/payments/refund*", seconds=60))
    paths = f"/payments/refunds/{x_intent_id}", f"/payments/refund/{refund_id}"

    assert [] == call(sandbox, "GET", paths[0]).json()
    assert 404 == call(sandbox, "GET", paths[1]).status
    clock_of(sandbox).advance(60)
    assert [refund_id] == [refund["refundId"] for refund in call(sandbox, "GET", paths[0]).json()]
    assert 200 == call(sandbox, "GET", paths[1]).status


def test_expired_keys_give_no_replay() -> None:
    """After a key's 24 hours the same request is another refund; the clock need not move."""
    sandbox = make_sandbox()
    body = {"xIntentId": paid(sandbox), "amount": "1000"}

    def refund_id() -> str:
        answer = call(sandbox, "POST", REFUND, body, idempotency_key="k1")
        return str(answer.json()["refundId"])

    first = refund_id()
    assert first == refund_id()
    assert 1 == sandbox.expire_keys()
    second = refund_id()
    assert second != first
    clock_of(sandbox).advance(24 * 3600)
    assert (400, "bad_request") == error_of(
        call(sandbox, "POST", REFUND, body, idempotency_key="k1")
    )


def test_added_faults_count_alone() -> None:
    """Each press of a button strikes once, those in force go on counting, and spent ones go."""
    sandbox = make_sandbox()
    x_intent_id = paid(sandbox)
    path = f"/payments/v2/get-intent/{x_intent_id}"
    rule = ApiFault(fault="lose_answer", times=1)
    later = ApiFault(fault="slow", nth=3, milliseconds=5)
    sandbox.set_faults(FaultPlan(api=(later,)))

    def outcome() -> object:
        answer = sandbox.handle(request("GET", path))
        return "lost" if isinstance(answer, NoAnswer) else answer.delay_ms

    seen = [outcome()]
    for _ in range(2):
        sandbox.add_fault(rule)
        seen.append(outcome())
    assert [0, "lost", 5] == seen
    assert "lost" == outcome()
    sandbox.add_fault(rule)
    assert [rule] == list(sandbox.faults.api)


def with_fault(**rule: object) -> Sandbox:
    sandbox = make_sandbox()
    fault = ApiFault(**{"path": CREATE, "times": 1, **rule})  # type: ignore[arg-type]
    sandbox.set_faults(FaultPlan(api=(fault,)))
    return sandbox


@pytest.mark.parametrize(("fault", "made"), [("lose_request", 0), ("lose_answer", 1)])
def test_no_answer(fault: str, made: int) -> None:
    """A lost request had no effect, a lost answer had; the client cannot know."""
    sandbox = with_fault(fault=fault)

    assert isinstance(sandbox.handle(request("POST", CREATE, BODY)), NoAnswer)
    assert made == len(sandbox.intents()) == len(sandbox.due())
    assert 200 == call(sandbox, "POST", CREATE, BODY).status


@pytest.mark.parametrize(("took_effect", "made"), [(False, 0), (True, 1)])
def test_error_with_json(took_effect: bool, made: int) -> None:
    """xPay's own 500 has the documented body, and is repeated for the same key."""
    sandbox = with_fault(fault="error_json", took_effect=took_effect)

    for _ in range(2):
        answer = call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")
        assert (500, "internal_server_error") == error_of(answer)
    assert made == len(sandbox.intents())


@pytest.mark.parametrize(("took_effect", "made"), [(False, 0), (True, 1)])
def test_error_without_json(took_effect: bool, made: int) -> None:
    """A proxy's 500 is HTML and is not remembered; the key then gives the true answer."""
    sandbox = with_fault(fault="error_text", took_effect=took_effect)

    answer = call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")
    assert 500 == answer.status
    assert answer.body.startswith(b"<html>")
    assert made == len(sandbox.intents())
    assert 200 == call(sandbox, "POST", CREATE, BODY, idempotency_key="k1").status
    assert 1 == len(sandbox.intents())


def test_slow() -> None:
    """A slow answer shows how long it takes; the effect comes first."""
    sandbox = with_fault(fault="slow", milliseconds=700)

    assert 700 == call(sandbox, "POST", CREATE, BODY).delay_ms
    assert 1 == len(sandbox.intents())
    assert 0 == call(sandbox, "POST", CREATE, BODY).delay_ms


def test_rules_by_path_and_method() -> None:
    """A rule strikes only its path and method; the first rule that strikes decides."""
    sandbox = make_sandbox()
    context = (
        ApiFault(fault="slow", path="/payments/*", method="GET", milliseconds=1),
        ApiFault(fault="slow", path="/payments/*", milliseconds=2, nth=2),
    )
    sandbox.set_faults(FaultPlan(api=context))

    delays = [call(sandbox, "GET", LIST).delay_ms, call(sandbox, "GET", "/webhook").delay_ms]
    delays += [call(sandbox, "POST", CREATE, BODY).delay_ms for _ in range(3)]

    assert [1, 0, 0, 2, 0] == delays
