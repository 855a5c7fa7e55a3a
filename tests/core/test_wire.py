"""What bytes say, and that nothing but one error comes of those that say it badly."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xpay_flow import messages, wire
from xpay_flow.errors import UntrustedMessage
from xpay_flow.money import AMOUNT_MINOR_MAX

SUCCESS: dict[str, Any] = {
    "eventId": "whe_A4",
    "eventType": "intent.success",
    "eventTime": 1767605460000,
    "intentId": "in_A1",
    "receiptId": "order-1001",
    "status": "SUCCESS",
    "amount": 2599,
    "currency": "EUR",
    "paymentMethod": "CARD",
    "customerDetails": {"name": "Ada Example", "customerAddress": {"country": "US"}},
    "card": {"brand": "visa", "lastFourDigit": "4242", "expiryMonth": 4, "expiryYear": 2031},
    "metadata": {"orderId": "1001"},
}

GOT: dict[str, Any] = {
    "xIntentId": "in_A1",
    "status": "SUCCESS",
    "amount": 2599,
    "currency": "EUR",
    "presentmentCurrency": "USD",
    "receiptId": "order-1001",
    "createdAt": "2026-01-05T09:30:00.250+00:00",
    "succeededAt": 1767605460000,
    "fwdUrl": "https://pay.xpaycheckout.com/?xpay_intent_id=opaque&secret=s3cr3t",
    "metadata": {"orderId": "1001"},
    "chargeAttempts": [
        {"status": "FAILED", "errorCode": "expired_card"},
        {"status": "FAILED", "errorCode": "card_declined"},
        {"status": "SUCCESS", "errorCode": None},
    ],
    "succeededCharge": {
        "status": "SUCCESS",
        "paymentMetadata": {
            "paymentMethod": "CARD",
            "cardMetadata": {"brand": "Visa", "lastFourDigit": "4242", "expiryYear": 2031},
        },
    },
}


def encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def webhook(**changes: Any) -> bytes:
    return encoded(SUCCESS | changes)


def webhook_without(*names: str, **changes: Any) -> bytes:
    return encoded({k: v for k, v in (SUCCESS | changes).items() if k not in names})


def reason_of(body: bytes, **limits: int) -> str:
    with pytest.raises(UntrustedMessage) as caught:
        wire.parse_object(body, limits=wire.Limits(**limits))
    assert caught.value.reason in wire.REASONS
    return caught.value.reason


# --- strict JSON ---


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("empty", b""),
        ("not-json", b" "),
        ("not-json", b"{"),
        ("not-json", b"{}{}"),
        ("not-json", b"{} x"),
        ("not-json", b"x{}"),
        ("not-json", b"{'a':1}"),
        ("not-json", b'{"a":1,}'),
        ("not-json", b'{"a":01}'),
        ("not-json", b'{"a":+1}'),
        ("not-json", b'{"a":0x1}'),
        ("not-json", b'{"a":"\n"}'),
        ("not-json", b'{"a":"\\x"}'),
        ("not-json", b'{"a":1}// no comments'),
        ("not-json", "{}\u00a0".encode()),
        ("not-an-object", b"[]"),
        ("not-an-object", b"null"),
        ("not-an-object", b'"{}"'),
        ("not-an-object", b"1"),
        ("not-utf8", b'{"a":"\xff"}'),
        ("not-utf8", b'{"a":"\xc0\x80"}'),
        ("not-utf8", b'{"a":"\xed\xa0\x80"}'),
        ("not-utf8", '{"a":1}'.encode("utf-16")),
        ("bad-text", '{"a":1}'.encode("utf-16-be")),
        ("bad-text", b'\xef\xbb\xbf{"a":1}'),
        ("bad-text", b'{"a":"\x00"}'),
        ("bad-text", b"{}\x00"),
        ("bad-text", b'{"a":"\\u0000"}'),
        ("bad-text", b'{"\\u0000":1}'),
        ("bad-text", b'{"a":"\\ud800"}'),
        ("bad-text", b'{"a":[{"b":"\\uDFFF"}]}'),
        ("bad-text", b'{"\\udc00\\ud800":1}'),
        ("duplicate-key", b'{"a":1,"a":1}'),
        ("duplicate-key", b'{"a":1,"\\u0061":2}'),
        ("duplicate-key", b'{"b":[{"a":1,"a":2}]}'),
        ("bad-number", b'{"a":NaN}'),
        ("bad-number", b'{"a":Infinity}'),
        ("bad-number", b'{"a":-Infinity}'),
        ("bad-number", b'{"a":1e999}'),
        ("bad-number", b'{"a":9223372036854775808}'),
        ("bad-number", b'{"a":-9223372036854775809}'),
        ("bad-number", b'{"a":' + b"9" * 10**6 + b"}"),
        ("bad-number", b'{"a":0.' + b"9" * 10**6 + b"}"),
        ("bad-number", b'{"a":1e' + b"9" * 10**6 + b"}"),
    ],
)
def test_refused_bytes(reason: str, body: bytes) -> None:
    """What is not strict JSON is refused, with the reason that fits."""
    assert reason == reason_of(body)


@pytest.mark.parametrize(
    ("expected", "body"),
    [
        ({}, b"{}"),
        ({"a": 1}, b' \t\r\n{"a":1}\n'),
        ({"a": 9223372036854775807}, b'{"a":9223372036854775807}'),
        ({"a": [None, True, 2.5, -0.0]}, b'{"a":[null,true,2.5,-0.0]}'),
        ({"note": "Zoë – ₹"}, '{"note":"Zoë – ₹"}'.encode()),
        ({"a": "😀\u0001"}, b'{"a":"\\ud83d\\ude00\\u0001"}'),
        ({"a": "\\u0000 \\ud800"}, b'{"a":"\\\\u0000 \\\\ud800"}'),
        ({"a": "[[[[[[[[[[[[[[[[[[[["}, b'{"a":"[[[[[[[[[[[[[[[[[[[["}'),
        ({"": ""}, b'{"":""}'),
    ],
)
def test_accepted_bytes(expected: object, body: bytes) -> None:
    """Strict JSON is read to its value, exact type included."""
    assert repr(expected) == repr(wire.parse_object(body))


def test_integers_stay_integers_and_floats_stay_floats() -> None:
    """`2500` and `2500.0` remain different, so that an amount can refuse the latter."""
    value = wire.parse_object(b'{"i":2500,"f":2500.0,"e":25e2}')
    assert [int, float, float] == [type(value[name]) for name in "ife"]


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def test_depth_has_an_exact_limit() -> None:
    """Sixteen levels are read, seventeen are refused, of objects and arrays alike."""
    assert wire.parse_object(nested(16))
    assert wire.parse_object(b'{"a":' + b"[" * 15 + b"]" * 15 + b"}")
    assert "too-deep" == reason_of(nested(17))
    assert "too-deep" == reason_of(b'{"a":' + b"[" * 16 + b"]" * 16 + b"}")


def test_brackets_in_strings_are_no_depth() -> None:
    """Only brackets outside strings nest, wherever the quotes and backslashes stand."""
    text = '{[" \\ " [{\\' * 40
    assert {"a": text, "b": [text]} == wire.parse_object(encoded({"a": text, "b": [text]}))
    assert "too-deep" == reason_of(encoded({"a": text}).rstrip(b"}") + b',"b":' + nested(17))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2**20,
        b'{"a":' * 2**17,
        b'{"a":' + b"[" * 30_000,
        b'{"a":"' + b'\\"' * 500_000,
        b'"' * 2**20,
        b"\\" * 2**20,
        b"}" * 2**20,
        b'{"a":["' + b'","' * 300_000,
    ],
)
def test_large_hostile_bodies(body: bytes) -> None:
    """Nesting and quoting without end are refused within the size limit, without recursion."""
    assert reason_of(body) in {"too-deep", "too-many-values", "not-json"}


def test_size_has_an_exact_limit() -> None:
    """1 MiB is read, one byte more is refused."""
    largest = b'{"a":"' + b"x" * (2**20 - 8) + b'"}'
    assert 2**20 == len(largest)
    assert wire.parse_object(largest)
    assert "too-large" == reason_of(largest + b" ")


def test_members_have_an_exact_limit() -> None:
    """256 members per object are read, 257 are refused."""
    many = {str(i): i for i in range(256)}
    assert many == wire.parse_object(encoded(many))
    assert "too-many-values" == reason_of(encoded(many | {"one": "more"}))


def test_values_have_a_limit() -> None:
    """Values in all are bounded, while commas inside strings do not count."""
    assert "too-many-values" == reason_of(encoded({"a": [1, 2, 3, 4]}), values_max=4)
    assert {"a": ",,,,,,,,"} == wire.parse_object(
        b'{"a":",,,,,,,,"}', limits=wire.Limits(values_max=4)
    )


def test_limits_are_settable() -> None:
    """A caller may allow less than the default."""
    assert "too-large" == reason_of(b'{"a":1}', body_bytes_max=6)
    assert "too-deep" == reason_of(b'{"a":{}}', depth_max=1)
    with pytest.raises(UntrustedMessage, match="too-large"):
        wire.read_webhook(webhook(), limits=wire.Limits(body_bytes_max=100))


def test_error_does_not_carry_the_bytes() -> None:
    """The text of an error is short and does not repeat what was sent."""
    for body in (b"{" + b"x" * 9999, b'{"k\ney":1,"k\ney":2}', b'{"secret\\u0000":1}'):
        with pytest.raises(UntrustedMessage) as caught:
            wire.parse_object(body)
        assert len(str(caught.value)) < 80
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)


READERS: list[Callable[[bytes], object]] = [
    wire.parse_object,
    wire.read_webhook,
    wire.read_unreadable,
    wire.read_intent,
    wire.read_intent_page,
    wire.read_refund,
    wire.read_refunds,
    wire.read_webhook_endpoint,
    wire.read_webhook_endpoints,
]


def outcome(call: Callable[[], object]) -> object:
    """What a call answers, or the reason of the one error that it may raise."""
    try:
        return call()
    except UntrustedMessage as error:
        return error.reason


def only_untrusted(body: bytes) -> None:
    for read in READERS:
        answer = outcome(partial(read, body))
        assert not isinstance(answer, str) or answer in wire.REASONS
    code, words = wire.read_error(500, body)
    for text in (code, words):
        assert 0 < len(text) <= 200
        assert text.isprintable()


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
@example(b'{"a":"\\ud800"}')
@example(b'{"errorCode":"\\u0007","errorDescription":"\\u202e"}')
def test_any_bytes(body: bytes) -> None:
    """Any bytes whatever raise UntrustedMessage or nothing, from every reader."""
    only_untrusted(body)


SEEDS = [
    encoded(SUCCESS),
    encoded(GOT),
    encoded({"data": GOT}),
    encoded({"data": [GOT, GOT], "metadata": {"offset": "cursor"}}),
    encoded({"errorCode": "bad_request", "errorDescription": "Failed to read request"}),
]
FRAGMENTS = [b"", b'"', b"{", b"[", b"]", b"}", b"\\", b",", b"1e9", b"-", b"\x00", b"\xff"]
FRAGMENTS += [b"null", b"true", b"\\u0000", b"\\ud800", b"9" * 5000, b"[" * 50, b"\xef\xbb\xbf"]


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_mutated_messages(data: st.DataObject) -> None:
    """A genuine message with pieces cut out or put in raises UntrustedMessage or nothing."""
    body = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 30)))
        body = body[:start] + data.draw(st.sampled_from(FRAGMENTS)) + body[end:]
    only_untrusted(body)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | TEXT
VALUES = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(SUCCESS | GOT)) | TEXT, VALUES, max_size=6))
def test_any_value_in_any_field(changes: dict[str, Any]) -> None:
    """A message in which any field holds any JSON raises UntrustedMessage or nothing."""
    only_untrusted(encoded(SUCCESS | changes))
    only_untrusted(encoded(GOT | changes))


@settings(deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=5), st.booleans())
def test_round_trip(value: dict[str, Any], ascii_only: bool) -> None:
    """What a correct writer writes, escaped or not, is read back equal."""
    assert value == wire.parse_object(json.dumps(value, ensure_ascii=ascii_only).encode())
    assert value == wire.parse_object(wire.canonical_json(value).encode())


# --- digest ---


def test_digest_ignores_layout_only() -> None:
    """White space, key order and escapes do not change the digest; any value does."""
    one = wire.parse_object('{"a":1,"b":{"c":"Zoë","d":[1,2]}}'.encode())
    two = wire.parse_object(b'{ "b": {"d": [1, 2], "c": "Zo\\u00eb"},\n "a": 1 }')
    assert wire.digest(one) == wire.digest(two)
    changed: list[dict[str, Any]] = [{"a": 2}, {"a": "1"}, {"a": True}, {"b": {"c": "Zoë"}}]
    for other in changed:
        assert wire.digest(one) != wire.digest(one | other)


def test_digest_is_pinned() -> None:
    """The digest is stored, so its definition never changes."""
    assert '{"a":[1,null],"b":"ë"}' == wire.canonical_json({"b": "ë", "a": [1, None]})
    assert "44136fa355b3678a1146ad16f7e8649e" == wire.digest({})


# --- webhooks ---


def test_success_event() -> None:
    """Each field of the documented success event is read, and the whole object is kept."""
    expected = wire.WebhookMessage(
        event_id="whe_A4",
        event_type=messages.INTENT_SUCCESS,
        event_time_ms=1767605460000,
        x_intent_id="in_A1",
        receipt_id="order-1001",
        status=messages.STATUS_SUCCESS,
        amount_minor=2599,
        currency="EUR",
        error_code=None,
        payment_method="CARD",
        refund_id=None,
        dispute_id=None,
        metadata={"orderId": "1001"},
        raw=SUCCESS,
    )
    assert expected == wire.read_webhook(webhook())


@pytest.mark.parametrize(
    ("expected", "body"),
    [
        (
            {"status": "CREATED", "amount_minor": 2599, "receipt_id": None},
            b'{"eventId":"whe_A1","eventType":"intent.created","eventTime":1767605400000,'
            b'"intentId":"in_A1","status":"CREATED","amount":2599,"currency":"EUR",'
            b'"metadata":{"orderId":"1001"}}',
        ),
        (
            {"status": None, "amount_minor": None, "currency": None},
            b'{"eventId":"whe_A2","eventType":"intent.checkout_opened","eventTime":1767605412000,'
            b'"intentId":"in_A1","receiptId":"order-1001","metadata":{"orderId":"1001"}}',
        ),
        (
            {"error_code": "insufficient_funds", "status": "FAILED"},
            b'{"eventId":"whe_A3","eventType":"intent.failed","eventTime":1767605430000,'
            b'"intentId":"in_A1","receiptId":"order-1001","status":"FAILED","amount":2599,'
            b'"currency":"EUR","errorCode":"insufficient_funds","metadata":{"orderId":"1001"}}',
        ),
        (
            {"refund_id": "rf_A1", "amount_minor": 2599},
            b'{"eventId":"whe_A5","eventType":"intent.refunded","eventTime":1767691800000,'
            b'"intentId":"in_A1","receiptId":"order-1001","refundId":"rf_A1",'
            b'"refundReferenceId":"bank-ref","status":"REFUNDED","amount":2599,"currency":"EUR",'
            b'"metadata":{"orderId":"1001"}}',
        ),
        (
            {"dispute_id": "dp_A1", "status": None},
            b'{"eventId":"whe_A6","eventType":"intent.disputed","eventTime":1768000000000,'
            b'"intentId":"in_A1","receiptId":"order-1001","disputeId":"dp_A1",'
            b'"metadata":{"orderId":"1001"}}',
        ),
        (
            {"x_intent_id": None, "event_type": "setup_method.created"},
            b'{"eventId":"whe_B1","eventType":"setup_method.created","eventTime":1767605400000,'
            b'"setupMethodId":"sm_A1","metadata":{}}',
        ),
        (
            {"x_intent_id": "in_A3", "amount_minor": None},
            b'{"eventId":"whe_C1","eventType":"subscription.cycle_charged",'
            b'"eventTime":1767605400000,"subscriptionId":"sub_A1","intentId":"in_A3",'
            b'"intentAmount":1500,"intentCurrency":"USD","remainingCycleCount":4,"metadata":{}}',
        ),
        (
            {"event_id": "5f0a1b2c3d4e5f6a7b8c9d0e", "error_code": None},
            b'{"eventId":"5f0a1b2c3d4e5f6a7b8c9d0e","eventType":"intent.incomplete",'
            b'"eventTime":1567605400000,"intentId":"5f0a1b2c3d4e5f6a7b8c9d0f"}',
        ),
    ],
)
def test_documented_events(expected: dict[str, object], body: bytes) -> None:
    """The documented events of every generation are read."""
    message = wire.read_webhook(body)
    assert expected == {name: getattr(message, name) for name in expected}
    assert json.loads(body) == message.raw


def test_intent_id_has_two_names() -> None:
    """`intentId` and `xIntentId` mean the same; if both are there, they must agree."""
    assert "in_A1" == wire.read_webhook(webhook(xIntentId="in_A1")).x_intent_id
    assert "in_A1" == wire.read_webhook(webhook(xIntentId=None)).x_intent_id
    only_x = webhook_without("intentId", xIntentId="in_X")
    assert "in_X" == wire.read_webhook(only_x).x_intent_id
    with pytest.raises(UntrustedMessage, match="differ"):
        wire.read_webhook(webhook(xIntentId="in_other"))


@pytest.mark.parametrize("name", ["eventId", "eventType"])
def test_required_fields(name: str) -> None:
    """An event without id or type is refused, missing and null alike."""
    for body in (webhook_without(name), webhook(**{name: None})):
        with pytest.raises(UntrustedMessage, match=name) as caught:
            wire.read_webhook(body)
        assert "bad-field" == caught.value.reason


def test_unknown_events() -> None:
    """A type that we do not know passes, even without a time, and keeps all its fields."""
    body = webhook_without("eventTime", eventType="intent.teleported", extra={"x": [1]})
    message = wire.read_webhook(body)
    assert ("intent.teleported", 0) == (message.event_type, message.event_time_ms)
    assert {"x": [1]} == message.raw["extra"]


IDS = ("eventId", "intentId")
STRICT_WORDS = (*IDS, "eventType")
INFORMING = ("receiptId", "status", "errorCode", "paymentMethod")
NO_WORDS: list[Any] = ["x" * 256, 7, 1.5, True, [], {}, "a\nb", "a\u0085b", "a\u2028b"]
BAD_VALUES: list[tuple[tuple[str, ...], list[Any]]] = [
    (IDS, ["", "a/b"]),
    (STRICT_WORDS, NO_WORDS),
    (("eventType",), [""]),
    (("amount",), [-1, True, False, 2599.0, 25e2, [2599], {}, AMOUNT_MINOR_MAX + 1]),
    (("amount",), ["", "-1", "25.99", " 2599", "٢", "1e3", "2_5", "9" * 18, "1" * 19]),
    (("currency",), ["", "eur", "EURO", "EÜR", "E R", "EUR\n", 978]),
]
ODD_VALUES: list[tuple[tuple[str, ...], list[Any]]] = [
    (INFORMING, NO_WORDS),
    (("status", "errorCode", "paymentMethod"), [""]),
    (("eventTime",), [-1, True, 1.5, "1767605460000", "2026-01-05T09:30:00Z", [], 2**62]),
    (("metadata",), [[], "", "x", 0, False]),
]
NOT_READ = ("refundId", "disputeId", "card", "customerDetails", "deliveryAttempt")


def each(table: list[tuple[tuple[str, ...], list[Any]]]) -> list[tuple[str, Any]]:
    return [(name, value) for names, values in table for name in names for value in values]


@pytest.mark.parametrize(("name", "value"), each(BAD_VALUES))
def test_bad_fields(name: str, value: object) -> None:
    """A field that carries identity, type or money is refused when it makes no sense."""
    with pytest.raises(UntrustedMessage, match=name) as caught:
        wire.read_webhook(webhook(**{name: value}))
    assert "bad-field" == caught.value.reason


@pytest.mark.parametrize(("name", "value"), each(ODD_VALUES))
def test_odd_fields_are_left_out_and_named(name: str, value: object) -> None:
    """Any other field that makes no sense is as if it were absent, and the event names it."""
    odd = wire.read_webhook(webhook(**{name: value}))
    absent = wire.read_webhook(webhook_without(name))
    assert (name,) == odd.ignored
    assert attrs.evolve(absent, ignored=(name,), raw=odd.raw) == odd


@pytest.mark.parametrize(("name", "value"), [(n, v) for n in NOT_READ for v in NO_WORDS])
def test_fields_that_are_not_read_are_not_judged(name: str, value: object) -> None:
    """A success has no refund and no dispute, and what nobody reads may hold anything."""
    odd = wire.read_webhook(webhook(**{name: value}))
    assert attrs.evolve(wire.read_webhook(webhook()), raw=odd.raw) == odd


@pytest.mark.parametrize("value", ["a/b", "", *NO_WORDS])
@pytest.mark.parametrize(
    ("event_type", "name"),
    [("intent.refunded", "refundId"), ("intent.dispute_lost", "disputeId")],
)
def test_the_id_of_a_refund_or_dispute_is_strict(event_type: str, name: str, value: object) -> None:
    """What sets one refund or dispute apart from another is identity."""
    with pytest.raises(UntrustedMessage, match=name):
        wire.read_webhook(webhook(eventType=event_type, **{name: value}))


@pytest.mark.parametrize("name", ["amount", "currency"])
def test_money_of_unknown_types_is_not_judged(name: str) -> None:
    """What an amount means in a type that we do not know, we do not know either."""
    read = wire.read_webhook(webhook(eventType="subscription.cycle_charged", **{name: {"x": 1}}))
    assert (name,) == read.ignored


def test_an_unreadable_event_names_what_it_can() -> None:
    """Of a webhook with a senseless amount the names are read, to find whose it is."""
    body = webhook(amount="25.99", currency="eur")
    read = wire.read_unreadable(body)
    assert ("amount", "currency") == read.ignored
    readable = wire.read_webhook(webhook())
    for name in ("event_id", "event_type", "x_intent_id", "receipt_id", "metadata"):
        assert getattr(readable, name) == getattr(read, name)


@pytest.mark.parametrize("name", ["receiptId", "metadata", "fwdUrl", "presentmentCurrency"])
@pytest.mark.parametrize("value", [7, [1], True])
def test_odd_fields_of_answers_are_left_out_and_named(name: str, value: object) -> None:
    """An answer is read by the same rule as a webhook."""
    odd = wire.read_intent(encoded(GOT | {name: value}))
    absent = wire.read_intent(encoded({k: v for k, v in GOT.items() if k != name}))
    assert (name,) == odd.ignored
    assert attrs.evolve(absent, ignored=(name,), raw=odd.raw) == odd


@pytest.mark.parametrize(
    ("attribute", "expected", "name", "value"),
    [
        ("amount_minor", 0, "amount", 0),
        ("amount_minor", 2599, "amount", "2599"),
        ("amount_minor", AMOUNT_MINOR_MAX, "amount", AMOUNT_MINOR_MAX),
        ("amount_minor", None, "amount", None),
        ("currency", "XQZ", "currency", "XQZ"),
        ("currency", None, "currency", None),
        ("receipt_id", None, "receiptId", None),
        ("receipt_id", None, "receiptId", ""),
        ("receipt_id", "INV/2026/7 ü", "receiptId", "INV/2026/7 ü"),
        ("event_id", "x" * 255, "eventId", "x" * 255),
        ("status", "TELEPORTED", "status", "TELEPORTED"),
        ("metadata", {}, "metadata", None),
        ("metadata", {}, "metadata", {}),
        ("metadata", {"a": "b"}, "metadata", {"a": "b", "n": 1, "x": None, "o": {}}),
    ],
)
def test_tolerated_fields(attribute: str, expected: object, name: str, value: object) -> None:
    """What is odd but harmless is read, and stays as it was in `raw`."""
    message = wire.read_webhook(webhook(**{name: value}))
    assert expected == getattr(message, attribute)
    assert value == message.raw[name]


def test_missing_metadata() -> None:
    """Metadata may be missing."""
    assert {} == wire.read_webhook(webhook_without("metadata")).metadata


def test_personal_data_stays_out_of_the_repr() -> None:
    """The repr of a message shows neither the customer nor the checkout's address."""
    assert "Ada" not in repr(wire.read_webhook(webhook()))
    assert "s3cr3t" not in repr(wire.read_intent(encoded(GOT)))


