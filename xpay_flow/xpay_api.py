"""What does xPay answer? The calls to its API, as flows over one transport.

Each call ends in a value: the answer, `Refused` (definite: nothing happened), `NotFound`, or
`Unclear` (it may have happened, or not). A creation or a refund is repeated only under its one
idempotency key; reading may always be repeated.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import attrs

from . import messages as m
from .effects import (
    Command,
    acquire_rate_limit,
    exchange,
    hold_requests,
    leave_rate_limit,
    now,
    pause,
)
from .errors import (
    InvalidValue,
    OutcomeUnknown,
    TooManyRequests,
    UntrustedMessage,
    XPayRefused,
    quoted,
)
from .ports import HttpRequest, HttpResponse, NoAnswer
from .settings import Settings
from .wire import (
    IntentAnswer,
    RefundAnswer,
    WebhookEndpoint,
    checkout_url,
    is_json_object,
    read_error,
    read_intent,
    read_intent_page,
    read_new_webhook_endpoint,
    read_refund,
    read_refunds,
    read_webhook_endpoint,
    read_webhook_endpoints,
)

T = TypeVar("T")

# "No Retry-After documented": honoured if it comes, up to this, and else 1, 2, 4 … seconds.
RETRY_AFTER_S_MAX = 30.0
# How long background work waits until no customer needs the turn. Then it is due again later.
BACKGROUND_PATIENCE_S = 30.0
EXPAND = (("expand", "charge_attempts"), ("expand", "succeeded_charge"))
# A payment has a few refunds and an account a few endpoints: a list that goes on is no list.
SHORT_LIST_PAGES_MAX = 20


@attrs.frozen
class Created:
    """xPay made the intent, or had made it under this key before. `url` has been checked."""

    answer: IntentAnswer
    url: str = attrs.field(repr=False)


@attrs.frozen
class Refused:
    """A definite error: this request did nothing. A creation under the same key may have before.

    `http_status`, `error_code` and `description` are xPay's.
    """

    http_status: int
    error_code: str
    description: str

    def to_error(self) -> XPayRefused:
        return XPayRefused(self.http_status, self.error_code, self.description)


@attrs.frozen
class Unclear:
    """No answer, or one that settles nothing; `answered` is True for the latter.

    `busy_s` is after how many seconds the rate limit has a turn, where the request was not sent
    for want of one.
    """

    detail: str
    answered: bool = False
    busy_s: float | None = None

    def to_error(self) -> OutcomeUnknown | TooManyRequests:
        if self.busy_s is not None:
            return TooManyRequests(self.busy_s)
        return OutcomeUnknown(self.detail, answered=self.answered)


@attrs.frozen
class Cancelled:
    """xPay has accepted the order to cancel. Only a reading shows whether it is cancelled."""


@attrs.frozen
class Updated:
    """xPay has taken the new settings of a webhook endpoint, and answers no more than that."""


@attrs.frozen(kw_only=True)
class Pace:
    """How a call takes its turns under the rate limit.

    Args:
        within_s: how long the caller waits for turn and answer together.
        background: no customer waits for it, so customers come first.
        has_turn: the turn of the first request has come already.
    """

    within_s: float = math.inf
    background: bool = False
    has_turn: bool = False


CALLER: Final = Pace()
BACKGROUND: Final = Pace(background=True)


@attrs.frozen(kw_only=True)
class Page:
    """One page of a list; `offset` is the cursor of the next, None at the end."""

    intents: tuple[IntentAnswer, ...]
    offset: str | None


@attrs.frozen(kw_only=True)
class RefundPage:
    """One page of the refunds of an intent; `offset` is the cursor of the next, None at the end."""

    refunds: tuple[RefundAnswer, ...]
    offset: str | None


def create_intent(
    request: str, idempotency_key: str, settings: Settings, pace: Pace = CALLER
) -> Command[Created | Refused | Unclear]:
    """`POST /payments/create-intent`, repeated under the same key within a budget of time.

    Args:
        request: the body, the same to the byte at each repeat.
    """
    http = _request(
        settings,
        "POST",
        m.CREATE_INTENT_PATH,
        body=request.encode(),
        headers={m.IDEMPOTENCY_HEADER: idempotency_key},
    )
    response = yield from _insist(http, settings, pace)
    return response if isinstance(response, Unclear) else _read_created(response, settings)


def get_intent(
    x_intent_id: str, settings: Settings, pace: Pace = CALLER
) -> Command[IntentAnswer | Refused | Unclear]:
    """`GET /payments/v2/get-intent/{id}` with both expansions; one try.

    "Do not poll hard": the caller decides when to poll again.
    """
    path = m.GET_INTENT_PATH + _in_path(x_intent_id)
    answer = yield from _read(_request(settings, "GET", path, query=EXPAND), read_intent, pace)
    if isinstance(answer, IntentAnswer) and answer.x_intent_id != x_intent_id:
        return Unclear("xPay answered about another intent", answered=True)
    return answer


def cancel_intent(
    x_intent_id: str, settings: Settings, pace: Pace = CALLER
) -> Command[Cancelled | Refused | Unclear]:
    """`POST /payments/cancel/{id}`; one try. "The id is needed twice", in path and body.

    Repeating it is harmless, so it carries no idempotency key: xPay would replay an error under it
    for a day. "A cancel can lose a race against a running charge": read the intent afterwards.
    """
    body = json.dumps({"xIntentId": x_intent_id}, separators=(",", ":")).encode()
    http = _request(settings, "POST", m.CANCEL_INTENT_PATH + _in_path(x_intent_id), body=body)
    return (yield from _read(http, lambda _: Cancelled(), pace))


def list_intents(
    settings: Settings,
    pace: Pace = CALLER,
    *,
    start_ms: int,
    end_ms: int,
    offset: str | None = None,
    limit: int = 100,
    statuses: Iterable[str] = (),
) -> Command[Page | Refused | Unclear]:
    """`GET /payments/intents`: one page of those created in [start_ms, end_ms]; one try."""
    query = [("startTime", str(start_ms)), ("endTime", str(end_ms)), ("limit", str(limit))]
    if wanted := ",".join(statuses):
        query.append(("statuses", wanted))
    if offset is not None:
        query.append(("offset", offset))
    http = _request(settings, "GET", m.LIST_INTENTS_PATH, query=query)
    return (yield from _read(http, _page, pace))


def _page(body: bytes) -> Page:
    intents, offset = read_intent_page(body)
    return Page(intents=intents, offset=offset)


def refund(
    x_intent_id: str,
    amount_minor: int,
    idempotency_key: str,
    settings: Settings,
    pace: Pace = CALLER,
) -> Command[RefundAnswer | Refused | Unclear]:
    """`POST /payments/merchant/refund`, always of an explicit amount; one try.

    A blank amount is the whole payment to xPay, whatever was given back before. The answer's
    amount is xPay's word, not compared here: its own page shows another one than was requested.

    `Unclear.answered` is True where the key is used up: "the first reply comes back, also when
    the first was an error", so that only a reading shows whether the refund was made. It is False
    where the same bytes may be sent again under the same key within its 24 hours: no answer came,
    or another request under it is in progress, or there were too many.

    Raises:
        InvalidValue: the amount is not above 0, or the id cannot be xPay's.
    """
    if type(amount_minor) is not int or amount_minor <= 0:
        raise InvalidValue("a refund names its amount: a whole number of minor units above 0")
    _in_path(x_intent_id)
    # "Request: a string of minor units; reply: an integer".
    body = {"xIntentId": x_intent_id, "amount": str(amount_minor)}
    http = _request(
        settings,
        "POST",
        m.REFUND_PATH,
        body=json.dumps(body, separators=(",", ":")).encode(),
        headers={m.IDEMPOTENCY_HEADER: idempotency_key},
    )
    response = yield from _send(http, pace)
    if isinstance(response, HttpResponse) and _is_passing(response):
        return _unsettled(response)
    answer = _settled(response, read_refund)
    if isinstance(answer, RefundAnswer) and answer.x_intent_id != x_intent_id:
        return Unclear("xPay answered about another intent", answered=True)
    return answer


def get_refund(
    refund_id: str, settings: Settings, pace: Pace = CALLER
) -> Command[RefundAnswer | Refused | Unclear]:
    """`GET /payments/refund/{id}`; one try."""
    path = m.GET_REFUND_PATH + _in_path(refund_id)
    answer = yield from _read(_request(settings, "GET", path), read_refund, pace)
    if isinstance(answer, RefundAnswer) and answer.refund_id != refund_id:
        return Unclear("xPay answered about another refund", answered=True)
    return answer


def list_refunds(
    x_intent_id: str, settings: Settings, pace: Pace = CALLER, *, offset: str | None = None
) -> Command[RefundPage | Refused | Unclear]:
    """`GET /payments/refunds/{intentId}`: one page, documented as the only one; one try."""
    query = [("offset", offset)] if offset is not None else []
    path = m.LIST_REFUNDS_PATH + _in_path(x_intent_id)
    page = yield from _read(_request(settings, "GET", path, query=query), _refund_page, pace)
    if isinstance(page, RefundPage) and any(r.x_intent_id != x_intent_id for r in page.refunds):
        return Unclear("xPay answered about another intent", answered=True)
    return page


def all_refunds(
    x_intent_id: str, settings: Settings, pace: Pace = CALLER
) -> Command[tuple[RefundAnswer, ...] | Refused | Unclear]:
    """Every refund of an intent, each once: all pages of `list_refunds`."""
    found: dict[str, RefundAnswer] = {}
    offset = None
    for _ in range(SHORT_LIST_PAGES_MAX):
        page = yield from list_refunds(x_intent_id, settings, pace, offset=offset)
        if not isinstance(page, RefundPage):
            return page
        found |= {refund.refund_id: refund for refund in page.refunds}
        offset = page.offset
        if offset is None:
            return tuple(found.values())
    return Unclear(_ENDLESS, answered=True)


_ENDLESS: Final = f"xPay's list goes on after {SHORT_LIST_PAGES_MAX} pages"


def _refund_page(body: bytes) -> RefundPage:
    refunds, offset = read_refunds(body)
    return RefundPage(refunds=refunds, offset=offset)


def create_webhook_endpoint(
    url: str, secret: str, event_types: Iterable[str], settings: Settings, pace: Pace = CALLER
) -> Command[str | Refused | Unclear]:
    """`POST /webhook`: register an endpoint; answers its id. One try, under no key.

    "With the API the merchant picks the secret": `secret` becomes the signing key.
    """
    body = _endpoint_body(url, secret, event_types)
    http = _request(settings, "POST", m.WEBHOOK_ENDPOINTS_PATH, body=body)
    return (yield from _read(http, read_new_webhook_endpoint, pace))


def list_webhook_endpoints(
    settings: Settings, pace: Pace = CALLER
) -> Command[tuple[WebhookEndpoint, ...] | Refused | Unclear]:
    """`GET /webhook`: every endpoint of the account, with its secret in clear."""
    found: list[WebhookEndpoint] = []
    query: list[tuple[str, str]] = []
    for _ in range(SHORT_LIST_PAGES_MAX):
        http = _request(settings, "GET", m.WEBHOOK_ENDPOINTS_PATH, query=query)
        page = yield from _read(http, read_webhook_endpoints, pace)
        if isinstance(page, Refused | Unclear):
            return page
        endpoints, offset = page
        found.extend(endpoints)
        if offset is None:
            return tuple(found)
        query = [("offset", offset)]
    return Unclear(_ENDLESS, answered=True)


def get_webhook_endpoint(
    endpoint_id: str, settings: Settings, pace: Pace = CALLER
) -> Command[WebhookEndpoint | Refused | Unclear]:
    """`GET /webhook/{id}`: one endpoint, with its secret in clear."""
    path = f"{m.WEBHOOK_ENDPOINTS_PATH}/{_in_path(endpoint_id)}"
    return (yield from _read(_request(settings, "GET", path), read_webhook_endpoint, pace))


def update_webhook_endpoint(
    endpoint_id: str,
    url: str,
    secret: str,
    event_types: Iterable[str],
    settings: Settings,
    pace: Pace = CALLER,
) -> Command[Updated | Refused | Unclear]:
    """`PUT /webhook/{id}`: "same body as POST, all three required". Repeating it is harmless."""
    http = _request(
        settings,
        "PUT",
        f"{m.WEBHOOK_ENDPOINTS_PATH}/{_in_path(endpoint_id)}",
        body=_endpoint_body(url, secret, event_types),
    )
    return (yield from _read(http, lambda _: Updated(), pace))


def _endpoint_body(url: str, secret: str, event_types: Iterable[str]) -> bytes:
    # `endpoint` goes in, `webHookUrl` comes out.
    body = {"eventSigner": secret, "endpoint": url, "subscribedEventTypes": list(event_types)}
    return json.dumps(body, separators=(",", ":")).encode()


def or_raise(flow: Command[T | Refused | Unclear]) -> Command[T]:
    """The flow with its two bad ends raised, for those who call the API directly.

    Raises:
        XPayRefused: a definite error.
        OutcomeUnknown: no answer, or none that settles anything.
    """
    result = yield from flow
    if isinstance(result, Refused | Unclear):
        raise result.to_error()
    return result


def _request(
    settings: Settings,
    method: str,
    path: str,
    *,
    query: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> HttpRequest:
    # RFC 7617: the public key is the user, the private key the password.
    keys = b64encode(f"{settings.public_key}:{settings.private_key}".encode()).decode()
    parameters = urlencode(list(query))
    return HttpRequest(
        method,
        settings.base_url.rstrip("/") + path + (f"?{parameters}" if parameters else ""),
        {
            "Authorization": f"Basic {keys}",
            "Accept": "application/json",
            **({"Content-Type": "application/json"} if body else {}),
            **(headers or {}),
        },
        body,
    )


def _in_path(xpay_id: str) -> str:
    """The id as one step of a path.

    Raises:
        InvalidValue: it is empty, or no path can hold it: "." and ".." would change the path.
    """
    if xpay_id in ("", ".", ".."):
        raise InvalidValue(f"xPay's ids are not empty, '.' or '..': {quoted(xpay_id)}")
    try:
        return quote(xpay_id, safe="")
    except UnicodeEncodeError:
        raise InvalidValue(f"no id of xPay's holds this: {quoted(xpay_id)}") from None


class _NotSent(NoAnswer):
    """No turn under the rate limit came in time; `wait_s` is when there is one."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"our turn under the rate limit comes in {wait_s:.0f} s only; not sent")
        self.wait_s = wait_s


