"""The local xPay over HTTP: API, checkout page, control API, overview, webhooks, limits."""

import asyncio
import contextlib
import http.server
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import web_servers

from xpay_flow.errors import ConfigurationError, MissingExtra
from xpay_flow.sandbox import ApiFault, Delivery, FaultPlan, Sandbox, SandboxConfig
from xpay_flow.sandbox import sender as sender_module
from xpay_flow.sandbox.net import is_local_name, is_loopback
from xpay_flow.sandbox.troubles import TROUBLES
from xpay_flow.sandbox.web import create_app, run, sender_loop

from .merchant import BODY, CREATE, basic, create, make_sandbox
from .served import served

BASE = "http://127.0.0.1:4010"
PAY = {
    "act": "pay",
    "method": "CARD",
    "card_number": "4242 4242 4242 4242",
    "expiry": "04/31",
    "cvc": "123",
    "outcome": "approve",
    "decline_code": "insufficient_funds",
}


def ask(
    sandbox: Sandbox, method: str, url: str, *, client: str = BASE, **options: Any
) -> httpx.Response:
    """One request to the application, without a socket."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(sandbox))
        async with httpx.AsyncClient(transport=transport, base_url=client) as asking:
            return await asking.request(method, url, **options)

    return asyncio.run(send())


def page_of(sandbox: Sandbox, x_intent_id: str) -> str:
    return f"/checkout/?xpay_intent_id={sandbox.checkout_id_of(x_intent_id)}"


def submit(sandbox: Sandbox, x_intent_id: str, **changes: str) -> httpx.Response:
    return ask(sandbox, "POST", page_of(sandbox, x_intent_id), data=PAY | changes)


# The API


def test_api_over_http() -> None:
    """The API is served under its real paths, with the sandbox's own answers."""
    sandbox = make_sandbox()
    headers = {"authorization": basic()}

    made = ask(sandbox, "POST", CREATE, json=BODY, headers=headers)
    x_intent_id = made.json()["xIntentId"]
    path = f"/payments/v2/get-intent/{x_intent_id}?expand=charge_attempts"
    read = ask(sandbox, "GET", path, headers=headers)

    assert (200, "application/json") == (made.status_code, made.headers["content-type"])
    assert [] == read.json()["chargeAttempts"]
    assert 401 == ask(sandbox, "GET", "/payments/intents").status_code
    assert 404 == ask(sandbox, "DELETE", CREATE, headers=headers).status_code
    wrong = ask(sandbox, "GET", "/payments/v2/get-intent/in%2F1", headers=headers)
    assert "resource_not_found" == wrong.json()["errorCode"]


def test_large_body_over_http() -> None:
    """A body over the limit is 400, also when it comes in chunks without a length."""

    async def chunks() -> Any:
        for _ in range(20):
            yield b"a" * 100_000

    headers = {"authorization": basic()}
    answer = ask(make_sandbox(), "POST", CREATE, content=chunks(), headers=headers)

    assert (400, "bad_request") == (answer.status_code, answer.json()["errorCode"])


# The checkout page


def test_checkout_page() -> None:
    """The page shows the order, has labelled fields, no script, and reports its opening."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    page = ask(sandbox, "GET", page_of(sandbox, x_intent_id))

    assert 200 == page.status_code
    for text in ("€25.99", "Two mugs", "order-1001", "Your shop", "no real money"):
        assert text in page.text
    fields = set(re.findall(r'<(?:input|select) id="(\w+)"', page.text))
    assert {"card_number", "expiry", "cvc", "decline_code"} == fields
    assert fields <= set(re.findall(r'<label[^>]* for="(\w+)"', page.text))
    assert "shop.example" not in page.text
    assert "<script" not in page.text
    assert "no-store" == page.headers["cache-control"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "intent.checkout_opened" == sandbox.events()[-1].event_type
    assert "CREATED" == sandbox.status(x_intent_id)


def test_checkout_names_the_shop() -> None:
    """By the name that it was given, which is text."""
    sandbox = make_sandbox(shop_name="Mugs <&> more")
    page = ask(sandbox, "GET", page_of(sandbox, create(sandbox)))
    assert 2 == page.text.count("Mugs &lt;&amp;&gt; more")


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_a_shop_has_a_name(name: str) -> None:
    """The page would have a gap where it should stand, or no room for it."""
    with pytest.raises(ConfigurationError, match="shop_name"):
        SandboxConfig(shop_name=name)


@pytest.mark.parametrize(
    ("money", "shown"),
    [
        ({"amount": 129900, "currency": "USD"}, "$1,299.00"),
        ({"amount": 1999, "currency": "JPY"}, "¥1,999"),
        ({"amount": 12500, "currency": "KWD"}, "12.500 KWD"),
    ],
)
def test_amounts(money: dict[str, Any], shown: str) -> None:
    """Amounts are written with the currency's own number of digits."""
    sandbox = make_sandbox()

    assert shown in ask(sandbox, "GET", page_of(sandbox, create(sandbox, **money))).text


