"""The shop's pages, as a customer and the shop's staff use them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from xpay_flow import messages
from xpay_flow.demo.catalogue import MUGS
from xpay_flow.demo.trouble import DAYS
from xpay_flow.sandbox import ApiFault, FaultPlan, WebhookFault

from .stall import SHOP, XPAY, Stall, open_stall


@pytest.fixture
def stall(tmp_path: Path) -> Iterator[Stall]:
    with open_stall(tmp_path) as opened:
        yield opened


# --- buying ----------------------------------------------------------------------------------


def test_every_mug_is_offered_with_its_price(stall: Stall) -> None:
    """The page shows each product of the catalogue, and each form has an order id of its own."""
    page = stall.get("/")

    assert all(f"<h2>{mug.name}</h2>" in page for mug in MUGS.values())
    assert "$19.00" in page
    assert len(MUGS) == len(set(stall.order_ids()))


def test_buying_leads_to_the_checkout_page(stall: Stall) -> None:
    """Buy stores the order and sends the browser to xPay."""
    response = stall.post("/buy", {"kind": "harbour", "order": stall.order_ids()[0]})

    assert 303 == response.status_code
    assert response.headers["location"].startswith(f"{XPAY}/checkout/")


def test_a_double_click_is_one_order_and_one_payment(stall: Stall) -> None:
    """The same form twice leads to the same checkout."""
    order_id = stall.order_ids()[0]
    first = stall.post("/buy", {"kind": "harbour", "order": order_id})

    second = stall.post("/buy", {"kind": "harbour", "order": order_id})

    assert first.headers["location"] == second.headers["location"]
    assert 1 == len(stall.xpay.intents())


def test_the_price_is_the_servers(stall: Stall) -> None:
    """Amounts from the browser are not even read."""
    order_id = stall.order_ids()[0]
    fields = {"amount": "1", "amount_minor": "1", "price": "0.01", "currency": "JPY"}

    stall.post("/buy", {"kind": "nightshift", "order": order_id, **fields})

    assert MUGS["nightshift"].price == stall.xpay.intents()[0].order.money


def test_an_old_page_buys_another_mug_under_a_new_order(stall: Stall) -> None:
    """An order id that belongs to another mug is not charged for this one."""
    order_id = stall.buy("harbour")

    stall.post("/buy", {"kind": "meadow", "order": order_id})

    assert [MUGS["harbour"].price, MUGS["meadow"].price] == [
        intent.order.money for intent in stall.xpay.intents()
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "teapot", "order": "mug-abcdefghjk"},
        {"kind": "harbour", "order": "mug-short"},
        {"kind": "harbour", "order": "../../etc"},
    ],
)
def test_a_form_that_is_not_ours_is_refused(stall: Stall, fields: dict[str, str]) -> None:
    """An unknown mug or an order id that we would not give stores nothing."""
    assert 400 == stall.post("/buy", fields).status_code
    assert [] == stall.xpay.intents()


@pytest.mark.parametrize("path", ["/buy", "/pay", "/operator/day", "/operator/redeliver"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_forms_of_other_sites_are_refused(stall: Stall, path: str, site: str) -> None:
    """A page of another site, or of another port, cannot press our buttons."""
    fields = {"kind": "harbour", "order": stall.order_ids()[0], "day": "lost"}

    answer = stall.post(path, {**fields, "name": "x", "entry": "x"}, {"sec-fetch-site": site})

    assert 403 == answer.status_code
    assert "fine" == stall.trouble.name


def test_another_name_for_this_machine_is_not_served(stall: Stall) -> None:
    """A foreign host name that resolves to 127.0.0.1 gets nothing."""
    assert 400 == stall.ask("/operator", headers={"host": "evil.example"}).status_code


def test_pages_allow_nothing_foreign(stall: Stall) -> None:
    """Each page forbids scripts, frames and foreign content, and is not cached."""
    order_id = stall.buy()
    for path in ("/", "/operator", f"/operator/payment?name={order_id}"):
        headers = stall.ask(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert f"form-action 'self' {XPAY};" in policy
        assert "no-store" == headers["cache-control"]


# --- an order --------------------------------------------------------------------------------


def test_an_order_is_not_packed_before_xpay_reports_it(stall: Stall) -> None:
    """Coming back from the checkout proves nothing, however often one comes."""
    order_id = stall.buy()
    x_intent_id = stall.x_intent_id(order_id)

    stall.get(f"/xpay/return?order={order_id}&xpay_intent_id={x_intent_id}")
    page = stall.get(f"/order?order={order_id}&xpay_intent_id={x_intent_id}")

    assert "Not paid yet" in page
    assert 'data-packed="0"' in page


def test_a_paid_order_is_packed_once(stall: Stall) -> None:
    """Webhook, handler, packed; and the page shows it."""
    order_id = stall.buy()
    stall.xpay.pay(stall.x_intent_id(order_id))

    stall.settle()

    page = stall.get(f"/order?order={order_id}")
    assert "Your mug is packed" in page
    assert 'data-packed="1"' in page
    assert "Pay $" not in page


def test_a_webhook_three_times_packs_once(stall: Stall) -> None:
    """Copies of the success event pack no second mug."""
    stall.trouble.choose("thrice")
    order_id = stall.buy()
    stall.xpay.pay(stall.x_intent_id(order_id))

    stall.settle()

    order = stall.orders.get(order_id)
    assert order is not None
    assert 1 == order.packed


def test_paying_a_paid_order_leads_to_the_order(stall: Stall) -> None:
    """There is nothing left to pay, and no second payment is made."""
    order_id = stall.buy()
    stall.xpay.pay(stall.x_intent_id(order_id))
    stall.settle()

    again = stall.post("/pay", {"order": order_id})

    assert (303, f"{SHOP}/order?order={order_id}") == (again.status_code, again.headers["location"])
    assert 1 == len(stall.xpay.intents())


def test_paid_and_not_packed_yet_is_shown(stall: Stall) -> None:
    """Between payment and parcel the page looks again by itself."""
    stall.trouble.choose("jammed")
    order_id = stall.buy()
    stall.xpay.pay(stall.x_intent_id(order_id))
    stall.settle()

    page = stall.get(f"/order?order={order_id}")

    assert "We are packing it" in page
    assert 'http-equiv="refresh"' in page


def test_a_declined_order_can_be_paid_again(stall: Stall) -> None:
    """The page shows that nothing was charged, and why, and leads to the same checkout."""
    order_id = stall.buy()
    stall.xpay.decline(stall.x_intent_id(order_id), "expired_card")
    stall.settle()

    page = stall.get(f"/order?order={order_id}")
    again = stall.post("/pay", {"order": order_id})

    assert "did not go through" in page
    assert "expired_card" in page
    assert XPAY in again.headers["location"]
    assert 1 == len(stall.xpay.intents())


def test_a_refund_is_shown_on_the_order(stall: Stall) -> None:
    """The handler notes the refund in the shop's own table."""
    order_id = stall.buy()
    stall.xpay.pay(stall.x_intent_id(order_id))
    stall.settle()
    stall.xpay.refund(stall.x_intent_id(order_id), 500)

    stall.settle()

    assert "−$5.00" in stall.get(f"/order?order={order_id}")