def _send(request: HttpRequest, pace: Pace) -> Command[HttpResponse | NoAnswer]:
    """One exchange, after waiting for our turn under the rate limit, if that is not too long."""
    left_s = BACKGROUND_PATIENCE_S if pace.background else pace.within_s
    started_ms = yield from now()
    wait_s = yield from _wait_for_turn(left_s, pace)
    if wait_s > 0:
        return _NotSent(wait_s)
    waited_s = ((yield from now()) - started_ms) / 1000
    response = yield from exchange(attrs.evolve(request, within_s=pace.within_s - waited_s))
    if isinstance(response, HttpResponse) and response.status == 429:
        yield from hold_requests(_retry_after_s(response))
    return response


def _wait_for_turn(left_s: float, pace: Pace) -> Command[float]:
    """Wait until the request may leave: 0. Otherwise when it could, which is too late."""
    wait_s = 0.0
    if not pace.has_turn:
        wait_s = yield from acquire_rate_limit(left_s, background=pace.background)
        while pace.background and 0 < wait_s <= left_s:
            # No turn was taken: customers come first.
            yield from pause(wait_s)
            left_s -= wait_s
            wait_s = yield from acquire_rate_limit(background=True)
    while wait_s <= left_s:
        if wait_s > 0:
            yield from pause(wait_s)
            left_s -= wait_s
        wait_s = yield from leave_rate_limit()
        if wait_s <= 0:
            return 0.0
    return wait_s


