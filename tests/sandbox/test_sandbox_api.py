"""The merchant API: keys, content, errors and the types that xPay answers with."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpay_flow.sandbox import NoAnswer, RateLimit, Request, Sandbox, SandboxConfig, VirtualClock

from .merchant import BODY, CREATE, HOOK, basic, call, clock_of, create, error_of, make_sandbox

GET = "/payments/v2/get-intent/"


# Keys


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic é",
        basic("sandbox_public_key", "wrong"),
        basic("wrong", "sandbox_private_key"),
        basic("sandbox_public_key", ""),
        basic().replace("Basic", "Bearer"),
        "Basic " + base64.b64encode(b"\xff:\xfe").decode(),
    ],
)
def test_wrong_keys(authorization: str) -> None:
    """Wrong keys are 401 `unauthorized` on every path, known or not."""
    sandbox = make_sandbox()

    for path in (CREATE, "/nowhere"):
        answer = call(sandbox, "POST", path, BODY, authorization=authorization)
        assert (401, "unauthorized") == error_of(answer)
    assert [] == sandbox.intents()


def test_missing_authorization() -> None:
    """A request without an Authorization header is 401."""
    answer = make_sandbox().handle(Request("GET", "/payments/intents"))

    assert not isinstance(answer, NoAnswer)
    assert (401, "unauthorized") == error_of(answer)


def test_scheme_in_any_case() -> None:
    """The name of the scheme is compared without regard to case (RFC 7617)."""
    answer = call(
        make_sandbox(), "GET", "/payments/intents", authorization=basic().replace("B", "b", 1)
    )

    assert 200 == answer.status


def test_secrets_are_not_shown() -> None:
    """Neither the configuration, a request nor an endpoint shows a secret in its repr."""
    config = SandboxConfig(private_key="s3cret-a", signing_key="s3cret-b", webhook_url=HOOK)
    sandbox = Sandbox(config)
    request = Request("GET", "/", headers={"authorization": basic("u", "s3cret-c")})

    shown = f"{config!r} {request!r} {sandbox.endpoints()!r}"

    assert "s3cret" not in shown
    assert basic("u", "s3cret-c") not in shown


# Ids


def test_a_sandbox_that_is_started_again_repeats_no_id() -> None:
    """The ids of yesterday's sandbox are on file in the shop, so today's must be others."""
    seen = {create(Sandbox(SandboxConfig(webhook_url=HOOK), clock=VirtualClock())) for _ in "1234"}
    assert 4 == len(seen)


def test_a_seed_that_is_given_repeats_a_run() -> None:
    """So does the one that a sandbox reports."""
    first = Sandbox(SandboxConfig(webhook_url=HOOK), clock=VirtualClock())
    for seed in (first.seed, 0):
        once, again = (
            create(Sandbox(SandboxConfig(webhook_url=HOOK), clock=VirtualClock(), seed=seed))
            for _ in "12"
        )
        assert once == again


# Paths


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", CREATE),
        ("POST", "/payments/intents"),
        ("GET", "/payments/get-intent/in_1"),
        ("GET", GET + "in_1/more"),
        ("DELETE", "/webhook/whc_1"),
        ("GET", "/payments/v2/get-intent/{}/x"),
    ],
)
def test_unknown_paths(method: str, path: str) -> None:
    """A path or method that the documentation does not list is 404 `resource_not_found`."""
    assert (404, "resource_not_found") == error_of(call(make_sandbox(), method, path))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", GET + "in_nobody", None),
        ("GET", GET + "%2e%2e%2fetc", None),
        ("GET", GET + "{}", None),
        ("POST", "/payments/cancel/in_nobody", {"xIntentId": "in_nobody"}),
        ("POST", "/payments/merchant/refund", {"xIntentId": "in_nobody"}),
        ("GET", "/payments/refund/rf_nobody", None),
        ("GET", "/payments/refunds/in_nobody", None),
        ("GET", "/webhook/whc_nobody", None),
        ("PUT", "/webhook/whc_nobody", {}),
    ],
)
def test_unknown_objects(method: str, path: str, body: object) -> None:
    """An unknown id is 404 `resource_not_found`."""
    assert (404, "resource_not_found") == error_of(call(make_sandbox(), method, path, body))


# Create


def test_create() -> None:
    """Create answers 200 with the documented fields, and nothing else."""
    answer = call(make_sandbox(), "POST", CREATE, BODY)

    received = answer.json()
    assert 200 == answer.status
    assert re.fullmatch("in_[A-Za-z0-9]{16}", received.pop("xIntentId"))
    fwd_url = received.pop("fwdUrl")
    assert fwd_url.startswith("http://127.0.0.1:4010/checkout/?xpay_intent_id=")
    assert {
        **BODY,
        "status": "CREATED",
        "presentmentCurrency": "EUR",
        "createdAt": "2026-01-05T09:30:00.000+00:00",
    } == received


def test_fwd_url_holds_another_id() -> None:
    """The id in `fwdUrl` is not the intent's, and leads back to it (Q5)."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    checkout_id = sandbox.checkout_id_of(x_intent_id)

    assert x_intent_id not in sandbox.fwd_url(x_intent_id)
    assert sandbox.fwd_url(x_intent_id).endswith(f"xpay_intent_id={checkout_id}")
    assert x_intent_id == sandbox.intent_by_checkout_id(checkout_id).x_intent_id