def test_everything_is_escaped() -> None:
    """Text from the shop is text on the page, never markup."""
    sandbox = make_sandbox()
    evil = "<script>alert('x')</script>\"'><img src=x>"
    x_intent_id = create(
        sandbox,
        description=evil,
        receiptId=evil,
        customerDetails={"name": evil},
        callbackUrl="https://shop.example/?a='onclick=1&b=%22",
    )
    pages = [ask(sandbox, "GET", page_of(sandbox, x_intent_id)).text]
    sandbox.decline(x_intent_id, "<img src=x>")
    sandbox.send_raw_event("<img src=x>", {"a": "<img src=x>"})
    pages.append(ask(sandbox, "GET", page_of(sandbox, x_intent_id)).text)
    pages.append(ask(sandbox, "GET", "/_sandbox/").text)
    pages.append(submit(sandbox, x_intent_id, name=evil, email=evil).text)
    pages.append(ask(sandbox, "POST", "/_sandbox/", data={"act": evil}).text)

    for page in pages:
        assert "&lt;" in page
        assert "<script" not in page
        assert "<img" not in page


def test_paying() -> None:
    """Paying redirects with 303 to the callback URL with the intent's id, and sends the event."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox, callbackUrl="https://shop.example/r?a=1#done")

    answer = submit(sandbox, x_intent_id, card_number="5555-5555-5555-4444", expiry="12 / 30")

    assert 303 == answer.status_code
    expected = f"https://shop.example/r?a=1&xpay_intent_id={x_intent_id}#done"
    assert expected == answer.headers["location"]
    event = json.loads(sandbox.events()[-1].body)
    assert "intent.success" == event["eventType"]
    assert ("mastercard", "4444", 12, 2030) == (
        event["card"]["brand"],
        event["card"]["lastFourDigit"],
        event["card"]["expiryMonth"],
        event["card"]["expiryYear"],
    )


def test_declined_then_paid() -> None:
    """After a decline the page shows why, and the same page takes a second try."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    declined = submit(sandbox, x_intent_id, outcome="decline", decline_code="expired_card")
    assert (303, page_of(sandbox, x_intent_id)) == (
        declined.status_code,
        declined.headers["location"],
    )
    page = ask(sandbox, "GET", declined.headers["location"])
    assert 'role="alert"' in page.text
    assert "The card has expired." in page.text
    assert f"xpay_intent_id={x_intent_id}" in page.text
    assert "FAILED" == sandbox.status(x_intent_id)

    assert 303 == submit(sandbox, x_intent_id).status_code
    assert "SUCCESS" == sandbox.status(x_intent_id)


def test_decline_that_redirects() -> None:
    """A setting sends the customer back to the shop after a decline."""
    sandbox = make_sandbox(decline_redirects=True)
    x_intent_id = create(sandbox)

    answer = submit(sandbox, x_intent_id, outcome="decline")

    assert sandbox.return_url(x_intent_id) == answer.headers["location"]


