"""A shop by hand: what taking one payment through xPay takes without any library.

    python examples/merchant_by_hand.py BASE_URL PUBLIC_KEY PRIVATE_KEY SIGNING_KEY

Written from xPay's documentation with httpx and the standard library only. It creates an intent,
plays its own customer on the checkout page (declined first, then paid), takes the webhooks on a
small server of its own, verifies them, lists, and refunds. Exit code 0 when all went as documented.
"""

import base64
import hashlib
import hmac
import html
import json
import queue
import re
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx

WEBHOOK_WAIT_S = 15
AMOUNT_MINOR, CURRENCY = 2599, "EUR"
EVENTS = [
    "intent.created",
    "intent.checkout_opened",
    "intent.failed",
    "intent.success",
    "intent.refunded",
]


class Surprise(Exception):
    """xPay did not behave as documented."""


def expect(expected, found, what):
    if expected != found:
        raise Surprise(f"{what}: expected {expected!r}, found {found!r}")
    print(f"  ok  {what}: {found!r}")


class Receiver:
    """A webhook endpoint that accepts only what is signed with our key."""

    def __init__(self, signing_key):
        self.refused = 0
        self._key = signing_key.encode()
        self._events = queue.Queue()
        self._earlier = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                # The signature is over the bytes as they came: read first, parse later.
                body = self.rfile.read(min(int(self.headers["content-length"]), 1 << 20))
                accepted = receiver.accept(body, self.headers.get("xpay-signature", ""))
                self.send_response(200 if accepted else 401)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def accept(self, body, signature):
        mine = base64.b64encode(hmac.new(self._key, body, hashlib.sha512).digest())
        if not hmac.compare_digest(mine, signature.encode("latin-1")):
            self.refused += 1
            return False
        self._events.put(json.loads(body))
        return True

    def wait_for(self, event_type):
        """The next event of a type; events may come in any order, so others are kept."""
        for event in self._earlier:
            if event["eventType"] == event_type:
                return event
        while True:
            try:
                event = self._events.get(timeout=WEBHOOK_WAIT_S if not self.refused else 1)
            except queue.Empty:
                raise Surprise(
                    f"no {event_type}; {self.refused} webhooks had a wrong signature"
                ) from None
            print(f"      webhook {event['eventType']} {event['eventId']}")
            self._earlier.append(event)
            if event["eventType"] == event_type:
                return event

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def create_intent(api, order_id):
    body = {
        "amount": AMOUNT_MINOR,
        "currency": CURRENCY,
        "receiptId": order_id,
        "description": "Two mugs",
        "callbackUrl": "http://localhost:9/thanks?lang=en#receipt",
        "customerDetails": {"name": "Ada Example", "email": "ada@example.org"},
        "metadata": {"orderId": order_id},
    }
    key = {"Idempotency-Key": f"{order_id}:1"}
    first = api.post("/payments/create-intent", json=body, headers=key)
    expect(200, first.status_code, "create-intent")
    again = api.post("/payments/create-intent", json=body, headers=key)
    expect(first.json()["xIntentId"], again.json()["xIntentId"], "same key, same intent")
    expect("CREATED", first.json()["status"], "status after creation")
    return first.json()


def fill_in(browser, page, **changes):
    """Submits the page's form as a browser would, with some fields changed."""
    fields = {}
    for tag in re.findall(r"<input[^>]*>", page.text):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if attributes.get("type") != "radio" or re.search(r"\schecked\b", tag):
            fields[attributes["name"]] = html.unescape(attributes.get("value", ""))
    fields |= {"act": "pay", **changes}
    return browser.post(page.url, data=fields)


def play_customer(browser, fwd_url):
    """Opens the checkout page, is declined, tries again and pays; returns the way back."""
    page = browser.get(fwd_url)
    expect(200, page.status_code, "checkout page")
    declined = fill_in(browser, page, outcome="decline", decline_code="insufficient_funds")
    expect(303, declined.status_code, "declined attempt")
    page = browser.get(page.url.join(declined.headers["location"]))
    expect(True, "enough funds" in page.text, "the page shows the reason")
    paid = fill_in(browser, page)
    expect(303, paid.status_code, "paid attempt")
    return paid.headers["location"]


def check_money(event, x_intent_id, order_id):
    """What must be compared before anything is shipped."""
    expect(x_intent_id, event["intentId"], "intent of the event")
    expect((AMOUNT_MINOR, CURRENCY), (event["amount"], event["currency"]), "money of the event")
    expect(order_id, event["receiptId"], "order of the event")
    expect({"orderId": order_id}, event["metadata"], "metadata of the event")


def trade(api, browser, receiver):
    order_id = f"order-{uuid.uuid4().hex[:12]}"
    intent = create_intent(api, order_id)
    x_intent_id = intent["xIntentId"]
    back = urlsplit(play_customer(browser, intent["fwdUrl"]))
    expect({"lang": ["en"], "xpay_intent_id": [x_intent_id]}, parse_qs(back.query), "way back")
    expect("receipt", back.fragment, "fragment kept")

    receiver.wait_for("intent.created")
    receiver.wait_for("intent.checkout_opened")
    expect("insufficient_funds", receiver.wait_for("intent.failed")["errorCode"], "decline code")
    check_money(receiver.wait_for("intent.success"), x_intent_id, order_id)

    query = {"expand": ["charge_attempts", "succeeded_charge"]}
    read = api.get(f"/payments/v2/get-intent/{x_intent_id}", params=query).json()
    expect("SUCCESS", read["status"], "status of get-intent")
    attempts = [charge["status"] for charge in read["chargeAttempts"]]
    expect(["FAILED", "SUCCESS"], attempts, "attempts of get-intent")
    listed = api.get("/payments/intents", params={"limit": 10, "statuses": "SUCCESS"}).json()
    expect(True, x_intent_id in [one["xIntentId"] for one in listed["data"]], "listed as paid")
    give_back(api, receiver, x_intent_id)


def give_back(api, receiver, x_intent_id):
    # The amount is a string here, and an integer in the answer.
    part = {"xIntentId": x_intent_id, "amount": "599"}
    refund = api.post("/payments/merchant/refund", json=part).json()
    expect((x_intent_id, 599), (refund["intentId"], refund["amount"]), "partial refund")
    event = receiver.wait_for("intent.refunded")
    expect((refund["refundId"], 599), (event["refundId"], event["amount"]), "refund event")
    rest = api.post("/payments/merchant/refund", json={"xIntentId": x_intent_id}).json()
    expect(AMOUNT_MINOR - 599, rest["amount"], "refund of the rest")
    refunds = api.get(f"/payments/refunds/{x_intent_id}").json()
    expect(AMOUNT_MINOR, sum(one["amount"] for one in refunds), "sum of the refunds")
    too_much = api.post("/payments/merchant/refund", json=part)
    expect((400, "bad_request"), (too_much.status_code, too_much.json()["errorCode"]), "no more")


def main(base_url, public_key, private_key, signing_key):
    receiver = Receiver(signing_key)
    keys = httpx.BasicAuth(public_key, private_key)
    api = httpx.Client(base_url=base_url, auth=keys, timeout=10, trust_env=False)
    browser = httpx.Client(timeout=10, trust_env=False)
    hook = {"eventSigner": signing_key, "endpoint": receiver.url, "subscribedEventTypes": EVENTS}
    try:
        with api, browser:
            expect(200, api.post("/webhook", json=hook).status_code, "webhook registered")
            trade(api, browser, receiver)
    except (Surprise, httpx.HTTPError) as surprise:
        print(f"FAILED  {surprise}")
        return 1
    finally:
        receiver.close()
    print("All as documented.")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