def test_leaving_the_checkout_keeps_the_order(stall: Stall) -> None:
    """The address for the cancelled shows "cancelled", unless the order is paid."""
    order_id = stall.buy()

    assert "You left the checkout" in stall.get(f"/order?order={order_id}&left=1")
    stall.xpay.pay(stall.x_intent_id(order_id))
    stall.settle()
    assert "You left the checkout" not in stall.get(f"/order?order={order_id}&left=1")


def test_xpay_without_an_answer_is_said_and_loses_nothing(stall: Stall) -> None:
    """The order is kept; trying again later goes on with the same payment."""
    stall.xpay.set_faults(
        FaultPlan(api=(ApiFault(fault="lose_answer", path=messages.CREATE_INTENT_PATH, times=3),))
    )
    order_id = stall.order_ids()[0]

    first = stall.post("/buy", {"kind": "harbour", "order": order_id})
    second = stall.post("/pay", {"order": order_id})

    assert 503 == first.status_code
    assert "Nothing was charged" in first.text
    assert 303 == second.status_code
    assert 1 == len(stall.xpay.intents())


@pytest.mark.parametrize("order_id", ["mug-abcdefghjk", "x", "<script>", ""])
def test_an_unknown_order_is_not_found(stall: Stall, order_id: str) -> None:
    """An unknown order is a page of the shop, which does not repeat the request."""
    page = stall.get(f"/order?order={order_id}", 404)

    assert "There is no such order" in page
    assert "<script" not in page


def test_an_address_without_a_page_is_a_page_of_the_shop(stall: Stall) -> None:
    """Even a 404 looks like the shop."""
    assert "Back to the shop" in stall.get("/nowhere", 404)