def test_minimal_create() -> None:
    """Only amount, currency and callbackUrl are needed; what is absent comes back as null."""
    body = {name: BODY[name] for name in ("amount", "currency", "callbackUrl")}

    received = call(make_sandbox(), "POST", CREATE, body).json()

    for name in ("receiptId", "description", "cancelUrl", "customerDetails", "metadata"):
        assert received[name] is None


def test_absent_fields_left_out() -> None:
    """With `absent_as_null=False`, what is absent is left out."""
    body = {name: BODY[name] for name in ("amount", "currency", "callbackUrl")}

    received = call(make_sandbox(absent_as_null=False), "POST", CREATE, body).json()

    assert "receiptId" not in received
    assert None not in received.values()


WRONG_FIELDS: list[dict[str, Any]] = [
    {"amount": None},
    {"amount": 25.99},
    {"amount": 2599.0},
    {"amount": "2599"},
    {"amount": True},
    {"amount": 99},
    {"amount": 0},
    {"amount": -2599},
    {"amount": 10**16},
    {"currency": None},
    {"currency": "eur"},
    {"currency": "EURO"},
    {"currency": "ZZZ"},
    {"currency": "XXX"},
    {"currency": 978},
    {"callbackUrl": None},
    {"callbackUrl": ""},
    {"callbackUrl": "/pay/return"},
    {"callbackUrl": "javascript:alert(1)"},
    {"callbackUrl": "ftp://shop.example/"},
    {"callbackUrl": "https://"},
    {"callbackUrl": "https://shop.example/\r\nset-cookie: a=b"},
    {"callbackUrl": "https://shop.example/a b"},
    {"callbackUrl": "https://[::1"},
    {"callbackUrl": "https://shop.example:port/"},
    {"callbackUrl": "http://shop.example/"},
    {"callbackUrl": "https://shop.example/" + "a" * 2048},
    {"callbackUrl": ["https://shop.example/"]},
    {"cancelUrl": "nonsense"},
    {"receiptId": 1001},
    {"receiptId": "a" * 256},
    {"description": {}},
    {"metadata": []},
    {"metadata": {"orderId": 1001}},
    {"metadata": {"orderId": None}},
    {"metadata": {"a" * 41: "b"}},
    {"metadata": {"a": "b" * 501}},
    {"metadata": {str(number): "" for number in range(51)}},
    {"paymentMethods": "CARD"},
    {"paymentMethods": ["CASH"]},
    {"paymentMethods": [["CARD"]]},
    {"phoneNumberRequired": "yes"},
    {"tokenise": 1},
    {"customerId": 7},
    {"storeFrontId": "s" * 256},
    {"customerDetails": "Ada"},
    {"customerDetails": {"name": 1}},
    {"customerDetails": {"contactNumber": ""}},
    {"customerDetails": {"customerAddress": "here"}},
    {"receiptId": "\ud800"},
]


