"""In which language the return page speaks, what it says, and what a shop changes of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import attrs
import pytest

from xpay_flow import browser
from xpay_flow import sample_records as b
from xpay_flow.browser.words import SHIPPED, amount_in_words, choose, shipped, words_of
from xpay_flow.endpoints import Pages, WebRequest
from xpay_flow.errors import ConfigurationError
from xpay_flow.events import Event
from xpay_flow.flows import PaymentStatus
from xpay_flow.money import Money

from .kit import Site

X_INTENT_ID = "in_Ab3dE6gH9jK2mN5p"


def page(*events: Event, accept: str = "", pages: Pages | None = None, **query: str) -> str:
    """The return page of a payment for order-7 with xPay's id `X_INTENT_ID`."""
    site = Site(pages=pages)
    for step in b.history(b.created(X_INTENT_ID), *events, receipt_id="order-7"):
        assert site.store.commit(step)
    request = WebRequest(
        method="GET",
        path="/return",
        query={"xpay_intent_id": X_INTENT_ID} | query,
        headers=(("Accept-Language", accept),) if accept else (),
    )
    return site.answer(request).body.decode()


def paid() -> Event:
    return b.paid(x_intent_id=X_INTENT_ID)


def refunded(amount_minor: int) -> Event:
    return attrs.evolve(b.refunded("rf_1", amount_minor), x_intent_id=X_INTENT_ID)


# --- the files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", SHIPPED)
def test_each_language_has_every_text_and_no_other(language: str) -> None:
    """What English names, each file names, none is empty, and none brings markup."""
    words = words_of(language, {"name": shipped(language)["name"]})  # a change has all checked
    assert shipped("en").keys() == words.keys()
    assert not [name for name, text in words.items() if {"<", ">", "$", "{"} & set(text)]


def test_the_files_are_those_of_the_languages_that_are_shipped() -> None:
    """A file that nobody is offered would be forgotten."""
    found = {path.name for path in (files("xpay_flow.browser") / "languages").iterdir()}
    assert {f"{language}.json" for language in SHIPPED} == found


def test_each_translation_translates_each_sentence() -> None:
    """A sentence that was left in English is found; a word may be the same in two languages."""
    english = {name: text for name, text in shipped("en").items() if " " in text}
    for language in SHIPPED[1:]:
        assert not [name for name, text in english.items() if shipped(language)[name] == text]


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ({"success_titel": "Toll"}, "has an unknown text 'success_titel'"),
        ({"success_title": " "}, "has no usable text 'success_title'"),
        ({"success_title": 7}, "has no usable text 'success_title'"),
        ({"success_title": "x" * 501}, "has no usable text 'success_title'"),
        ({"direction": "up"}, "has no usable text 'direction'"),
    ],
)
def test_own_words_are_checked_at_start_up(own: Mapping[str, Any], complaint: str) -> None:
    """A typing error is named, with the language, before any customer sees it."""
    with pytest.raises(ConfigurationError) as error:
        Pages(words={"de": own})
    assert f"words['de'] {complaint}" == str(error.value)


def test_a_language_of_ones_own_needs_every_text() -> None:
    """A text that is missing is named; with all of them the page speaks it."""
    italian = {name: text for name, text in shipped("es").items() if name != "continue"}
    with pytest.raises(ConfigurationError, match=r"words\['it'\] lacks text 'continue'"):
        Pages(languages=("en", "it"), words={"it": italian})
    pages = Pages(languages=("en", "it"), words={"it": {**italian, "continue": "Continua"}})
    assert ">Continua</a>" in page(paid(), accept="it-CH", pages=pages)


@pytest.mark.parametrize(
    "given",
    [
        {"languages": ()},
        {"languages": ("en", "en\nx")},
        {"languages": ("nl",)},
        {"languages": ("en",), "words": {"de": {}}},
    ],
)
def test_languages_are_those_that_the_page_can_speak(given: dict[str, Any]) -> None:
    """None, no tag, one without texts, and texts for one that is not offered are refused."""
    with pytest.raises(ConfigurationError, match=r"language|words"):
        Pages(**given)


# --- the choice ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", "en"),
        ("es", "es"),
        ("de-AT", "de"),
        ("DE-at;q=0.5, FR;Q=0.9", "fr"),
        ("nl, pt-BR;q=0.8, *;q=0.1", "pt"),
        ("ja;q=0, hi;q=0.001", "hi"),
        ("de;q=0.5,ar;q=0.5", "de"),
        ("zh-Hant-TW", "en"),
        ("*", "en"),
        (";q=1, =, de;q=x, es;q=2, é, fr;q=0.7", "fr"),
        ("ja;q=0", "en"),
        ("x" * 5000, "en"),
        (" " * 1000 + "de", "en"),
        (",".join(["nl"] * 20) + ",de", "en"),
        ("-,--,de-", "de"),
    ],
)
def test_accept_language_chooses(accepted: str, chosen: str) -> None:
    """By weight, then by place; a region is content with its language; nonsense is passed over."""
    assert chosen == choose(accepted, SHIPPED)