NOTHING_HOLDS = [
    b"9223372036854775808",
    b"-9223372036854775809",
    b"1e999",
    b"0." + b"9" * 80,
    b'"\\u0000"',
    b'"\\ud800"',
    b'{"\\udfff":["\\u0000"]}',
]


@pytest.mark.parametrize("value", NOTHING_HOLDS)
def test_what_nothing_holds_is_harmless_where_nobody_reads_it(value: bytes) -> None:
    """A number or a text that no database holds costs no payment, and is stored as one can."""
    body = b'{"risk":' + value + b"," + webhook()[1:]
    read = wire.read_webhook(body)
    assert wire.read_webhook(webhook()) == attrs.evolve(read, raw=SUCCESS)
    stored = wire.canonical_json(wire.without_secrets(read.raw))
    wire.parse_object(stored.encode())
    with pytest.raises(UntrustedMessage):
        wire.parse_object(body)


@pytest.mark.parametrize("value", NOTHING_HOLDS)
@pytest.mark.parametrize("name", ["eventId", "eventType", "intentId", "amount", "currency"])
def test_what_nothing_holds_is_refused_where_it_decides(name: str, value: bytes) -> None:
    """The same in a field that decides is no field at all."""
    body = b'{"' + name.encode() + b'":' + value + b"," + webhook_without(name)[1:]
    with pytest.raises(UntrustedMessage, match=name):
        wire.read_webhook(body)