def test_cancelling_on_the_page() -> None:
    """The cancel button leads to the cancel URL and leaves the intent payable."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    answer = submit(sandbox, x_intent_id, act="cancel")

    assert 303 == answer.status_code
    expected = f"https://shop.example/pay/cancel?xpay_intent_id={x_intent_id}"
    assert expected == answer.headers["location"]
    assert "CREATED" == sandbox.status(x_intent_id)
    assert 303 == submit(sandbox, x_intent_id).status_code


def test_approved_but_never_back() -> None:
    """The customer may pay and never come back: a page, no redirect, and the event."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    answer = submit(sandbox, x_intent_id, outcome="approve_and_stay")

    assert 200 == answer.status_code
    assert "SUCCESS" == sandbox.status(x_intent_id)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"card_number": "4111 1111 1111 1111"}, "card_number"),
        ({"card_number": ""}, "card_number"),
        ({"expiry": "13/31"}, "expiry"),
        ({"expiry": "٠٤/٣١"}, "expiry"),
        ({"cvc": "12"}, "cvc"),
    ],
)
def test_wrong_card_fields(change: dict[str, str], field: str) -> None:
    """A wrong field is named, what was typed is not shown again, and no attempt is made."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    answer = submit(sandbox, x_intent_id, **change)

    assert 422 == answer.status_code
    assert f'id="{field}-error"' in answer.text
    assert f'aria-describedby="{field}-error"' in answer.text
    assert "4111 1111" not in answer.text
    assert () == sandbox.intent(x_intent_id).charges


def test_missing_customer_is_requested() -> None:
    """Without customer details the page asks for name and e-mail, and sends them to the shop."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox, customerDetails=None)

    assert 'autocomplete="email"' in ask(sandbox, "GET", page_of(sandbox, x_intent_id)).text
    assert 422 == submit(sandbox, x_intent_id, name="", email="unknown").status_code
    assert 303 == submit(sandbox, x_intent_id, name="Bo", email="bo@example.org").status_code
    event = json.loads(sandbox.events()[-1].body)["customerDetails"]
    assert ("Bo", "bo@example.org") == (event["name"], event["email"])


def test_other_methods_on_the_page() -> None:
    """A method from the shop's list can be chosen; one that is not on it falls back."""
    sandbox = make_sandbox()
    first = create(sandbox, paymentMethods=["CARD", "PAYPAL"])
    second = create(sandbox, paymentMethods=["CARD", "PAYPAL"])
    submit(sandbox, first, method="PAYPAL", card_number="")
    submit(sandbox, second, method="KLARNA")

    assert "PAYPAL" == sandbox.intent(first).charges[0].method
    assert "CARD" == sandbox.intent(second).charges[0].method


def test_second_click() -> None:
    """A second click on Pay charges nothing and goes to the shop like the first."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    answers = [submit(sandbox, x_intent_id) for _ in range(2)]

    assert answers[0].headers["location"] == answers[1].headers["location"]
    assert 1 == len(sandbox.intent(x_intent_id).charges)


@pytest.mark.parametrize(
    ("act", "title"), [("pay", "This order is paid"), ("cancel", "This payment was cancelled")]
)
def test_finished_intents(act: str, title: str) -> None:
    """A paid or cancelled intent has a fitting page instead of the form, and no event."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    getattr(sandbox, act)(x_intent_id)
    before = len(sandbox.events())

    page = ask(sandbox, "GET", page_of(sandbox, x_intent_id))
    posted = submit(sandbox, x_intent_id)

    assert (200, True, False) == (page.status_code, title in page.text, "<form" in page.text)
    assert posted.status_code == (303 if act == "pay" else 200)
    assert before == len(sandbox.events())


