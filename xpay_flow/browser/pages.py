"""What may a shop decide of the return page? Its name, its links, its languages, its looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from ..errors import ConfigurationError
from ..flows import PaymentStatus
from .words import SHIPPED, Words, choose, words_of

_TITLE_CHARS_MAX: Final = 100
_URL_CHARS_MAX: Final = 2000
_STATUS_WORDS: Final = {
    "PENDING": "status_waiting",
    "FAILED": "status_not_paid",
    "SUCCESS": "status_paid",
}
_REFUND_WORDS: Final = {"partial": "status_partly_refunded", "full": "status_refunded"}


@attrs.frozen(kw_only=True)
class Pages:
    """Texts, links and looks of the return page. Addresses are a path on this host, or http(s).

    Args:
        title: the name of the shop.
        home_url: the way out, when there is nothing else to do.
        retry_url: offered after a failed payment.
        success_url, failure_url: where to go on by itself; without them the page stays. These three
            are given the parameters of the return address.
        stylesheet_url: your own style, loaded after ours.
        languages: what the page may speak, such as `("de", "en")`; the first where the customer's
            browser wants none of them. A parameter `lang` of the return address counts before
            the browser's wish.
        words: texts of your own, by language and by the names of `languages/en.json`. A language
            that we do not ship needs all of them.
        item_key: the key of your metadata whose value names what is paid for, such as `item`.
        show_payment: whether the page names the amount, the item and the receipt id. Whoever has
            the address sees them.
        template: makes the page in place of ours, from the values of a mapping: the `render` of a
            template of Jinja or Django, for instance. If it raises, that is logged and ours is
            shown.

    Raises:
        ConfigurationError: an address is neither, the title is empty, or a text is missing.
    """

    title: str | None = None
    home_url: str = "/"
    retry_url: str | None = None
    success_url: str | None = None
    failure_url: str | None = None
    stylesheet_url: str | None = None
    languages: tuple[str, ...] = attrs.field(default=SHIPPED, converter=tuple)
    words: Mapping[str, Words] = attrs.field(factory=dict[str, Words], hash=False, repr=False)
    item_key: str | None = None
    show_payment: bool = True
    template: Callable[[Mapping[str, Any]], str] | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.title is not None and not _is_title(self.title):
            raise ConfigurationError(f"title must be 1 to {_TITLE_CHARS_MAX} printable characters")
        for name in ("home_url", "retry_url", "success_url", "failure_url", "stylesheet_url"):
            url: str | None = getattr(self, name)
            if url is not None and not _is_safe_link(url):
                raise ConfigurationError(f"{name} must begin with / or with http(s):// and a host")
        if not self.languages:
            raise ConfigurationError("languages must name at least one language")
        if unused := self.words.keys() - set(self.languages):
            raise ConfigurationError(f"languages must name {min(unused)!a}, since words do")
        for language in self.languages:
            self.words_in(language)

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

    def language(self, accept_language: str | None) -> str:
        """The language of the page for a browser with this header."""
        return choose(accept_language or "", self.languages)

    def words_in(self, language: str) -> Words:
        """All texts of one of the languages, by name."""
        return words_of(language, self.words.get(language, {}))

    def status_word(self, status: PaymentStatus, accept_language: str | None = None) -> str:
        """The status in a word or two, for a page of your own: `Bezahlt`, `Partly refunded`."""
        name = _REFUND_WORDS.get(status.refunded, _STATUS_WORDS[status.status])
        return self.words_in(self.language(accept_language))[name]


def _is_title(title: str) -> bool:
    return title.isprintable() and 0 < len(title.strip()) <= _TITLE_CHARS_MAX


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
