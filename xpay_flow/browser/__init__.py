"""What does the customer's browser get? A page that reloads itself, its style, and a small script.

With the script the page waits for the result; without it, it reloads itself a few times.
A failure is shown only after some seconds: the customer may have paid right after it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Final, Literal, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

from ..errors import ConfigurationError
from ..flows import PaymentStatus

# `looking` goes on by itself; `waiting` has stopped to look; `unnamed` came without an id.
Outcome = Literal["looking", "waiting", "success", "failed", "unnamed"]

# Without the script: 3 s apart, a failure is believed after about 9 s, and after two minutes a
# customer would rather press a link than watch a page reload.
LOOK_EVERY_S: Final = 3
FAILED_AFTER_LOOKS: Final = 3
LOOKS_MAX: Final = 40

_LOOKS: Final = re.compile(r"[0-9]{1,4}", re.ASCII)
_TITLE_CHARS_MAX: Final = 100
_URL_CHARS_MAX: Final = 2000


@attrs.frozen(kw_only=True)
class Pages:
    """Texts and links of the return page. Addresses are a path on this host, or http(s).

    Args:
        title: the name of the shop.
        home_url: the way out, when there is nothing else to do.
        retry_url: offered after a failed payment.
        success_url, failure_url: where to go on by itself; without them the page stays. These three
            are given the parameters of the return address.
        stylesheet_url: your own style, loaded after ours.

    Raises:
        ConfigurationError: an address is neither, or the title is empty.
    """

    title: str = "Payment"
    home_url: str = "/"
    retry_url: str | None = None
    success_url: str | None = None
    failure_url: str | None = None
    stylesheet_url: str | None = None

    def __attrs_post_init__(self) -> None:
        if not self.title.isprintable() or not 0 < len(self.title.strip()) <= _TITLE_CHARS_MAX:
            raise ConfigurationError(f"title must be 1 to {_TITLE_CHARS_MAX} printable characters")
        for name in ("home_url", "retry_url", "success_url", "failure_url", "stylesheet_url"):
            url: str | None = getattr(self, name)
            if url is not None and not _is_safe_link(url):
                raise ConfigurationError(f"{name} must begin with / or with http(s):// and a host")

    @property
    def content_security_policy(self) -> str:
        """Nothing but our own files, and the operator's style."""
        style = urlsplit(self.stylesheet_url or "")
        theirs = f" {style.scheme}://{style.netloc}" if style.netloc else ""
        return (
            "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; "
            f"style-src 'self'{theirs}; font-src 'self'{theirs}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )


def _is_safe_link(url: str) -> bool:
    # A browser takes "\" for "/", and "//host" for another host; ";" and "," would end a policy.
    if not 0 < len(url) <= _URL_CHARS_MAX or any(c <= " " or c in "\\\"'<>;,\x7f" for c in url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme or parts.netloc:
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    return url.startswith("/")


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


def return_page(pages: Pages, outcome: Outcome, intent_id: str, query: Mapping[str, str]) -> str:
    """The page, as HTML. The script shows another of its parts when the status changes.

    Args:
        query: of the return address. All of it but our counter is kept and passed on, since a shop
            may have put parameters of its own into the address.
    """
    kept = {name: value for name, value in query.items() if name != "n"}
    texts = {
        "title": pages.title,
        "intent_id": intent_id,
        "home_url": pages.home_url,
        "again_url": _with(kept, "return"),
        "continue_url": _with(kept, pages.success_url or pages.home_url),
        "retry_url": _with(kept, pages.retry_url or ""),
        "success_url": _with(kept, pages.success_url) if pages.success_url else "",
        "failure_url": _with(kept, pages.failure_url) if pages.failure_url else "",
        "script_version": asset("xpay-flow.js").version,
        "style_version": asset("xpay-flow.css").version,
    }
    switches = {f"{part}_hidden": part != outcome for part in get_args(Outcome)}
    switches |= {"retry_hidden": pages.retry_url is None, "reference_hidden": not intent_id}
    markup = {name: "hidden" if on else "" for name, on in switches.items()} | {
        "own_style": _filled(_OWN_STYLE, {"url": pages.stylesheet_url}, pages.stylesheet_url),
        "refresh": _filled(_REFRESH, _next_look(kept, query), outcome == "looking"),
    }
    escaped = {name: escape(text) for name, text in texts.items()}
    return Template(asset("return.html").body.decode()).substitute(escaped | markup)


_OWN_STYLE: Final = Template('<link rel="stylesheet" href="$url">')
_REFRESH: Final = Template(
    '<noscript><meta http-equiv="refresh" content="$seconds; url=$url"></noscript>'
)


def _next_look(kept: Mapping[str, str], query: Mapping[str, str]) -> dict[str, object]:
    return {
        "seconds": LOOK_EVERY_S,
        "url": _with({**kept, "n": str(looks_of(query) + 1)}, "return"),
    }


def _filled(template: Template, values: Mapping[str, object], wanted: object) -> str:
    if not wanted:
        return ""
    return template.substitute({name: escape(str(value)) for name, value in values.items()})


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