def test_a_language_is_content_with_one_of_its_regions() -> None:
    """A shop may speak Brazilian Portuguese only, in texts of its own on top of ours."""
    pages = Pages(languages=("en", "pt-BR"), words={"pt-BR": {"success_title": "Valeu!"}})
    text = page(paid(), accept="pt", pages=pages)
    assert '<html lang="pt-BR" dir="ltr">' in text
    assert ">Valeu!</h1>" in text
    assert shipped("pt")["success_text"] in text


@pytest.mark.parametrize("language", SHIPPED)
def test_the_page_speaks_the_language_of_the_browser(language: str) -> None:
    """Its language and its direction are marked, and the message is in it."""
    words = shipped(language)
    text = page(paid(), accept=f"{language};q=0.9, en;q=0.5")
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in text
    assert f">{words['success_title']}</h1>" in text


def test_the_shop_chooses_by_naming_one_language() -> None:
    """Then no browser's wish changes it."""
    assert '<html lang="de"' in page(accept="fr", pages=Pages(languages=("de",)))


def test_the_shop_chooses_by_the_return_address() -> None:
    """A parameter `lang` comes before the browser's wish, and stays when the page reloads."""
    text = page(accept="fr", lang="ja")
    assert '<html lang="ja"' in text
    assert f"return?xpay_intent_id={X_INTENT_ID}&amp;lang=ja&amp;n=1" in text
    assert '<html lang="fr"' in page(accept="fr", lang="tlh")


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (PaymentStatus(status="PENDING", final=False), "Warten auf die Bank"),
        (PaymentStatus(status="FAILED", final=False), "Nicht bezahlt"),
        (PaymentStatus(status="SUCCESS", final=True), "Bezahlt"),
        (PaymentStatus(status="SUCCESS", final=True, refunded="partial"), "Teilweise erstattet"),
        (PaymentStatus(status="SUCCESS", final=True, refunded="full"), "Erstattet"),
    ],
)
def test_a_status_has_a_word(status: PaymentStatus, word: str) -> None:
    """Pages of a shop's own name it as ours do."""
    assert word == Pages().status_word(status, "de")


# --- what it says --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "amount"),
    [
        ("en", "1,299,000.50\u00a0USD"),
        ("de", "1.299.000,50\u00a0USD"),
        ("fr", "1\u202f299\u202f000,50\u00a0USD"),
        ("ar", "1,299,000.50\u00a0USD"),
    ],
)
def test_amounts_are_written_as_the_language_does(language: str, amount: str) -> None:
    """The decimal mark of one language parts thousands in another."""
    assert amount == amount_in_words(Money(129_900_050, "USD"), shipped(language))


def test_amounts_have_the_decimals_of_their_currency() -> None:
    """A yen has none, a dinar has three, and a currency that was withdrawn is shown as it is."""
    words = shipped("de")
    assert "1.999\u00a0JPY" == amount_in_words(Money(1999, "JPY"), words)
    assert "1,999\u00a0KWD" == amount_in_words(Money(1999, "KWD"), words)
    assert "1.999\u00a0XXQ (minor units)" == amount_in_words(Money.restored(1999, "XXQ"), words)


def test_the_page_says_how_much_and_for_what() -> None:
    """Amount, order and reference are there."""
    text = page(accept="de")
    assert "<dt>Betrag</dt><dd><bdi>19,99\u00a0USD</bdi></dd>" in text
    assert "<dt>Bestellung</dt><dd><bdi>order-7</bdi></dd>" in text
    assert f"<dt>Zahlungsreferenz</dt><dd><bdi><code>{X_INTENT_ID}</code>" in text


def test_a_shop_names_what_is_paid_for_in_its_metadata() -> None:
    """The value of the key that it chose is there, as text; without one, or of another, nothing."""
    row = "<div ><dt>Wofür</dt><dd><bdi>Zoë ₹</bdi></dd></div>"
    assert row in page(accept="de", pages=Pages(item_key="shop"))
    assert "<div hidden><dt>Wofür</dt>" in page(accept="de", pages=Pages(item_key="colour"))
    assert "<div hidden><dt>Wofür</dt>" in page(accept="de")


def test_a_shop_may_keep_amount_and_order_to_itself() -> None:
    """The address can be passed on, and with it the page."""
    text = page(pages=Pages(show_payment=False, item_key="shop"))
    assert "Zoë" not in text
    assert "19.99" not in text
    assert "order-7" not in text