@pytest.mark.parametrize("name", ["eventId", "intentId", "amount"])
def test_a_field_that_is_there_twice_is_unreadable(name: str) -> None:
    """Which one counts cannot be known; whose event it is may still be found."""
    body = b'{"' + name.encode() + b'":"x",' + webhook()[1:]
    with pytest.raises(UntrustedMessage, match="duplicate-key"):
        wire.read_webhook(body)
    assert "order-1001" == wire.read_unreadable(body).receipt_id


# --- answers ---


def test_get_intent() -> None:
    """Each field of the documented get-intent answer is read."""
    expected = {
        "x_intent_id": "in_A1",
        "status": "SUCCESS",
        "amount_minor": 2599,
        "currency": "EUR",
        "receipt_id": "order-1001",
        "fwd_url": GOT["fwdUrl"],
        "metadata": {"orderId": "1001"},
        "error_code": "card_declined",
        "payment_method": "CARD",
        "presentment_currency": "USD",
        "created_at_ms": 1767605400250,
        "succeeded_at_ms": 1767605460000,
        "ignored": (),
        "raw": GOT,
    }
    assert expected == attrs.asdict(wire.read_intent(encoded(GOT)), recurse=False)


def test_wrapped_intent() -> None:
    """A `data` wrapper is looked through, and `intentId` read where `xIntentId` is missing."""
    inner = {k: v for k, v in GOT.items() if k != "xIntentId"} | {"intentId": "in_B"}
    answer = wire.read_intent(encoded({"data": inner}))
    assert ("in_B", inner) == (answer.x_intent_id, answer.raw)
    assert "in_A1" == wire.read_intent(encoded(GOT | {"data": {"intentId": "in_C"}})).x_intent_id


