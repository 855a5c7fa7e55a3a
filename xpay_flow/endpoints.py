"""What do we answer over HTTP? No framework and no I/O: a request becomes a flow.

    POST /webhook          xPay's events                       write
    GET  /payment-status   how does the payment stand?         read
    GET  /return           the page a customer comes back to   read
    GET  /xpay-flow.js     the browser helper                  read
    GET  /xpay-flow.css    the page's style                    read

A `ReadRoute` can only read, so its driver needs no more than a reader. Adapters translate a
framework's request into a `WebRequest` and a `WebResponse` back; every status, limit and verdict
is decided here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeAlias, get_args

import attrs

from . import messages
from .browser import Asset, Shown, asset, looks_of, outcome_of, return_page
from .browser import Pages as Pages  # the operator's part of it, re-exported
from .effects import Command, Query, count
from .errors import InvalidValue, StoreError, UntrustedMessage
from .flows import FlowContext, receive_webhook, status
from .flows.queries import RETRY_AFTER_S, UNKNOWN_PAYMENT, PublicStatus, look
from .flows.webhook import REFUSED
from .settings import Settings
from .signing import REASONS as SIGNATURE_REASONS

Header: TypeAlias = tuple[str, str]

# The page names its files by content, so only imports by a shop can lag behind, by this long.
ASSET_AGE_S: Final = 3600
# A lone surrogate, as a decoder that replaces what it cannot read may leave.
_HALF_A_CHARACTER: Final = re.compile("[\ud800-\udfff]")
# The settings' maximum limits every requested wait.
_WAIT: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?", re.ASCII)


@attrs.frozen(kw_only=True)
class WebRequest:
    """One HTTP request, in no framework's words.

    Args:
        path: relative to where the routes are mounted; begins with "/".
        query: of a parameter given twice, the last value.
        headers: names in any case, repeated ones repeated.
        body: the exact bytes. A body over `settings.body_bytes_max` may be cut one byte later.
        may_wait: False where the server has no thread to spare for a query that waits.
    """

    method: str
    path: str
    query: Mapping[str, str] = attrs.field(factory=dict[str, str], hash=False, repr=False)
    headers: tuple[Header, ...] = attrs.field(default=(), repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    may_wait: bool = True

    def header(self, name: str) -> str | None:
        """The first header of this name, given in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@attrs.frozen(kw_only=True)
class WebResponse:
    """One HTTP response; `headers` are complete, with type and length."""

    status: int
    headers: tuple[Header, ...]
    body: bytes = attrs.field(default=b"", repr=False)


class RequestHandler(Protocol):
    """What an adapter needs of a `Flow`."""

    @property
    def settings(self) -> Settings: ...

    def handle(self, request: WebRequest) -> WebResponse: ...

    def start(self) -> None: ...


class AsyncRequestHandler(Protocol):
    """What an adapter needs of an `AsyncFlow`."""

    @property
    def settings(self) -> Settings: ...

    def handle(self, request: WebRequest) -> Awaitable[WebResponse]: ...

    def start(self) -> Awaitable[None]: ...


@attrs.frozen
class ReadRoute:
    """A request that can only read."""

    flow: Query[WebResponse]


@attrs.frozen
class WriteRoute:
    """A request that may write."""

    flow: Command[WebResponse]


def route(request: WebRequest, context: FlowContext, pages: Pages) -> ReadRoute | WriteRoute:
    """The flow that answers `request`. Building it performs nothing.

    An address with a slash at its end is the same address: dashboards and proxies add one.
    """
    path = request.path.removesuffix("/")
    if path == "/webhook":
        if request.method == "POST":
            return WriteRoute(_webhook(request, context))
        return ReadRoute(_ready(_not_allowed("POST")))
    page = _PAGES.get(path)
    if page is None:
        return ReadRoute(_ready(json_response(404, {"error": "there is nothing here"})))
    if request.method == "GET":
        return ReadRoute(page(request, context, pages))
    if request.method == "HEAD":
        return ReadRoute(_without_body(page(request, context, pages)))
    return ReadRoute(_ready(_not_allowed("GET, HEAD")))