def _silent(silence: NoAnswer) -> Unclear:
    busy_s = silence.wait_s if isinstance(silence, _NotSent) else None
    return Unclear(f"xPay did not answer: {silence}", busy_s=busy_s)


def _read(
    request: HttpRequest, reader: Callable[[bytes], T], pace: Pace
) -> Command[T | Refused | Unclear]:
    """One request, and its answer."""
    return _settled((yield from _send(request, pace)), reader)


def _settled(
    response: HttpResponse | NoAnswer, reader: Callable[[bytes], T]
) -> T | Refused | Unclear:
    if isinstance(response, NoAnswer):
        return _silent(response)
    if _is_passing(response):
        return Unclear(f"xPay answered {response.status}", answered=True)
    if not 200 <= response.status < 300:
        return _refused(response)
    try:
        return reader(response.body)
    except UntrustedMessage as error:
        return Unclear(f"xPay's answer cannot be read: {error}", answered=True)


def _insist(
    request: HttpRequest, settings: Settings, pace: Pace
) -> Command[HttpResponse | Unclear]:
    """Repeat an identical request until something definite comes, within tries and time."""
    started_ms = yield from now()
    within_s = min(settings.create_budget_s, pace.within_s)
    tried, spent_s = 0, 0.0
    while True:
        response = yield from _send(request, attrs.evolve(pace, within_s=within_s - spent_s))
        tried += 1
        pace = attrs.evolve(pace, has_turn=False)
        if isinstance(response, NoAnswer):
            unclear = _silent(response)
            if tried > 1:  # An earlier one was sent.
                unclear = attrs.evolve(unclear, busy_s=None)
        elif _is_passing(response):
            unclear = _unsettled(response)
        else:
            return response
        wait_s = _wait_s(response, tried)
        spent_s = ((yield from now()) - started_ms) / 1000
        if tried >= settings.create_tries or spent_s + wait_s > within_s:
            return unclear
        yield from pause(wait_s)
        spent_s += wait_s