@pytest.mark.parametrize(
    "changes",
    [
        {"xIntentId": None},
        {"xIntentId": ""},
        {"status": None},
        {"status": 1},
        {"amount": 25.99},
        {"amount": True},
        {"currency": "usd"},
        {"intentId": "in_other"},
    ],
)
def test_bad_intents(changes: dict[str, Any]) -> None:
    """An answer without id or state, or with senseless money, is refused."""
    with pytest.raises(UntrustedMessage) as caught:
        wire.read_intent(encoded(GOT | changes))
    assert "bad-field" == caught.value.reason


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (1767605400000, "2026-01-05T09:30:00Z"),
        (1767605400001, "2026-01-05T10:30:00.001+01:00"),
        (1767605400000, "2026-01-05T09:30:00"),
        (1767605400000, 1767605400000),
        (None, None),
        (None, "soon"),
        (None, "0001-01-01T00:00:00+14:00"),
        (None, -1),
        (None, True),
        (None, 1.5),
    ],
)
def test_moments(expected: int | None, value: object) -> None:
    """A moment is read from ISO 8601 and from milliseconds, and None if it is neither."""
    answer = wire.read_intent(encoded(GOT | {"createdAt": value, "succeededAt": value}))
    assert (expected, expected) == (answer.created_at_ms, answer.succeeded_at_ms)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be set here")
