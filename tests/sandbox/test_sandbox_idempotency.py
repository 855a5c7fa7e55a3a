"""Every row of xPay's rules on the `Idempotency-Key` header."""

import pytest

from xpay_flow.sandbox import ApiFault, FaultPlan, NoAnswer

from .merchant import BODY, CREATE, call, clock_of, create, error_of, make_sandbox, request

DAY_S = 24 * 3600


def test_optional() -> None:
    """Without the header, two equal requests make two intents."""
    sandbox = make_sandbox()

    assert create(sandbox) != create(sandbox)


@pytest.mark.parametrize("key", ["a", "A-b_c:d.e", "0" * 255])
def test_good_keys(key: str) -> None:
    """Letters, digits and `-_:.` up to 255 characters make a key."""
    assert 200 == call(make_sandbox(), "POST", CREATE, BODY, idempotency_key=key).status


@pytest.mark.parametrize("key", ["", " ", "a b", "a/b", "a+b", "a=", "é", "a\nb", "0" * 256])
def test_bad_keys(key: str) -> None:
    """Any other key is 400, and nothing is created."""
    sandbox = make_sandbox()

    answer = call(sandbox, "POST", CREATE, BODY, idempotency_key=key)

    assert (400, "bad_request") == error_of(answer)
    assert [] == sandbox.intents()


def test_repeat() -> None:
    """The same key and body bring back status and body of the first answer, and no new intent."""
    sandbox = make_sandbox()
    first = call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")
    sandbox.pay(first.json()["xIntentId"])

    again = call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")

    assert first == again
    assert 1 == len(sandbox.intents())