@pytest.mark.parametrize("query", ["", "?xpay_intent_id=", "?xpay_intent_id=in_1", "?a=%ff"])
def test_unknown_checkout(query: str) -> None:
    """An unknown address is 404, by GET and POST; the intent's own id opens nothing."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    for path in (f"/checkout/{query}", f"/checkout/?xpay_intent_id={x_intent_id}"):
        assert 404 == ask(sandbox, "GET", path).status_code
        assert 404 == ask(sandbox, "POST", path, data=PAY).status_code


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00", b"a" * 300_000, b"&".join(b"a=1" for _ in range(99)), b"act=%ff"],
    ids=lambda content: repr(content[:10]),
)
def test_strange_forms(content: bytes) -> None:
    """A form of any bytes is answered with the form and its errors, never with a 500."""
    sandbox = make_sandbox()
    path = page_of(sandbox, create(sandbox))

    assert 422 == ask(sandbox, "POST", path, content=content).status_code
    assert 400 == ask(sandbox, "POST", "/_sandbox/", content=content).status_code


def test_redirect_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `redirect_delay_ms` the browser is held back after the charge."""
    sandbox = make_sandbox(redirect_delay_ms=1500)
    x_intent_id = create(sandbox)
    waits: list[tuple[float, str]] = []

    async def sleep(seconds: float) -> None:
        waits.append((seconds, sandbox.status(x_intent_id)))

    monkeypatch.setattr("xpay_flow.sandbox.checkout.asyncio.sleep", sleep)
    submit(sandbox, x_intent_id)

    assert (1.5, "SUCCESS") in waits


# The control API and the overview


def control(sandbox: Sandbox, method: str, path: str, body: object = None) -> httpx.Response:
    return ask(sandbox, method, f"/_sandbox/api/{path}", json=body)


def test_control_of_an_intent() -> None:
    """An intent can be opened, declined, paid, refunded and disputed through the control API."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    acts: list[tuple[str, dict[str, Any]]] = [
        ("open", {}),
        ("decline", {"error_code": "expired_card"}),
        ("pay", {"method": "CARD"}),
        ("refund", {"amount_minor": 99}),
        ("dispute", {}),
        ("settle_dispute", {"stage": "won"}),
    ]

    for act, body in acts:
        answer = control(sandbox, "POST", f"intents/{x_intent_id}/{act}", body)
        assert 200 == answer.status_code, answer.text

    event = control(sandbox, "GET", f"intents/{x_intent_id}").json()
    assert ("PARTIALLY_REFUNDED", 99, "won", 2, True) == (
        event["status"],
        event["refunded_minor"],
        event["dispute"],
        event["attempts"],
        event["opened"],
    )
    assert [event] == control(sandbox, "GET", "intents").json()
    assert sandbox.fwd_url(x_intent_id) == event["fwd_url"]


def test_control_of_cancellations() -> None:
    """Both ways of cancelling are there, and a charge that wins the race."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    path = f"intents/{x_intent_id}"

    url = control(sandbox, "POST", f"{path}/cancel_by_customer").json()["url"]
    assert url.startswith("https://shop.example/pay/cancel?")
    assert "CANCELLED" == control(sandbox, "POST", f"{path}/cancel").json()["status"]
    assert 400 == control(sandbox, "POST", f"{path}/pay").status_code
    paid = control(sandbox, "POST", f"{path}/pay", {"despite_cancel": True})
    assert "SUCCESS" == paid.json()["status"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "intents/in_nobody", None, 404),
        ("POST", "intents/in_nobody/pay", None, 404),
        ("POST", "intents/ID/explode", None, 400),
        ("POST", "intents/ID/refund", {"amount_minor": 1.5}, 400),
        ("POST", "intents/ID/pay", {"despite_cancel": "yes"}, 400),
        ("POST", "intents/ID/pay", {"method": 1}, 400),
        ("POST", "intents/ID/pay", [1], 400),
        ("PUT", "faults", {"webhooks": 1}, 400),
        ("POST", "clock", {"advance_s": -1}, 400),
        ("POST", "clock", {"advance_s": "1"}, 400),
        ("POST", "clock", {"advance_s": True}, 400),
        ("POST", "events", {"event_type": ""}, 400),
        ("POST", "events", {"event_type": "a", "fields": []}, 400),
        ("POST", "events/whe_nobody/redeliver", None, 404),
    ],
)
def test_control_refusals(method: str, path: str, body: object, status: int) -> None:
    """What cannot be done is refused with an `error` in words."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    answer = control(sandbox, method, path.replace("ID", x_intent_id), body)

    assert status == answer.status_code
    assert answer.json()["error"]


def test_control_of_faults_clock_and_events() -> None:
    """Faults can be read and replaced, a virtual clock moved, events sent and sent again."""
    sandbox = make_sandbox()
    plan = {"seed": 3, "webhooks": [{"fault": "lose", "nth": 2}], "api": []}

    assert plan == control(sandbox, "PUT", "faults", plan).json()
    assert plan == control(sandbox, "GET", "faults").json()
    before_ms = control(sandbox, "GET", "clock").json()["now_ms"]
    moved = control(sandbox, "POST", "clock", {"advance_s": 2.5}).json()
    assert {"now_ms": before_ms + 2500, "virtual": True} == moved
    sent = control(sandbox, "POST", "events", {"event_type": "a.b", "fields": {"c": 1}}).json()
    assert 1 == sent["payload"]["c"]
    assert [sent] == control(sandbox, "GET", "events").json()
    again = control(sandbox, "POST", f"events/{sent['event_id']}/redeliver").json()
    assert {"deliveries": 1} == again
    waiting = control(sandbox, "GET", "deliveries").json()
    assert [sent["event_id"]] * 2 == [one["event_id"] for one in waiting["waiting"]]
    sandbox.deliver_due(lambda _: 204)
    attempts = control(sandbox, "GET", "deliveries").json()["attempts"]
    assert [204, 204] == [one["http_status"] for one in attempts]


def test_machine_clock_cannot_be_moved() -> None:
    """A sandbox on the machine's clock refuses to move it."""
    sandbox = Sandbox()

    assert 400 == control(sandbox, "POST", "clock", {"advance_s": 1}).status_code
    assert control(sandbox, "GET", "clock").json()["virtual"] is False