def test_a_moment_without_offset_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone of the machine does not change what a moment without an offset means."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XST-9")
        time.tzset()
        answer = wire.read_intent(encoded(GOT | {"createdAt": "2026-01-05T09:30:00"}))
    time.tzset()
    assert 1767605400000 == answer.created_at_ms


def test_answer_without_charges() -> None:
    """Charges are there only when requested, and odd ones are ignored."""
    for odd in (None, [], {}, "x", [1, {"status": "FAILED"}], {"paymentMetadata": 1}):
        answer = wire.read_intent(encoded(GOT | {"chargeAttempts": odd, "succeededCharge": odd}))
        assert (None, None) == (answer.error_code, answer.payment_method)


def test_intent_page() -> None:
    """A page gives its intents and the cursor of the next one."""
    item = {"xIntentId": "in_1", "amount": 5, "currency": "USD", "status": "CREATED"}
    item |= {"createdAt": 1767605400000, "receiptId": None}
    page = {"data": [item, item | {"xIntentId": "in_2"}], "metadata": {"offset": "abc"}}
    intents, offset = wire.read_intent_page(encoded(page))
    assert ["in_1", "in_2"] == [intent.x_intent_id for intent in intents]
    assert (1767605400000, "abc") == (intents[0].created_at_ms, offset)