@pytest.mark.parametrize("change", WRONG_FIELDS, ids=lambda change: ascii(change)[:60])
def test_wrong_fields(change: dict[str, Any]) -> None:
    """A field that is wrong is 400 `bad_request`, and nothing is created or announced."""
    sandbox = make_sandbox()

    answer = call(sandbox, "POST", CREATE, BODY | change)

    assert (400, "bad_request") == error_of(answer)
    assert [] == sandbox.intents()
    assert [] == sandbox.due()


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 100},
        {"amount": 10**15},
        {"currency": "JPY"},
        {"callbackUrl": "http://localhost:8000/return"},
        {"callbackUrl": "http://shop.localhost/return"},
        {"callbackUrl": "http://[::1]:8000/"},
        {"callbackUrl": "http://192.168.1.20:8000/return"},
        {"callbackUrl": "http://web:8000/return"},
        {"callbackUrl": "https://shop.example/straße?a=1#b"},
        {"receiptId": "a" * 255},
        {"metadata": {str(number): "v" * 500 for number in range(50)}},
        {"metadata": {"k" * 40: "Zoë – ₹"}},
        {"metadata": {}},
        {"paymentMethods": ["PAYPAL", "CARD"]},
        {"customerDetails": {"contactNumber": 4155550100}},
        {"unknownField": {"of": ["any", "kind"]}},
    ],
    ids=lambda change: ascii(change)[:60],
)
def test_edges_that_pass(change: dict[str, Any]) -> None:
    """What is just inside the limits passes."""
    assert 200 == call(make_sandbox(), "POST", CREATE, BODY | change).status


@pytest.mark.parametrize(
    "change",
    [
        {"customerDetails": None},
        {"customerDetails": {"contactNumber": 4155550100}},
        {"customerDetails": {"contactNumber": "555-0100"}},
        {"customerDetails": {"customerAddress": {"country": "United States"}}},
    ],
)
def test_strict_docs(change: dict[str, Any]) -> None:
    """`strict_docs` refuses what the pages forbid although live shops do it."""
    assert 200 == call(make_sandbox(), "POST", CREATE, BODY | change).status
    strict = call(make_sandbox(strict_docs=True), "POST", CREATE, BODY | change)
    assert (400, "bad_request") == error_of(strict)
    assert 200 == call(make_sandbox(strict_docs=True), "POST", CREATE, BODY).status


def test_settings_of_create() -> None:
    """Minimum, currencies and the demand for https are settings."""
    sandbox = make_sandbox(
        minimum_minor=101, currencies=frozenset({"USD"}), https_except_localhost=False
    )
    good = BODY | {"amount": 101, "currency": "USD", "callbackUrl": "http://10.0.0.7/return"}

    assert 200 == call(sandbox, "POST", CREATE, good).status
    assert 400 == call(sandbox, "POST", CREATE, good | {"amount": 100}).status
    assert 400 == call(sandbox, "POST", CREATE, good | {"currency": "EUR"}).status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"amount": 1e999}',
        b"a" * (2**20 + 1),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_bodies_that_are_no_object(body: bytes) -> None:
    """Bytes that are not a JSON object are 400 `bad_request`, whatever they are."""
    assert (400, "bad_request") == error_of(call(make_sandbox(), "POST", CREATE, body))


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.one_of(
        st.sampled_from(
            [CREATE, "/payments/cancel/x", "/payments/merchant/refund", "/webhook", "/webhook/x"]
        ),
        st.text(max_size=30).map(lambda text: "/" + text),
    ),
    query=st.text(max_size=60),
    body=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from([*BODY, "xIntentId", "endpoint"]), inner)
            ),
        ).map(lambda value: json.dumps(value).encode()),
    ),
    key=st.none() | st.text(max_size=20),
)
def test_hostile_requests(method: str, path: str, query: str, body: bytes, key: str | None) -> None:
    """Whatever is sent, the answer is a documented one and never a 500."""
    headers = {"authorization": basic()} | ({} if key is None else {"Idempotency-Key": key})

    answer = make_sandbox().handle(Request(method, path, query, headers, body))

    assert not isinstance(answer, NoAnswer)
    assert answer.status in (200, 400, 404)


def test_content_type() -> None:
    """A form is refused; a missing content type passes unless the docs are taken strictly."""
    form = call(
        make_sandbox(), "POST", CREATE, BODY, content_type="application/x-www-form-urlencoded"
    )
    json_with_charset = call(
        make_sandbox(), "POST", CREATE, BODY, content_type="application/json; charset=utf-8"
    )
    bare = Request("POST", CREATE, "", {"authorization": basic()}, json.dumps(BODY).encode())

    assert (400, "bad_request") == error_of(form)
    assert 200 == json_with_charset.status
    assert 200 == getattr(make_sandbox().handle(bare), "status", None)
    assert 400 == getattr(make_sandbox(strict_docs=True).handle(bare), "status", None)


