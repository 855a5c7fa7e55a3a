"""What a customer sees who comes back from the checkout."""

from __future__ import annotations

from html.parser import HTMLParser

import attrs
import pytest

from xpay_flow import events as ev
from xpay_flow import sample_records as b
from xpay_flow.browser import FAILED_AFTER_LOOKS, LOOKS_MAX, Pages
from xpay_flow.endpoints import WebResponse
from xpay_flow.errors import ConfigurationError

from .kit import Site


class Page(HTMLParser):
    """The shown part of a return page, its links, and where it goes on by itself."""

    def __init__(self, response: WebResponse) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.texts: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self.goes_on: dict[str, str] = {}
        self.refresh: str | None = None
        self.intent_id: str | None = None
        self.loaded: list[str] = []
        self._part = self._href = ""
        self.feed(response.body.decode())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "main":
            self.intent_id = given["data-xpay-intent"]
        if tag == "section":
            self._part = given["data-outcome"]
            self.goes_on[self._part] = given.get("data-next", "")
            if "hidden" not in given:
                self.shown.append(self._part)
        if tag == "a" and "hidden" not in given:
            self._href = given["href"]
        if tag == "meta" and given.get("http-equiv") == "refresh":
            self.refresh = given["content"]
        if tag in ("script", "link"):
            self.loaded.append(given.get("src") or given["href"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._part = ""
        if tag == "a":
            self._href = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._part] = self.texts.get(self._part, "") + data
        if self._href and self._part in self.shown:
            self.links[data] = self._href


def page_of(site: Site, **query: str) -> Page:
    response = site.get("/return", **({"xpay_intent_id": "in_1"} | query))
    assert 200 == response.status
    return Page(response)


@pytest.mark.parametrize(
    ("received", "looks", "shown"),
    [
        ((), 0, "looking"),
        ((), LOOKS_MAX - 1, "looking"),
        ((), LOOKS_MAX, "waiting"),
        ((b.failed(),), 0, "looking"),
        ((b.failed(),), FAILED_AFTER_LOOKS - 1, "looking"),
        ((b.failed(),), FAILED_AFTER_LOOKS, "failed"),
        ((b.failed(),), LOOKS_MAX, "failed"),
        ((b.failed(), b.paid()), 0, "success"),
        ((b.paid(),), LOOKS_MAX, "success"),
        ((b.paid(amount_minor=1),), 0, "looking"),
    ],
)
def test_one_answer_is_shown(received: tuple[ev.Event, ...], looks: int, shown: str) -> None:
    """A failure is shown after some looks only; without an event the page stops at some time."""
    page = page_of(Site(*received), n=str(looks))
    assert [shown] == page.shown
    assert (shown == "looking") is (page.refresh is not None)


def test_a_payment_that_can_never_be_made_is_failed_at_once() -> None:
    """xPay refused the creation, so no success can follow and nothing is waited for."""
    site = Site()
    (record,) = site.store.history("x:in_1")
    assert record.intent is not None
    rejected = attrs.evolve(record.intent, state="rejected")
    step = b.next_change(record, b.webhook("unknown", "whe_x"))
    site.store.commit(attrs.evolve(step, record=attrs.evolve(step.record, intent=rejected)))
    assert ["failed"] == page_of(site).shown


def test_an_unknown_payment_is_waited_for() -> None:
    """The customer can be back before our own record is, so no failure is shown."""
    assert ["looking"] == page_of(Site(), xpay_intent_id="in_other").shown


def test_the_page_reloads_itself_a_bounded_number_of_times() -> None:
    """Followed without a script, the refreshes count up, end, and leave a link that begins anew."""
    site = Site()
    query, looks = {"xpay_intent_id": "in_1", "order": "4 2&3"}, 0
    while (page := page_of(site, **query)).refresh is not None:
        seconds, _, address = page.refresh.partition("; url=return?")
        assert "3" == seconds
        looks += 1
        assert f"xpay_intent_id=in_1&order=4+2%263&n={looks}" == address
        query["n"] = str(looks)
    assert LOOKS_MAX == looks
    assert "return?xpay_intent_id=in_1&order=4+2%263" == page.links["Look again"]


@pytest.mark.parametrize("n", ["", "-1", "x", "99999999", "٣", "1.5"])
def test_a_count_that_is_none_is_zero(n: str) -> None:
    """The counter stands in the address, where anybody can write anything."""
    assert ["looking"] == page_of(Site(b.failed()), n=n).shown


def test_a_customer_is_told_not_to_pay_again_and_that_nothing_was_charged() -> None:
    """The two sentences that prevent a double payment are there."""
    page = page_of(Site())
    for part in ("looking", "waiting"):
        assert "Please do not pay again." in page.texts[part]
    assert "Nothing was charged for this attempt." in page.texts["failed"]


def test_after_a_failure_there_is_a_way_to_try_again() -> None:
    """The shop's own page for it is offered if there is one, with the order it is about."""
    pages = Pages(retry_url="/checkout?step=pay", home_url="https://shop.example/")
    query = {"n": "3", "order": "42", "step": "evil"}
    links = page_of(Site(b.failed(), pages=pages), **query).links
    assert "/checkout?step=pay&xpay_intent_id=in_1&order=42" == links["Try again"]
    assert "https://shop.example/" == links["Back to the shop"]
    assert "Try again" not in page_of(Site(b.failed()), **query).links


def test_the_shop_can_take_over() -> None:
    """With pages of its own the shop gets its customers there, with the parameters it gave."""
    pages = Pages(success_url="/thanks#top", failure_url="https://shop.example/oops?a=1")
    page = page_of(Site(b.paid(), pages=pages), order="42")
    assert "/thanks?xpay_intent_id=in_1&order=42#top" == page.goes_on["success"]
    assert "https://shop.example/oops?a=1&xpay_intent_id=in_1&order=42" == page.goes_on["failed"]
    assert "/thanks?xpay_intent_id=in_1&order=42#top" == page.links["Continue"]
    assert not any(page_of(Site(b.paid())).goes_on.values())


@pytest.mark.parametrize("intent_id", ["", "x" * 256, "in\n1"])
def test_a_return_without_a_payment_says_so(intent_id: str) -> None:
    """The page does not pretend to look for something, and is no success to a monitor."""
    response = Site().get("/return", xpay_intent_id=intent_id)
    page = Page(response)
    assert (400, ["unnamed"], None) == (response.status, page.shown, page.refresh)
    assert "" == page.intent_id


def test_half_a_character_in_the_address_is_no_reason_for_an_error() -> None:
    """Some servers decode so; such an address names no payment, and none of it is passed on."""
    response = Site().get("/return", xpay_intent_id="in_1", order="\udc80")
    assert (400, ["unnamed"]) == (response.status, Page(response).shown)


def test_a_store_that_does_not_answer_is_no_reason_to_pay_again() -> None:
    """The customer sees that we are waiting, and the page looks again by itself."""
    site = Site(b.paid())
    site.store.down = True
    response = site.get("/return", xpay_intent_id="in_1")
    assert (503, ["looking"]) == (response.status, Page(response).shown)
    assert Page(response).refresh is not None


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Script and style are ours, named by their content, and the policy allows nothing more."""
    response = Site().get("/return", xpay_intent_id="in_1")
    loaded = [name.partition("?v=")[::2] for name in Page(response).loaded]
    assert ["xpay-flow.css", "xpay-flow.js"] == [name for name, _ in loaded]
    assert all(len(version) == 16 for _, version in loaded)
    headers = dict(response.headers)
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    assert "no-referrer" == headers["Referrer-Policy"]
    assert "no-store" == headers["Cache-Control"]


def test_a_shop_brings_its_own_style() -> None:
    """It comes after ours, and the policy admits the host it is on."""
    pages = Pages(stylesheet_url="https://cdn.shop.example/pay.css", title="Mugs & more")
    response = Site(pages=pages).get("/return", xpay_intent_id="in_1")
    assert "https://cdn.shop.example/pay.css" == Page(response).loaded[1]
    assert "style-src 'self' https://cdn.shop.example;" in pages.content_security_policy
    assert b"<title>Mugs &amp; more</title>" in response.body


@pytest.mark.parametrize(
    "url",
    [
        "",
        "thanks",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "https://",
        "https:/x",
        "data:text/html,x",
        "/a b",
        "/a\n",
        "https://[",
        '/"',
        "https://shop.example;script-src *",
        "/" + "x" * 2000,
    ],
)
def test_an_address_that_leads_elsewhere_is_refused(url: str) -> None:
    """A typing error in an address is found at start-up, not by a customer."""
    for name in ("home_url", "retry_url", "success_url", "failure_url", "stylesheet_url"):
        with pytest.raises(ConfigurationError, match=name):
            Pages(**{name: url})


@pytest.mark.parametrize("title", ["", "  ", "a\nb", "x" * 101])
def test_a_title_is_a_line_of_text(title: str) -> None:
    """The page has a heading of reasonable length."""
    with pytest.raises(ConfigurationError, match="title"):
        Pages(title=title)