def test_about_shows_no_secret() -> None:
    """`about` shows the ECDSA public key and the endpoints, and no secret."""
    sandbox = make_sandbox()

    answer = control(sandbox, "GET", "about")

    assert sandbox.ecdsa_public_key == answer.json()["ecdsa_public_key"]
    overview = ask(sandbox, "GET", "/_sandbox/")
    for secret in (sandbox.config.private_key, sandbox.config.signing_key):
        assert secret not in answer.text
        assert secret not in overview.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
    ],
)
def test_foreign_pages(headers: dict[str, str]) -> None:
    """Another site's page cannot control the sandbox, nor read it under another host name."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)

    for path in ("/_sandbox/", f"/_sandbox/api/intents/{x_intent_id}/pay"):
        answer = ask(sandbox, "POST", path, headers=headers, data={"act": "pay"})
        assert 403 == answer.status_code
    assert "CREATED" == sandbox.status(x_intent_id)


def test_overview() -> None:
    """The overview lists intents, events and answers; its buttons act."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    sandbox.deliver_due(lambda _: 503)
    acts: list[dict[str, str]] = [
        {"act": "decline", "x_intent_id": x_intent_id},
        {"act": "pay", "x_intent_id": x_intent_id},
        {"act": "refund", "x_intent_id": x_intent_id, "amount_minor": "1000"},
        {"act": "refund", "x_intent_id": x_intent_id, "amount_minor": ""},
        {"act": "dispute", "x_intent_id": x_intent_id},
        {"act": "settle:lost", "x_intent_id": x_intent_id},
        {"act": "redeliver", "event_id": sandbox.events()[0].event_id},
        {"act": "faults", "faults": '{"seed": 9}'},
        {"act": "advance", "advance_s": "60"},
    ]

    for form in acts:
        answer = ask(sandbox, "POST", "/_sandbox/", data=form, headers={"origin": BASE})
        assert (303, "/_sandbox/") == (answer.status_code, answer.headers["location"])

    page = ask(sandbox, "GET", "/_sandbox/").text
    shown = (x_intent_id, "REFUNDED", "dispute: lost", "1: 503", "&#34;seed&#34;: 9")
    for text in (*shown, "refunded by dashboard: 1000", "refunded by dashboard: 1599"):
        assert text in page


def press(sandbox: Sandbox, act: str, **fields: str) -> httpx.Response:
    return ask(sandbox, "POST", "/_sandbox/", data={"act": act, **fields}, headers={"origin": BASE})