@pytest.mark.parametrize(
    "reference",
    [
        "call 0800 555 0199",
        "in_",
        "in_short",
        "in_call-0800",
        "in_" + "x" * 65,
        "<b>in_Ab3dE6gH9jK2mN5p",
        "in_Ab3dE6gH9jK2mN5p\u200b",
        "IN_AB3DE6GH9JK2MN5P",
        "5f2b6c7d8e9f0a1b2c3d4e5",
        "٣" * 24,
    ],
)
def test_a_reference_that_is_none_of_xpays_is_not_shown(reference: str) -> None:
    """Anybody can write a text into an address and send it as the shop's."""
    text = page(xpay_intent_id=reference)
    assert "<code></code>" in text


@pytest.mark.parametrize("reference", [X_INTENT_ID, "5f2b6c7d8e9f0a1b2c3d4e5f"])
def test_a_reference_that_looks_like_one_of_xpays_is_shown(reference: str) -> None:
    """The new ids and the old ones, so that a customer can name the payment to the shop."""
    assert f"<code>{reference}</code>" in page(xpay_intent_id=reference)


class Structure(HTMLParser):
    """The elements of a page, with the names of their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))


def structure(**query: str) -> list[tuple[str, ...]]:
    return Structure(page(pages=Pages(retry_url="/cart"), **query)).elements


HOSTILE = ('"><script>alert(1)</script>', "' onload='alert(1)", "<b>", "&quot;><i>", "$title ${x}")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_stands_in_the_address_adds_no_markup(hostile: str) -> None:
    """The page has the elements and attributes that it has for a harmless address."""
    harmless = structure(xpay_intent_id="x", cart="7", lang="en")
    assert harmless == structure(xpay_intent_id=hostile, cart=hostile, lang=hostile)


def test_a_page_that_shows_a_reference_unescaped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: without escaping, the elements of the page differ."""
    monkeypatch.setattr(browser, "escape", lambda text: text)
    harmless = structure(xpay_intent_id="x")
    assert harmless != structure(xpay_intent_id=HOSTILE[0])


def test_a_refund_is_shown_in_place_of_thanks() -> None:
    """Who comes back to the page later is not thanked for money that went back."""
    text = page(paid(), refunded(b.PRICE.amount_minor))
    assert ">Your payment was refunded</h1>" in text
    assert "Thank you" not in text
    assert "<span hidden>There is nothing more to do.</span>" in text


def test_a_refund_of_a_part_is_named() -> None:
    """The rest is paid."""
    text = page(paid(), refunded(1))
    assert '<p class="note" ><strong>Partly refunded</strong>' in text
    assert "Thank you, it is paid" in text


def test_the_message_has_the_focus_when_the_page_is_loaded_with_an_outcome() -> None:
    """Without the script as well: a screen reader begins with it. A page that looks has none."""
    assert '<h1 tabindex="-1" autofocus>The payment did not go through' in page(
        b.failed(x_intent_id=X_INTENT_ID), n="3"
    )
    assert "autofocus" not in page()


# --- a template of the shop's ---------------------------------------------------------------------


def test_a_template_makes_the_page_from_the_same_values() -> None:
    """It gets texts, links and the payment, and its page has our headers."""
    pages = Pages(template=lambda values: json.dumps(dict(values)), retry_url="/cart")
    values = json.loads(page(accept="es", pages=pages, cart="7"))
    assert ("looking", "19,99\u00a0USD", "order-7", "es") == (
        values["outcome"],
        values["amount"],
        values["receipt_id"],
        values["language"],
    )
    assert shipped("es") == values["words"]
    assert f"/cart?xpay_intent_id={X_INTENT_ID}&cart=7" == values["retry_url"]
    assert f"return?xpay_intent_id={X_INTENT_ID}&cart=7&n=1" == values["refresh_url"]


def test_the_render_of_a_jinja_template_will_do() -> None:
    """And with its escaping nothing foreign is markup."""
    jinja2 = pytest.importorskip("jinja2")
    environment = jinja2.Environment(autoescape=True)
    template = environment.from_string("<h1>{{ words.looking_title }}</h1>{{ intent_id }}")
    text = page(pages=Pages(template=template.render), xpay_intent_id="<b>", accept="fr")
    assert "<h1>En attente de la banque</h1>&lt;b&gt;" == text


def test_a_template_that_raises_shows_our_page(caplog: pytest.LogCaptureFixture) -> None:
    """The customer may have paid and sees that; the traceback is in the log."""

    def broken(values: Mapping[str, Any]) -> str:
        return str(values["no_such_value"])

    with caplog.at_level(logging.ERROR, "xpay_flow.pages"):
        assert "Thank you, it is paid" in page(paid(), pages=Pages(template=broken))
    assert "KeyError: 'no_such_value'" in caplog.text


def test_every_place_of_our_template_is_filled() -> None:
    """Nothing like `$amount` reaches a customer, and own words are text, not markup."""
    own = {"looking_title": "<i>$amount</i>"}
    text = page(pages=Pages(words={"en": own}))
    assert "&lt;i&gt;$amount&lt;/i&gt;" in text
    assert 1 == text.count("$")