@pytest.mark.parametrize("metadata", [None, {}, {"offset": None}, {"offset": ""}])
def test_last_page(metadata: object) -> None:
    """The list ends where no cursor, null or an empty one is given."""
    assert ((), None) == wire.read_intent_page(encoded({"data": [], "metadata": metadata}))


@pytest.mark.parametrize(
    "page",
    [{}, {"data": {}}, {"data": [1]}, {"data": [{}]}, {"data": [], "metadata": {"offset": 1}}],
)
def test_bad_pages(page: object) -> None:
    """A page that is not a list of intents is refused as a whole."""
    with pytest.raises(UntrustedMessage):
        wire.read_intent_page(encoded(page))


def test_a_full_page_fits_the_limits() -> None:
    """A hundred intents with a dozen charge attempts each are read."""
    full = GOT | {"chargeAttempts": [GOT["succeededCharge"]] * 12}
    intents, _ = wire.read_intent_page(encoded({"data": [full] * 100}))
    assert 100 == len(intents)


@pytest.mark.parametrize(
    ("expected", "body"),
    [
        (
            ("bad_request", "Failed to read request"),
            b'{"errorCode":"bad_request","errorDescription":"Failed to read request"}',
        ),
        (("invalid", "no such id"), b'{"error":{"code":"invalid","message":"no such id"}}'),
        (("http_502", "<h1>Bad Gateway</h1>"), b"<h1>Bad\nGateway</h1>"),
        (("http_502", "no description"), b""),
        (("http_502", "� x"), b"\xff\x00x"),
        (("http_502", "[1]"), b"[1]"),
        (("http_502", "no description"), b'{"errorCode":5,"customerDetails":{"name":"Ada"}}'),
        (
            ("bad […]", "[…] is no e-mail of […]"),
            encoded(
                {
                    "errorCode": "bad ada@mail.example",
                    "errorDescription": "ada@mail.example is no e-mail of +1 (415) 555-0199",
                }
            ),
        ),
        (("http_502", "[…] again"), b"ada@mail.example again"),
        (("a b", "c"), b'{"errorCode":"a\\nb","errorDescription":"\\u202ec"}'),
        (("c" * 200, "d" * 200), encoded({"errorCode": "c" * 999, "errorDescription": "d" * 999})),
    ],
)
def test_errors(expected: tuple[str, str], body: bytes) -> None:
    """The code and words of an error are found wherever they are, short and on one line."""
    assert expected == wire.read_error(502, body)