# Get


def test_get() -> None:
    """Get has the fields of create but `fwdUrl`; creation is text, success a number."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    clock_of(sandbox).advance(1.5)
    sandbox.pay(x_intent_id)

    received = call(sandbox, "GET", GET + x_intent_id).json()

    assert {
        **BODY,
        "xIntentId": x_intent_id,
        "status": "SUCCESS",
        "presentmentCurrency": "EUR",
        "createdAt": "2026-01-05T09:30:00.000+00:00",
        "succeededAt": 1767605401500,
    } == received


def test_expand() -> None:
    """`expand`, repeated, adds the attempts in order of time and the one that worked."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    sandbox.decline(x_intent_id, "card_declined")
    clock_of(sandbox).advance(10)
    sandbox.pay(x_intent_id)
    query = "expand=charge_attempts&expand=succeeded_charge"

    received = call(sandbox, "GET", GET + x_intent_id, query=query).json()

    card = {
        "brand": "Visa",
        "country": "US",
        "lastFourDigit": "4242",
        "expiryMonth": 4,
        "expiryYear": 2031,
    }
    how = {"paymentMethod": "CARD", "cardMetadata": card}
    failed = {
        "status": "FAILED",
        "chargeTime": 1767605400000,
        "errorCode": "card_declined",
        "paymentMetadata": how,
    }
    worked = {
        "status": "SUCCESS",
        "chargeTime": 1767605410000,
        "errorCode": None,
        "paymentMetadata": how,
    }
    assert [failed, worked] == received["chargeAttempts"]
    assert worked == received["succeededCharge"]


def test_settings_of_get() -> None:
    """Settings bring `fwdUrl` and the charges; an unknown expansion is 400."""
    sandbox = make_sandbox(fwd_url_in_get=True, expand_by_default=True)
    x_intent_id = create(sandbox)

    received = call(sandbox, "GET", GET + x_intent_id).json()

    assert sandbox.fwd_url(x_intent_id) == received["fwdUrl"]
    assert [] == received["chargeAttempts"]
    assert "succeededCharge" not in received
    assert 400 == call(sandbox, "GET", GET + x_intent_id, query="expand=everything").status


# Rate limit


@pytest.mark.parametrize(("limit", "pause_s"), [(RateLimit(10, 1), 1), (RateLimit(60, 60), 60)])
def test_rate_limit(limit: RateLimit, pause_s: int) -> None:
    """One call too many is 429 `rate_limit_exceeded`; after the window calls pass again."""
    sandbox = make_sandbox(rate_limit=limit)
    for _ in range(limit.requests):
        assert 200 == call(sandbox, "GET", "/payments/intents").status

    assert (429, "rate_limit_exceeded") == error_of(call(sandbox, "GET", "/payments/intents"))
    clock_of(sandbox).advance(pause_s)
    assert 200 == call(sandbox, "GET", "/payments/intents").status


def test_default_rate() -> None:
    """By default the newest documented limit holds: 10 in a second."""
    assert RateLimit(10, 1) == SandboxConfig().rate_limit


# Determinism and limits


def test_same_seed_same_ids() -> None:
    """The same seed gives the same ids, another seed others."""
    clock = VirtualClock()
    ids = [create(Sandbox(seed=seed, clock=clock)) for seed in (1, 1, 2)]

    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_oldest_intent_goes() -> None:
    """Beyond `intents_max` the oldest intent is forgotten, with its refunds and its page."""
    sandbox = make_sandbox(intents_max=2)
    first = create(sandbox)
    sandbox.pay(first)
    refund = sandbox.refund(first)
    checkout_id = sandbox.checkout_id_of(first)
    others = [create(sandbox), create(sandbox)]

    assert others == [intent.x_intent_id for intent in sandbox.intents()]
    assert 404 == call(sandbox, "GET", f"/payments/refund/{refund.refund_id}").status
    with pytest.raises(LookupError):
        sandbox.intent_by_checkout_id(checkout_id)