def _unsettled(response: HttpResponse) -> Unclear:
    # Below 500 the reason is another request under this key, or the pace: no answer yet.
    return Unclear(f"xPay answered {response.status}", answered=response.status >= 500)


def _wait_s(response: HttpResponse | NoAnswer, tried: int) -> float:
    requested_s = _retry_after_s(response) if isinstance(response, HttpResponse) else None
    return float(2 ** (tried - 1)) if requested_s is None else requested_s


def _retry_after_s(response: HttpResponse) -> float | None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    retry_after = headers.get("retry-after", "")
    if retry_after.isascii() and retry_after.isdigit():
        return min(float(retry_after), RETRY_AFTER_S_MAX)
    return None


def _is_passing(response: HttpResponse) -> bool:
    """Whether the same request may be answered otherwise later.

    "Treat 409, and a 400 that speaks of progress, as: retry later with the same key." What is
    neither 2xx nor 4xx is not documented, so it settles nothing.
    """
    if response.status in (408, 409, 425, 429):
        return True
    if 400 <= response.status < 500 and not is_json_object(response.body):
        # "Non-JSON bodies to a retryable transport error": the page of a proxy or of a firewall.
        return True
    if response.status == 400:
        _, description = read_error(response.status, response.body)
        return "progress" in description.lower()
    return not (200 <= response.status < 300 or 400 <= response.status < 500)


def _read_created(response: HttpResponse, settings: Settings) -> Created | Refused | Unclear:
    if not 200 <= response.status < 300:
        return _refused(response)
    try:
        answer = read_intent(response.body)
        if answer.fwd_url is None:
            return Unclear("xPay's answer names no checkout address", answered=True)
        url = checkout_url(
            answer.fwd_url,
            settings.checkout_hosts,
            allow_loopback=settings.allow_loopback_checkout,
        )
    except UntrustedMessage as error:
        return Unclear(f"xPay's answer cannot be used: {error}", answered=True)
    return Created(answer, url)


def _refused(response: HttpResponse) -> Refused:
    error_code, description = read_error(response.status, response.body)
    return Refused(response.status, error_code, description)