def test_errors_are_masked_before_they_are_cut() -> None:
    """An e-mail address at the end of what is kept of an error leaves no half of it."""
    words = "x " * 96 + "ada.example@mail.example"
    _, kept = wire.read_error(400, encoded({"errorDescription": words}))
    assert ("x " * 96 + "[…]", "ada") == (kept, words[192:195])


def test_without_secrets() -> None:
    """What is stored of an answer opens no checkout and names no person, at any depth."""
    kept = wire.without_secrets({"data": [GOT | {"secret": "s", "customerDetails": {"a": 1}}]})
    text = wire.canonical_json(kept)
    for gone in ("fwdUrl", "s3cr3t", "secret", "customerDetails", "expiryYear", "expiryMonth"):
        assert gone not in text
    assert '"cardMetadata":{"brand":"Visa","lastFourDigit":"4242"}' in text
    stored = wire.without_secrets(SUCCESS)
    assert {"brand": "visa", "lastFourDigit": "4242"} == stored["card"]
    assert set(SUCCESS) - {"customerDetails", "metadata"} == set(stored)
    assert "expiryMonth" in SUCCESS["card"]


PERSONAL = ("Ada Example", "ada@mail.example", "+14155550199", "4242424242424242", "s3cr3t")
KEPT_OBJECTS = ("card", "succeededCharge", "chargeAttempts", "data")


@pytest.mark.parametrize("text", PERSONAL)
def test_without_secrets_lists_what_is_kept(text: str) -> None:
    """A field that is not listed is not stored, whatever it is called and wherever it stands."""
    odd: Any = {"name": text, "billing": {"email": text}, "number": text, text: text, "x": [text]}
    raw = {**SUCCESS, **odd, **{name: {**odd, "data": odd} for name in KEPT_OBJECTS}}
    raw["chargeAttempts"] = [odd, {"paymentMetadata": odd | {"cardMetadata": odd}}]
    assert text not in wire.canonical_json(wire.without_secrets(raw))
    assert text not in wire.canonical_json(wire.without_secrets({"data": [raw]}))


