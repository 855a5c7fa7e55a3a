"""What does the customer's browser get? A page that reloads itself, its style, and a small script.

The page shows how much is to be paid, for which order, how it stands and what to do next.
With the script it waits for the result; without it, it reloads itself a few times. A failure is
shown only after some seconds: the customer may have paid right after it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final, Literal, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

from ..flows import PaymentStatus
from ..intent import RefundStatus
from ..money import Money
from .pages import Pages as Pages
from .words import amount_in_words

log = logging.getLogger("xpay_flow.pages")

# `looking` goes on by itself; `waiting` has stopped to look; `unnamed` came without an id.
Outcome = Literal["looking", "waiting", "success", "failed", "unnamed"]

# Without the script: 3 s apart, a failure is believed after about 9 s, and after two minutes a
# customer would rather press a link than watch a page reload.
LOOK_EVERY_S: Final = 3
FAILED_AFTER_LOOKS: Final = 3
LOOKS_MAX: Final = 40

_LOOKS: Final = re.compile(r"[0-9]{1,4}", re.ASCII)
# "Ids: `in_` and 16 or 21 characters now, 24 hex digits of old." Anybody can write anything into
# the address, such as "call this number", and the shop's page must not repeat it.
_X_INTENT_ID: Final = re.compile(r"in_[A-Za-z0-9]{8,64}|[0-9a-f]{24}", re.ASCII)


@attrs.frozen(kw_only=True)
class Shown:
    """What the page is to show of a payment.

    Args:
        intent_id: xPay's id as the address names it, and so perhaps anything.
        money, item, receipt_id, refunded: of the payment, where it is on file.
    """

    outcome: Outcome
    intent_id: str = ""
    money: Money | None = None
    item: str = ""
    receipt_id: str = ""
    refunded: RefundStatus = "none"


def outcome_of(status: PaymentStatus, looks: int) -> Outcome:
    """What to show a customer for whom we have looked `looks` times before."""
    if status.status == "SUCCESS":
        return "success"
    if status.status == "FAILED" and (status.final or looks >= FAILED_AFTER_LOOKS):
        return "failed"
    return "looking" if looks < LOOKS_MAX else "waiting"


def looks_of(query: Mapping[str, str]) -> int:
    """How often the page has reloaded itself; 0 for what is no count."""
    given = query.get("n", "0")
    return min(int(given), LOOKS_MAX) if _LOOKS.fullmatch(given) else 0


def return_page(
    pages: Pages, shown: Shown, query: Mapping[str, str], accept_language: str | None
) -> str:
    """The page, as HTML. The script shows another of its parts when the status changes.

    Args:
        query: of the return address. All of it but our counter is kept and passed on, since a shop
            may have put parameters of its own into the address.
    """
    values = page_values(pages, shown, query, accept_language)
    if pages.template is not None:
        try:
            return pages.template(values)
        except Exception:
            # The customer may have paid, and must not be shown an error.
            log.exception("the template of the return page failed; our own page is shown")
    return _our_page(pages, values)


def page_values(
    pages: Pages, shown: Shown, query: Mapping[str, str], accept_language: str | None
) -> dict[str, Any]:
    """What the page is made of, as a shop's own template is given it: plain text, not escaped."""
    kept = {name: value for name, value in query.items() if name != "n"}
    language = pages.language(f"{query.get('lang', '')},{accept_language or ''}")
    words = pages.words_in(language)
    is_shown = pages.show_payment and shown.money is not None
    looked = {**kept, "n": str(looks_of(query) + 1)}
    return {
        "outcome": shown.outcome,
        "refunded": shown.refunded,
        "amount": amount_in_words(shown.money, words) if shown.money and is_shown else "",
        "item": shown.item if is_shown else "",
        "receipt_id": shown.receipt_id if is_shown else "",
        "reference": shown.intent_id if _X_INTENT_ID.fullmatch(shown.intent_id) else "",
        "intent_id": shown.intent_id,
        "title": pages.title or words["payment"],
        "language": language,
        "words": words,
        "home_url": pages.home_url,
        "again_url": _with(kept, "return"),
        "continue_url": _with(kept, pages.success_url or pages.home_url),
        "retry_url": _with(kept, pages.retry_url) if pages.retry_url else "",
        "success_url": _with(kept, pages.success_url) if pages.success_url else "",
        "failure_url": _with(kept, pages.failure_url) if pages.failure_url else "",
        "refresh_url": _with(looked, "return") if shown.outcome == "looking" else "",
        "refresh_s": LOOK_EVERY_S,
        "script_url": f"xpay-flow.js?v={asset('xpay-flow.js').version}",
        "style_url": f"xpay-flow.css?v={asset('xpay-flow.css').version}",
        "stylesheet_url": pages.stylesheet_url or "",
    }


def _our_page(pages: Pages, values: Mapping[str, Any]) -> str:
    outcome, words = values["outcome"], dict(values["words"])
    if values["refunded"] == "full":
        words |= {"success_title": words["refunded_title"], "success_text": words["refunded_text"]}
    escaped = {name: escape(str(value)) for name, value in (words | dict(values)).items()}
    shown = {f"{part}_hidden": part == outcome for part in get_args(Outcome)} | {
        "retry_hidden": bool(pages.retry_url),
        "partly_hidden": values["refunded"] == "partial",
        "next_hidden": values["refunded"] != "full",
        "amount_hidden": bool(values["amount"]),
        "item_hidden": bool(values["item"]),
        "order_hidden": bool(values["receipt_id"]),
        "reference_hidden": bool(values["reference"]),
        "facts_hidden": any(values[name] for name in ("amount", "receipt_id", "reference")),
    }
    markup = {name: "" if on else "hidden" for name, on in shown.items()} | {
        # Where the page reloads itself, a screen reader begins with the message again.
        f"{part}_focus": "autofocus" if part == outcome != "looking" else ""
        for part in get_args(Outcome)
    }
    markup["own_style"] = _OWN_STYLE.substitute(escaped) if values["stylesheet_url"] else ""
    markup["refresh"] = _REFRESH.substitute(escaped) if values["refresh_url"] else ""
    return Template(asset("return.html").body.decode()).substitute(escaped | markup)


_OWN_STYLE: Final = Template('<link rel="stylesheet" href="$stylesheet_url">')
_REFRESH: Final = Template(
    '<noscript><meta http-equiv="refresh" content="$refresh_s; url=$refresh_url"></noscript>'
)


def _with(query: Mapping[str, str], url: str) -> str:
    """`url` with more parameters; those that the operator wrote into it win."""
    parts = urlsplit(url)
    own = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    more = urlencode({name: value for name, value in query.items() if name not in own})
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, more)))))


# --- files ---------------------------------------------------------------------------------------


@attrs.frozen
class Asset:
    """One of our files. `version` changes with its content."""

    body: bytes = attrs.field(repr=False)
    version: str


@cache
def asset(name: str) -> Asset:
    """A file of this package, read once."""
    body = (files(__name__) / name).read_bytes()
    return Asset(body, hashlib.sha256(body).hexdigest()[:16])