def test_repeat_of_an_error() -> None:
    """An error is repeated as well, even when its cause is gone."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    body = {"xIntentId": x_intent_id}
    first = call(sandbox, "POST", "/payments/merchant/refund", body, idempotency_key="k1")
    sandbox.pay(x_intent_id)

    again = call(sandbox, "POST", "/payments/merchant/refund", body, idempotency_key="k1")

    assert (400, "bad_request") == error_of(first)
    assert first == again


def test_no_marker() -> None:
    """A repeated answer looks like the first."""
    sandbox = make_sandbox()

    answers = [call(sandbox, "POST", CREATE, BODY, idempotency_key="k1") for _ in range(2)]

    assert answers[0].headers == answers[1].headers == (("content-type", "application/json"),)


def test_other_body() -> None:
    """The same key with another body is 400."""
    sandbox = make_sandbox()
    create_again = BODY | {"amount": 2600}
    call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")

    answer = call(sandbox, "POST", CREATE, create_again, idempotency_key="k1")

    assert (400, "bad_request") == error_of(answer)
    assert 1 == len(sandbox.intents())


@pytest.mark.parametrize("pair", [(b"[1]", b"[1.0]"), (b"[1]", b"[true]"), (b"{", b"{ ")])
def test_bodies_that_differ(pair: tuple[bytes, bytes]) -> None:
    """Values of other types are other parameters, and broken bodies are compared as bytes."""
    sandbox = make_sandbox()
    call(sandbox, "POST", CREATE, pair[0], idempotency_key="k1")

    answer = call(sandbox, "POST", CREATE, pair[1], idempotency_key="k1")

    assert "other parameters" in answer.json()["errorDescription"]


def test_same_parameters_written_otherwise() -> None:
    """Parameters are compared, so white space and the order of fields do not matter."""
    sandbox = make_sandbox()
    first = call(sandbox, "POST", CREATE, b'{"a":1,"b":"\xc3\xa9"}', idempotency_key="k1")

    again = call(sandbox, "POST", CREATE, b'{ "b" : "\\u00e9", "a" : 1 }', idempotency_key="k1")

    assert first == again


def test_other_endpoint() -> None:
    """The same key at another endpoint is 400."""
    sandbox = make_sandbox()
    call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")

    answer = call(sandbox, "POST", "/payments/merchant/refund", BODY, idempotency_key="k1")

    assert (400, "bad_request") == error_of(answer)
    assert "another endpoint" in answer.json()["errorDescription"]


def test_retention() -> None:
    """A key holds for 24 hours and not a millisecond longer."""
    sandbox = make_sandbox()
    first = call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")

    clock_of(sandbox).advance(DAY_S - 0.001)
    assert first == call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")
    clock_of(sandbox).advance(0.001)
    assert first != call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")
    assert 2 == len(sandbox.intents())


@pytest.mark.parametrize(("status", "code"), [(409, "conflict"), (400, "bad_request")])
def test_while_running(status: int, code: str) -> None:
    """While the first request runs, a second one is 409 or 400; afterwards it is repeated."""
    sandbox = make_sandbox(in_progress_status=status)
    sandbox.set_faults(FaultPlan(api=(ApiFault(fault="slow", milliseconds=3000, nth=1),)))
    first = call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")

    assert 3000 == first.delay_ms
    clock_of(sandbox).advance(2.999)
    running = call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")
    assert (status, code) == error_of(running)
    assert "in progress" in running.json()["errorDescription"]
    clock_of(sandbox).advance(0.001)
    again = call(sandbox, "POST", CREATE, BODY, idempotency_key="k1")
    assert (200, first.body, 0) == (again.status, again.body, again.delay_ms)
    assert 1 == len(sandbox.intents())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/payments/intents"),
        ("GET", "/payments/v2/get-intent/in_1"),
        ("GET", "/payments/refund/rf_1"),
        ("POST", "/webhook"),
    ],
)
def test_endpoint_without_support(method: str, path: str) -> None:
    """An endpoint that does not support the header refuses it with 400."""
    answer = call(make_sandbox(), method, path, {}, idempotency_key="k1")

    assert (400, "bad_request") == error_of(answer)
    assert "Idempotency-Key" in answer.json()["errorDescription"]


def test_endpoint_without_support_lenient() -> None:
    """A setting lets endpoints without support ignore the header."""
    sandbox = make_sandbox(refuse_key_where_unsupported=False)

    assert 200 == call(sandbox, "GET", "/payments/intents", idempotency_key="k1").status


def test_wrong_name_of_the_header() -> None:
    """`X-Pay-Idempotency-Key`, which a shop once sent, protects nothing."""
    sandbox = make_sandbox()
    answers = [call(sandbox, "POST", CREATE, BODY, x_pay_idempotency_key="k1") for _ in range(2)]

    assert answers[0].json()["xIntentId"] != answers[1].json()["xIntentId"]


def test_refused_calls_are_not_remembered() -> None:
    """A call with wrong keys or over the rate uses up no key."""
    sandbox = make_sandbox()
    call(sandbox, "POST", CREATE, BODY, idempotency_key="k1", authorization="Basic x")

    assert 200 == call(sandbox, "POST", CREATE, BODY, idempotency_key="k1").status


def test_lost_answer_then_repeat() -> None:
    """When the answer was lost after it took effect, the same key brings the same intent."""
    sandbox = make_sandbox()
    lost = ApiFault(fault="lose_answer", path=CREATE, times=1)
    sandbox.set_faults(FaultPlan(api=(lost,)))

    assert isinstance(sandbox.handle(request("POST", CREATE, BODY, idempotency_key="k")), NoAnswer)
    answer = call(sandbox, "POST", CREATE, BODY, idempotency_key="k")

    assert [answer.json()["xIntentId"]] == [intent.x_intent_id for intent in sandbox.intents()]


def test_keys_are_limited() -> None:
    """Beyond `idempotency_keys_max` the oldest key is forgotten."""
    sandbox = make_sandbox(idempotency_keys_max=2)
    for key in ("a", "b", "c", "a"):
        call(sandbox, "POST", CREATE, BODY, idempotency_key=key)

    assert 4 == len(sandbox.intents())