def test_overview_has_a_button_for_each_trouble() -> None:
    """Each puts its own rule in force; the keys are forgotten by another."""
    sandbox = make_sandbox()
    page = ask(sandbox, "GET", "/_sandbox/").text
    for name, trouble in TROUBLES.items():
        assert f'value="trouble:{name}"' in page
        assert 303 == press(sandbox, f"trouble:{name}").status_code
        assert trouble.rule == sandbox.faults.api[-1]
    assert 303 == press(sandbox, "expire_keys").status_code
    assert 400 == press(sandbox, "trouble:rain").status_code
    sandbox.set_faults(FaultPlan())
    headers = {"idempotency-key": "k1", "authorization": basic()}
    ask(sandbox, "POST", "/payments/create-intent", headers=headers, json=BODY)
    assert {"expired": 1} == control(sandbox, "POST", "keys/expire").json()
    last = control(sandbox, "POST", "troubles/refund_500").json()["api"][-1]
    assert ("error_json", True) == (last["fault"], last["took_effect"])


def test_overview_shows_a_dispute_in_the_status_when_asked() -> None:
    """Beside the button for one that leaves the status; a strange amount is refused in words."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox)
    sandbox.pay(x_intent_id)
    assert 400 == press(sandbox, "refund", x_intent_id=x_intent_id, amount_minor="1.5").status_code
    press(sandbox, "dispute_in_status", x_intent_id=x_intent_id)
    assert "DISPUTED" == sandbox.status(x_intent_id)
    body = {"in_status": "yes"}
    refused = control(sandbox, "POST", f"intents/{x_intent_id}/dispute", body)
    assert 400 == refused.status_code


def test_overview_says_what_is_wrong() -> None:
    """A wrong fault plan is refused in words, and what was typed stays in the box."""
    answer = ask(
        make_sandbox(), "POST", "/_sandbox/", data={"act": "faults", "faults": '{"oops": 1}'}
    )

    assert 400 == answer.status_code
    assert "oops&#39; is not one of api, seed, webhooks" in answer.text
    assert "{&#34;oops&#34;: 1}</textarea>" in answer.text


def test_home_and_style() -> None:
    """The root leads to the overview, and the style sheet is served."""
    sandbox = make_sandbox()

    assert "/_sandbox/" == ask(sandbox, "GET", "/").headers["location"]
    css = ask(sandbox, "GET", "/_sandbox/sandbox.css")
    assert "text/css" in css.headers["content-type"]
    assert "prefers-color-scheme: dark" in css.text


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper", "ratio"),
    [
        ("ink", "page", 4.5),
        ("quiet", "page", 4.5),
        ("quiet", "paper", 4.5),
        ("quiet", "lab", 4.5),
        ("brand", "paper", 4.5),
        ("on-brand", "brand", 4.5),
        ("on-brand", "brand-dark", 4.5),
        ("on-banner", "banner", 4.5),
        ("bad", "bad-paper", 4.5),
        ("bad", "paper", 4.5),
        ("good", "good-paper", 4.5),
        ("edge", "paper", 3),
    ],
)
def test_contrast(scheme: int, ink: str, paper: str, ratio: float) -> None:
    """Text reaches 4.5:1 and the edges of fields 3:1 in both colour schemes (WCAG AA)."""
    css = ask(make_sandbox(), "GET", "/_sandbox/sandbox.css").text
    colours = [re.findall(rf"--{name}: (#[0-9a-f]{{6}})", css)[scheme] for name in (ink, paper)]
    low, high = sorted(luminance(colour) for colour in colours)

    assert ratio <= (high + 0.05) / (low + 0.05)


# Over real sockets


def test_broken_answer_over_http() -> None:
    """A lost answer is a connection that breaks, not one that hangs; the next call works."""
    lost = ApiFault(fault="lose_answer", path=CREATE, times=1)
    with served(faults=FaultPlan(api=(lost,))) as sandbox:
        url = sandbox.config.checkout_base_url + CREATE
        headers = {"authorization": basic()}
        with httpx.Client(trust_env=False, headers=headers, timeout=10) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                client.post(url, json=BODY)
            assert 200 == client.post(url, json=BODY).status_code
    assert 2 == len(sandbox.intents())


@contextlib.contextmanager
def receiver(
    status: int = 200, headers: dict[str, str] | None = None
) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A merchant's webhook endpoint; yields its URL and what it received."""
    received: list[tuple[dict[str, str], bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(({name.lower(): v for name, v in self.headers.items()}, body))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with web_servers.handler(Handler) as port:
        yield f"http://127.0.0.1:{port}/hook", received


def send_until(sandbox: Sandbox, done: Callable[[], bool]) -> None:
    """Runs the sender until something is so, at most ten seconds."""

    async def watch() -> None:
        async with asyncio.timeout(10):
            sending = asyncio.create_task(sender_loop(sandbox))
            while not done():
                await asyncio.sleep(0.01)
            sending.cancel()
            await asyncio.wait([sending])

    asyncio.run(watch())


def test_webhooks_over_http() -> None:
    """The sender posts the exact bytes with both signatures, and notes the answer."""
    with receiver() as (url, received):
        sandbox = make_sandbox(webhook_url=url)
        create(sandbox)
        (delivery,) = sandbox.due()
        send_until(sandbox, lambda: bool(sandbox.delivery_log()))

    (headers, body) = received[0]
    assert delivery.body == body
    assert dict(delivery.headers).items() <= headers.items()
    assert urlsplit(url).netloc == headers["host"]
    assert [200] == [attempt.http_status for attempt in sandbox.delivery_log()]
    assert [] == sandbox.due()


def resolved(*addresses: str) -> Callable[[httpx.URL], Awaitable[list[str]]]:
    """A resolver that always finds these addresses."""

    async def addresses_of(_: httpx.URL) -> list[str]:
        return list(addresses)

    return addresses_of


def test_webhooks_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with two addresses reaches a shop that listens on one of them."""
    monkeypatch.setattr(sender_module, "_addresses", resolved("::1", "127.0.0.1"))
    with receiver() as (url, received):
        sandbox = make_sandbox(webhook_url=url.replace("127.0.0.1", "localhost"))
        create(sandbox)
        send_until(sandbox, lambda: bool(sandbox.delivery_log()))

    assert 1 == len(received)
    assert received[0][0]["host"].startswith("localhost:")


def test_redirects_are_not_followed() -> None:
    """A redirecting endpoint counts as failed and is not followed."""
    with receiver() as (other, elsewhere), receiver(302, {"location": other}) as (url, _):
        sandbox = make_sandbox(webhook_url=url)
        create(sandbox)
        send_until(sandbox, lambda: bool(sandbox.delivery_log()))

    assert 302 == sandbox.delivery_log()[0].http_status
    assert [] == elsewhere
    assert sandbox.next_due_at_ms() is not None


def test_nobody_answers() -> None:
    """A closed port is no answer, and the webhook is retried later."""
    with receiver() as (url, _):
        pass
    sandbox = make_sandbox(webhook_url=url)
    create(sandbox)

    send_until(sandbox, lambda: bool(sandbox.delivery_log()))

    assert (None, "no answer") == (
        sandbox.delivery_log()[0].http_status,
        sandbox.delivery_log()[0].note,
    )
    assert sandbox.next_due_at_ms() is not None


def test_only_this_machine_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is not this machine, or only partly, is refused without a connection."""
    called: list[str | None] = []

    async def status(
        client: httpx.AsyncClient, delivery: Delivery, url: httpx.URL, address: str | None = None
    ) -> int:
        called.append(address)
        return 200

    monkeypatch.setattr(sender_module, "_status", status)
    for addresses in (("192.0.2.7",), ("127.0.0.1", "192.0.2.7"), ()):
        monkeypatch.setattr(sender_module, "_addresses", resolved(*addresses))
        sandbox = make_sandbox(webhook_url="https://shop.example/hook")
        create(sandbox)
        send_until(sandbox, lambda: bool(sandbox.delivery_log()))  # noqa: B023
        assert sandbox.delivery_log()[0].http_status is None
    assert [] == called

    open_to_all = make_sandbox(webhook_url="https://shop.example/hook", loopback_only=False)
    create(open_to_all)
    send_until(open_to_all, lambda: bool(open_to_all.delivery_log()))
    assert [None] == called


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
    ],
)
def test_loopback_addresses(address: str, expected: bool) -> None:
    """Only numeric loopback addresses are loopback addresses."""
    assert expected is is_loopback(address)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("shop.localhost", True),
        ("[::1]".strip("[]"), True),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_local_names(name: str, expected: bool) -> None:
    """`localhost` and what ends in it mean this machine, and no other name."""
    assert expected is is_local_name(name)