# --- the operator ----------------------------------------------------------------------------


def test_the_operator_sees_every_payment(stall: Stall) -> None:
    """The list shows order, state and amount."""
    order_id = stall.buy()
    stall.xpay.pay(stall.x_intent_id(order_id))
    stall.settle()

    page = stall.get("/operator")

    assert order_id in page
    assert '<span class="pill good">success</span>' in page
    assert "19.00 USD" in page
    assert "webhook.applied" in page


def test_the_operator_sees_one_payments_story(stall: Stall) -> None:
    """The page of a payment has pictures, table and what was due."""
    order_id = stall.buy()
    stall.xpay.pay(stall.x_intent_id(order_id))
    stall.settle()

    page = stall.get(f"/operator/payment?name={order_id}")

    assert 2 == page.count('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "This payment is in state success." in page
    assert "redirected → success" in page
    assert ":on_success" in page


def test_an_unmatched_event_is_shown(stall: Stall) -> None:
    """A parked event has a line and a page."""
    stall.xpay.send_raw_event("intent.success", {"intentId": "in_of_nobody_at_all"})
    stall.settle()

    page = stall.get("/operator")
    link = re.search(r'href="(/operator/payment\?name=[^"]+)"', page)

    assert link is not None
    assert "parked" in page
    assert "is kept" in stall.get(unescape(link[1]))


def test_a_given_up_handler_can_be_called_again(stall: Stall) -> None:
    """After the last retry the operator sees why, mends it, and delivers again."""
    stall.trouble.choose("jammed")
    order_id = stall.buy()
    stall.xpay.pay(stall.x_intent_id(order_id))
    stall.settle()
    for seconds in (60, 60, 60):
        stall.clock.advance(seconds)
        stall.settle()
    page = stall.get(f"/operator/payment?name={order_id}")
    fields = dict(re.findall(r'<input type="hidden" name="(name|entry)" value="([^"]+)"', page))

    stall.trouble.choose("fine")
    answer = stall.post("/operator/redeliver", fields)
    stall.settle()

    assert "the packing machine is jammed" in page
    assert "handler_gave_up:on_success" in page
    assert 303 == answer.status_code
    assert 'data-packed="1"' in stall.get(f"/order?order={order_id}")


def test_delivering_nothing_again_is_not_found(stall: Stall) -> None:
    """Names without an entry in the outbox are refused in words."""
    stall.buy()

    assert 404 == stall.post("/operator/redeliver", {"name": "unknown", "entry": "x"}).status_code
    assert 404 == stall.ask("/operator/payment?name=unknown").status_code


@pytest.mark.parametrize("day", sorted(DAYS))
def test_every_kind_of_day_can_be_chosen(stall: Stall, day: str) -> None:
    """The page shows which one is in force, and the local xPay gets its faults."""
    answer = stall.post("/operator/day", {"day": day})

    assert 303 == answer.status_code
    assert DAYS[day].faults == stall.xpay.faults
    pressed = re.findall(r'value="(\w+)" aria-pressed="true"', stall.get("/operator"))
    assert [day] == pressed


def test_a_day_that_there_is_not_is_refused(stall: Stall) -> None:
    """An unknown day changes nothing."""
    assert 400 == stall.post("/operator/day", {"day": "doomsday"}).status_code
    assert "fine" == stall.trouble.name


def test_hostile_words_of_an_event_are_text_on_the_operators_pages(stall: Stall) -> None:
    """An event type with markup in it is shown, and is no markup."""
    order_id = stall.buy()
    stall.xpay.send_raw_event("<script>x</script>", {"intentId": stall.x_intent_id(order_id)})
    stall.settle()

    for path in ("/operator", f"/operator/payment?name={order_id}"):
        page = stall.get(path)
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_a_lost_webhook_is_made_good_by_reconciliation(stall: Stall) -> None:
    """Without the success event the reconciler learns of it, and the mug is packed."""
    stall.xpay.set_faults(
        FaultPlan(webhooks=(WebhookFault(fault="lose", event_type=messages.INTENT_SUCCESS),))
    )
    order_id = stall.buy()
    stall.xpay.pay(stall.x_intent_id(order_id))
    stall.settle()
    before = stall.get(f"/order?order={order_id}")

    stall.clock.advance(3600)
    stall.run(stall.flow.reconcile())
    stall.settle()

    assert 'data-packed="0"' in before
    assert 'data-packed="1"' in stall.get(f"/order?order={order_id}")