# --- the webhook ---------------------------------------------------------------------------------


def _webhook(request: WebRequest, context: FlowContext) -> Command[WebResponse]:
    """Everything authenticated gets 200. A refusal never quotes the request."""
    if len(request.body) > context.settings.body_bytes_max:
        yield from count(f"{REFUSED}too-large")
        return json_response(413, {"received": False, "error": "too-large"})
    if (request.header("content-encoding") or "identity").strip().lower() != "identity":
        # xPay compresses nothing. Some frameworks unpack a body on their own, and what they hand
        # over then are not the bytes that were signed.
        yield from count(f"{REFUSED}encoded")
        return json_response(415, {"received": False, "error": "encoded"})
    try:
        yield from receive_webhook(request.headers, request.body, context)
    except UntrustedMessage as error:
        refused = 401 if error.reason in SIGNATURE_REASONS else error.status_hint
        return json_response(refused, {"received": False, "error": error.reason})
    except StoreError as error:
        return _not_stored(error.status_hint)
    return _RECEIVED


def overdue() -> WebResponse:
    """The answer to a webhook that is not stored in time. xPay sends it again."""
    return _not_stored(503)


def _not_stored(status_code: int) -> WebResponse:
    return json_response(status_code, {"received": False, "error": "not-stored"}, _RETRY)


# --- the status query ----------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _StatusQuery:
    intent_id: str
    wait_s: float
    seen: PublicStatus | None


def _status(request: WebRequest, context: FlowContext, _: Pages) -> Query[WebResponse]:
    try:
        wanted = _read_status_query(request.query, context.settings)
    except InvalidValue as error:
        return json_response(400, {"error": str(error)})
    wait_s = wanted.wait_s if request.may_wait else 0
    try:
        found = yield from status(wanted.intent_id, wait_s=wait_s, seen=wanted.seen)
    except StoreError as error:
        return json_response(error.status_hint, {"error": "not-read"}, _RETRY)
    answer: dict[str, object] = {
        "status": found.status,
        "final": found.final,
        "refunded": found.refunded,
    }
    if not found.known:
        answer |= _UNKNOWN
    if wanted.wait_s > wait_s and not found.final:
        found = attrs.evolve(found, retry_after_s=RETRY_AFTER_S)
    if found.retry_after_s is None:
        return json_response(200 if found.known else 404, answer)
    answer["retry_after_s"] = found.retry_after_s
    later = (("Retry-After", str(found.retry_after_s)),)
    return json_response(200 if found.known else 404, answer, later)


def _read_status_query(query: Mapping[str, str], settings: Settings) -> _StatusQuery:
    wait = query.get("wait", "0")
    if not _WAIT.fullmatch(wait):
        raise InvalidValue("wait must be a number of seconds, such as 20")
    return _StatusQuery(
        intent_id=_intent_id(query),
        wait_s=min(float(wait), settings.status_wait_s_max),
        seen=_seen(query.get("seen")),
    )


def _intent_id(query: Mapping[str, str]) -> str:
    value = query.get(messages.RETURN_PARAMETER, "")
    if not 0 < len(value) <= messages.ID_CHARS_MAX or not value.isprintable():
        raise InvalidValue(
            f"{messages.RETURN_PARAMETER} must be the id with which xPay sent the customer back"
        )
    # The return page passes all of them on.
    if _HALF_A_CHARACTER.search("".join((*query, *query.values()))):
        raise InvalidValue("the query holds half of a character, which no browser sends")
    return value


def _seen(word: str | None) -> PublicStatus | None:
    known: PublicStatus
    for known in get_args(PublicStatus):
        if word == known:
            return known
    if word is None:
        return None
    raise InvalidValue(f"seen must be one of {', '.join(get_args(PublicStatus))}")


# --- the return page -----------------------------------------------------------------------------