def test_without_secrets_looks_at_values() -> None:
    """Of a listed field a value of another form is not stored: a card's number, an object."""
    raw: Any = {
        "card": {"brand": "of ada@mail.example", "lastFourDigit": "4242424242424242"},
        "errorCode": "no mail to ada@mail.example",
        "status": {"email": "ada@mail.example"},
        "receiptId": "x" * 256,
        "amount": 5,
    }
    assert {
        "card": {"brand": "of […]"},
        "errorCode": "no mail to […]",
        "amount": 5,
    } == wire.without_secrets(raw)


def test_what_is_kept_has_a_reason() -> None:
    """Each field that is stored is listed with the reason, those within others as well."""
    fields = list(wire.KEPT.values())
    for field in fields:
        fields += field.within.values()
        assert " " in field.reason
    assert 40 < len(fields)


# --- the checkout's address ---

HOSTS = ("pay.xpaycheckout.com", ".xpay.example")


@pytest.mark.parametrize(
    "url",
    [
        "https://pay.xpaycheckout.com/?xpay_intent_id=opaque&secret=a%2Fb",
        "https://PAY.xpaycheckout.com",
        "https://pay.xpaycheckout.com:443/x#y",
        "https://eu.xpay.example/@user",
        "https://a.b.xpay.example/?u=http://other.example",
    ],
)
def test_checkout_urls(url: str) -> None:
    """An https address on an allowed host is returned unchanged, in both modes."""
    assert url == wire.checkout_url(url, HOSTS, allow_loopback=False)
    assert url == wire.checkout_url(url, HOSTS, allow_loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://",
        "https:///pay.xpaycheckout.com",
        "https:pay.xpaycheckout.com",
        "//pay.xpaycheckout.com",
        "pay.xpaycheckout.com",
        "http://pay.xpaycheckout.com/",
        "ftp://pay.xpaycheckout.com/",
        "javascript:alert(1)//pay.xpaycheckout.com",
        "https://pay.xpaycheckout.com.evil.example/",
        "https://evil.example/pay.xpaycheckout.com",
        "https://evilpay.xpaycheckout.com/",
        "https://xpay.example/",
        "https://.xpay.example/",
        "https://evilxpay.example/",
        "https://pay.xpaycheckout.com@evil.example/",
        "https://evil.example@pay.xpaycheckout.com/",
        "https://evil.example\\@pay.xpaycheckout.com/",
        "https://evil.example\\.xpay.example/",
        "https://evil.example#.xpay.example/",
        "https://evil.example?.xpay.example/",
        "https://evil.example%2f.xpay.example/",
        "https://evil.example;.xpay.example/",
        "https://evil.example:x.xpay.example/",
        "https://pay.xpaycheckout.com:/",
        "https://pay.xpaycheckout.com:8443/",
        "https://pay.xpaycheckout.com:99999/",
        "https://pay.xpaycheckout.com./",
        "https://pay.xpaycheckout.com /",
        " https://pay.xpaycheckout.com/",
        "https://pay.xpaycheckout.com/\n",
        "https://pay.xpay\tcheckout.com/",
        "https://pay.xpaycheckout.com/\x00",
        "https://pay.xpaycheckout。com/",
        "https://раy.xpaycheckout.com/",
        "https://ｐay.xpaycheckout.com/",
        "https://xn--ay-wmc.xpaycheckout.com/",
        "https://[::1/",
        "https://[::ffff:127.0.0.1]/",
        "https://pay.xpaycheckout.com/" + "x" * 2048,
        "https://2130706433/",
        "https://127.1/",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "http://user@localhost/",
        "ftp://localhost/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
    ],
)
def test_bad_checkout_urls(url: str) -> None:
    """An address elsewhere, or one that only looks like xPay's, is refused without quoting it."""
    for allow_loopback in (False, True):
        with pytest.raises(UntrustedMessage) as caught:
            wire.checkout_url(url, HOSTS, allow_loopback=allow_loopback)
        assert "bad-checkout-url" == caught.value.reason
        assert url == "" or url not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:4010/pay?id=1",
        "http://127.9.9.9/",
        "https://localhost/x",
        "http://LOCALHOST:8000",
        "http://[::1]:4010/",
    ],
)
def test_loopback_checkout_urls(url: str) -> None:
    """This machine is a checkout for the sandbox only."""
    assert url == wire.checkout_url(url, HOSTS, allow_loopback=True)
    with pytest.raises(UntrustedMessage):
        wire.checkout_url(url, HOSTS, allow_loopback=False)


@settings(deadline=None)
@given(st.text(max_size=40), st.booleans())
def test_any_checkout_url(tail: str, loopback: bool) -> None:
    """Any text is either returned unchanged or refused with the one error."""
    for url in (tail, f"https://{tail}", f"https://pay.xpaycheckout.com{tail}", f"http://[{tail}"):
        check = partial(wire.checkout_url, url, HOSTS, allow_loopback=loopback)
        assert outcome(check) in (url, "bad-checkout-url")
