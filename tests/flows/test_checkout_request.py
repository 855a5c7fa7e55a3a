"""That what a shop passes in is taken or refused in words, before anything is stored."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import URL

from xpay_flow.checkout_request import COUNTRIES, LINE_CHARS_MAX, CheckoutRequest, Customer
from xpay_flow.errors import InvalidValue
from xpay_flow.money import Money
from xpay_flow.settings import Settings
from xpay_flow.testing.world import World
from xpay_flow.wire import parse_object, read_webhook

from .kit import body_of, quiet_world

REQUEST: dict[str, Any] = {
    "receipt_id": "order-42",
    "money": Money(1999, "USD"),
    "callback_url": "https://shop.example/thanks",
    "customer": {"name": "Ada Example", "email": "ada@example.org"},
}
UUID = uuid.UUID("12345678123456781234567812345678")


def request(**changes: Any) -> CheckoutRequest:
    return CheckoutRequest(**{**REQUEST, **changes})


def start(world: World, **changes: Any) -> Any:
    return world.flow.start_checkout(**{**REQUEST, **changes})


# --- taken ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"receipt_id": 42},
        {"receipt_id": UUID},
        {"receipt_id": "\U0001f600" * 255},
        {"receipt_id": "order-\U0001f468\u200d\U0001f469"},
        {"receipt_id": "طلب-42\u200f"},
        {"receipt_id": "INV/2026/7?x#y"},
        {"callback_url": URL("https://shop.example/thanks")},
        {"cancel_url": URL("https://shop.example/cart")},
        {"callback_url": "https://shop.example:8443/t?a=1&a=2#x"},
        {"callback_url": "http://192.168.1.20:8000/t"},
        {"callback_url": "http://web:8000/t"},
        {"callback_url": "http://shop.localhost:8000/t"},
        {"customer": None},
        {"customer": {}},
        {"customer": {"name": "Ada", "email": None}},
        {"customer": {"email": "ada@example.org"}},
        {"customer": {"name": " ", "email": "ada@example.org", "city": ""}},
        {"customer": {"name": "\u202eadA \U0001f469\u200d\U0001f680", "email": "a@b.c"}},
        {"customer": {"email": "a@b.c", "contact_number": "0170 1234567"}},
        {"customer": {"email": "a@b.c", "contact_number": ""}},
        {"customer": {"email": "a@b.c", "country": "us"}},
        {"customer": {"email": "a@b.c", "country": ""}},
        {"description": "two mugs\nand a spoon"},
        {"metadata": {"cart": 7, "visit": UUID, "note": ""}},
        {"payment_methods": ["CARD"]},
    ],
    ids=str,
)
def test_start_checkout_takes_what_shops_pass_in_and_it_can_be_paid(
    changes: dict[str, Any],
) -> None:
    """Ordinary types and customers' odd fields cost nothing: the order is paid and fulfilled."""
    world = quiet_world()
    world.xpay.pay(start(world, **changes).x_intent_id)
    world.settle()
    assert 1 == len(world.called("on_success"))


def test_checkout_request_keeps_numbers_uuids_and_url_objects_as_text() -> None:
    """What xPay and the store receive is text."""
    made = request(
        receipt_id=UUID, callback_url=URL("https://shop.example/t"), metadata={"cart": 7}
    )
    assert (str(UUID), "https://shop.example/t", {"cart": "7"}) == (
        made.receipt_id,
        made.callback_url,
        made.metadata,
    )


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("+14155550100", "+14155550100"),
        ("+1 (415) 555-0100", "+14155550100"),
        ("0049 170/1234567", "+491701234567"),
        ("0170 1234567", None),
        ("call me", None),
        ("+1", None),
        ("+\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", None),
        (4915112345678, None),
        ("", None),
    ],
)
def test_customer_drops_a_phone_number_that_is_not_e164(typed: Any, number: str | None) -> None:
    """A number that only helps to fill a form must not cost the payment."""
    assert number == Customer(name="Ada", email="a@b.c", contact_number=typed).contact_number


def test_customer_knows_the_countries_of_iso_3166() -> None:
    """All 249 codes, in any case; what is none is refused before xPay refuses the creation."""
    assert 249 == len(COUNTRIES)
    assert "GB" == Customer(country="gb").country
    for odd in ("UK", "EU", "USA", "U1", "\u212aE"):
        with pytest.raises(InvalidValue, match=r"customer\.country"):
            Customer(country=odd)


# --- refused -------------------------------------------------------------------------------------