def _return(request: WebRequest, _: FlowContext, pages: Pages) -> Query[WebResponse]:
    """The page for the customer. Coming back proves nothing, so it only reads."""
    try:
        intent_id = _intent_id(request.query)
    except InvalidValue:
        return _page(400, Shown(outcome="unnamed"), request, pages)
    status_code = 200
    try:
        found, intent = yield from look(intent_id)
    except StoreError as error:
        # The customer can do nothing about it, and the page checks again by itself.
        status_code, found, intent = error.status_hint, UNKNOWN_PAYMENT, None
    shown = Shown(
        outcome=outcome_of(found, looks_of(request.query)),
        intent_id=intent_id,
        money=intent.money if intent else None,
        item=dict(intent.metadata).get(pages.item_key or "", "") if intent else "",
        receipt_id=intent.receipt_id if intent else "",
        refunded=found.refunded,
    )
    return _page(status_code, shown, request, pages)


def _page(status_code: int, shown: Shown, request: WebRequest, pages: Pages) -> WebResponse:
    query: Mapping[str, str] = request.query if shown.intent_id else {}
    text = return_page(pages, shown, query, request.header("accept-language"))
    security = (
        ("Content-Security-Policy", pages.content_security_policy),
        ("Referrer-Policy", "no-referrer"),
    )
    return _response(status_code, "text/html; charset=utf-8", text.encode(), security + _NO_STORE)


# --- files ---------------------------------------------------------------------------------------


def _script(request: WebRequest, _: FlowContext, __: Pages) -> Query[WebResponse]:
    return _ready(_file(request, asset("xpay-flow.js"), "text/javascript; charset=utf-8"))


def _style(request: WebRequest, _: FlowContext, __: Pages) -> Query[WebResponse]:
    return _ready(_file(request, asset("xpay-flow.css"), "text/css; charset=utf-8"))


def _file(request: WebRequest, found: Asset, content_type: str) -> WebResponse:
    etag = f'"{found.version}"'
    caching = (("Cache-Control", f"public, max-age={ASSET_AGE_S}"), ("ETag", etag))
    if etag in (request.header("if-none-match") or ""):
        return WebResponse(status=304, headers=caching)
    return _response(200, content_type, found.body, caching)


# --- responses -----------------------------------------------------------------------------------

_NO_STORE: Final[tuple[Header, ...]] = (("Cache-Control", "no-store"),)
_RETRY: Final[tuple[Header, ...]] = (("Retry-After", str(RETRY_AFTER_S)),)
_UNKNOWN: Final[dict[str, object]] = {"known": False}


def json_response(
    status_code: int, content: Mapping[str, object], headers: tuple[Header, ...] = ()
) -> WebResponse:
    """A response that no cache keeps."""
    body = json.dumps(dict(content)).encode()
    return _response(status_code, "application/json", body, headers + _NO_STORE)


def _response(
    status_code: int, content_type: str, body: bytes, headers: tuple[Header, ...]
) -> WebResponse:
    about = (
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
    )
    return WebResponse(status=status_code, headers=about + headers, body=body)


# The answer to nearly every webhook, made once.
_RECEIVED: Final = json_response(200, {"received": True})


def _not_allowed(allow: str) -> WebResponse:
    return json_response(405, {"error": f"this address takes {allow}"}, (("Allow", allow),))


def _ready(response: WebResponse) -> Query[WebResponse]:
    """An answer that needs nothing of the world."""
    yield from ()
    return response


def _without_body(flow: Query[WebResponse]) -> Query[WebResponse]:
    """The answer to HEAD: the headers of GET, its length included."""
    response = yield from flow
    return attrs.evolve(response, body=b"")


_Page: TypeAlias = Callable[[WebRequest, FlowContext, Pages], Query[WebResponse]]
_PAGES: Final[Mapping[str, _Page]] = {
    "/payment-status": _status,
    "/return": _return,
    "/xpay-flow.js": _script,
    "/xpay-flow.css": _style,
}