def test_run_stays_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` refuses to listen where others can reach it, unless an option allows it."""
    served_on: list[str] = []

    def serve(_: object, *, host: str, **__: object) -> None:
        served_on.append(host)

    monkeypatch.setattr("xpay_flow.sandbox.web.uvicorn.run", serve)

    for host in ("0.0.0.0", "192.0.2.1", "shop.example", ""):
        with pytest.raises(ConfigurationError, match="any_host"):
            run(Sandbox(), host=host)
    run(Sandbox())
    run(Sandbox(), host="0.0.0.0", any_host=True)
    assert ["127.0.0.1", "0.0.0.0"] == served_on


# Imports


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_core_imports_little() -> None:
    """Importing and using the sandbox loads no web framework, HTTP client or template engine."""
    loaded = python(
        "import sys; from xpay_flow.sandbox import Sandbox; Sandbox();"
        "print([m for m in ('starlette', 'uvicorn', 'jinja2', 'httpx', 'asyncio') "
        "if m in sys.modules])"
    )

    assert "[]" == loaded


def test_missing_extra() -> None:
    """Without its extra, the web module names what to install, and the core still works."""
    printed = python(
        "import sys; sys.modules['starlette'] = None; sys.modules['cryptography'] = None\n"
        "from xpay_flow.sandbox import Sandbox, SandboxConfig\n"
        "sandbox = Sandbox(SandboxConfig(webhook_url='http://localhost/x'))\n"
        "sandbox.send_raw_event('a')\n"
        "print(sandbox.ecdsa_public_key, sorted(dict(sandbox.due()[0].headers)))\n"
        "try:\n"
        "    import xpay_flow.sandbox.web\n"
        "except ImportError as error: print(type(error).__name__, error.extra)"
    )

    expected = f"None ['content-type', 'xpay-signature']\n{MissingExtra.__name__} cli"
    assert expected == printed


# The merchant by hand


@pytest.mark.slow
def test_merchant_by_hand() -> None:
    """A shop written by hand from the documentation alone gets along with the sandbox."""
    script = Path(__file__).parents[2] / "examples" / "merchant_by_hand.py"
    with served() as sandbox:
        config = sandbox.config
        given = [config.checkout_base_url, config.public_key, config.private_key, "hand-made-key"]
        done = subprocess.run(
            [sys.executable, str(script), *given],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert 0 == done.returncode, done.stdout + done.stderr
    (intent,) = sandbox.intents()
    assert "REFUNDED" == sandbox.status(intent.x_intent_id)
    assert ["insufficient_funds", None] == [charge.error_code for charge in intent.charges]


@pytest.mark.slow
def test_merchant_by_hand_can_fail() -> None:
    """The same script ends with 1 when every signature is wrong."""
    script = Path(__file__).parents[2] / "examples" / "merchant_by_hand.py"
    wrong = FaultPlan.from_dict({"webhooks": [{"fault": "wrong_signature"}]})
    with served(faults=wrong) as sandbox:
        given = [sandbox.config.checkout_base_url, "sandbox_public_key", "sandbox_private_key", "k"]
        done = subprocess.run(
            [sys.executable, str(script), *given],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert 1 == done.returncode
    assert "signature" in done.stdout + done.stderr


def test_query_of_return_is_parsed() -> None:
    """A shop reads the intent's id from the query of the return address."""
    sandbox = make_sandbox()
    x_intent_id = create(sandbox, callbackUrl="https://shop.example/r?a=1#f")

    query = parse_qs(urlsplit(sandbox.return_url(x_intent_id)).query)

    assert {"a": ["1"], "xpay_intent_id": [x_intent_id]} == query
    assert SandboxConfig().checkout_base_url == BASE