BAD_TEXTS = ["a\x00b", "a\ud800b"]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        *(("receipt_id", {"receipt_id": bad}) for bad in [*BAD_TEXTS, "", "x" * 256, "a\nb"]),
        *(("receipt_id", {"receipt_id": bad}) for bad in [True, 4.2, None, b"order-1"]),
        *(("description", {"description": bad}) for bad in [*BAD_TEXTS, "x" * 1001, 7]),
        *(("customer.name", {"customer": {"name": bad}}) for bad in [*BAD_TEXTS, "x" * 256, 7]),
        ("customer.email", {"customer": {"email": "a@b.c\r\nBcc: x@y.z"}}),
        ("customer.email", {"customer": {"email": "ada"}}),
        ("customer.city", {"customer": {"city": "a\x85b"}}),
        ("customer.country", {"customer": {"country": 49}}),
        ("customer", {"customer": {"phone": "1"}}),
        *(("metadata", {"metadata": {"note": bad}}) for bad in [*BAD_TEXTS, "x" * 501, None, 1.5]),
        *(("metadata", {"metadata": {bad: "note"}}) for bad in [*BAD_TEXTS, "", "x" * 41, 7]),
        ("metadata", {"metadata": {"xpay_flow_intent": "pi_9"}}),
        ("metadata", {"metadata": {f"k{n}": "v" for n in range(50)}}),
        *(
            ("callback_url", {"callback_url": bad})
            for bad in [
                "http://shop.example/t",
                "https://shop.example/" + "a" * 10_000,
                "https://shop.example/\x00",
                "https://shop.example:99999/t",
                "/thanks",
                "javascript:alert(1)",
                b"https://shop.example/t",
                None,
                7,
            ]
        ),
        ("cancel_url", {"cancel_url": "http://shop.example/t"}),
        ("payment_methods", {"payment_methods": "CARD"}),
        ("payment_methods", {"payment_methods": ("CA\x00RD",)}),
        ("customer_id", {"customer_id": "cus\x00"}),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_start_checkout_refuses_what_our_reader_would_refuse_before_storing(
    field: str, changes: dict[str, Any]
) -> None:
    """One error that names the field; nothing is stored, and xPay hears nothing."""
    world = quiet_world()
    with pytest.raises(InvalidValue, match=field):
        start(world, **changes)
    assert () == world.flow.recent()
    assert [] == list(world.xpay.intents())


def test_checkout_request_quotes_nothing_that_a_customer_typed() -> None:
    """Errors go into logs; names, numbers and addresses of people do not."""
    for field in ("name", "email", "city", "postal_code"):
        with pytest.raises(InvalidValue) as caught:
            request(customer={field: "secret\x00"})
        assert "secret" not in str(caught.value)
    with pytest.raises(InvalidValue) as caught:
        request(customer={"email": "secret"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://192.168.1.20/t", "http://web:8000/t", "http://a.local/t"])
def test_live_mode_refuses_http_to_private_hosts(url: str) -> None:
    """A shop in a private network is for trying out; a live one is https."""
    live = Settings(
        mode="live",
        public_key="pk_live_a8f3k2j1",
        private_key="sk_live_9d8f7g6h",
        webhook_secrets=("live_secret_9f8e7d6c5b4a",),
    )
    made = request(callback_url=url)
    made.check_for(Settings.sandbox())
    with pytest.raises(InvalidValue, match="callback_url must be https"):
        made.check_for(live)
    request(callback_url="http://localhost:8000/t").check_for(live)


@given(st.text(), st.text(), st.text(), st.text())
def test_what_checkout_request_takes_our_readers_take_back(
    receipt_id: str, name: str, description: str, note: str
) -> None:
    """Whatever is accepted comes back readable, in xPay's answers and in its webhooks."""
    try:
        made = request(
            receipt_id=receipt_id,
            customer={"name": name},
            description=description,
            metadata={"note": note},
        )
    except InvalidValue:
        return
    assert made.receipt_id == parse_object(made.to_request("pi_1", "key").encode())["receiptId"]
    body = body_of(
        "intent.success", receiptId=made.receipt_id, intentId="in_1", metadata=made.metadata
    )
    assert (made.receipt_id, made.metadata) == (
        read_webhook(body).receipt_id,
        read_webhook(body).metadata,
    )


def test_customer_fields_have_a_limit() -> None:
    """A name of 2 MB is refused here, not by xPay after an attempt was stored."""
    assert LINE_CHARS_MAX == len(Customer(name="x" * LINE_CHARS_MAX).name or "")
    with pytest.raises(InvalidValue, match="255"):
        Customer(name="x" * 2_000_000)
