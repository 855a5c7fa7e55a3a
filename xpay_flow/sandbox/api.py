"""How does xPay's merchant API answer a request?

Order of the checks: size, keys, rate, path, idempotency key, content. Whatever the bytes are, the
answer is one of the documented ones, and a 500 only when a fault wants it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from urllib.parse import parse_qs

import attrs

from xpay_flow import messages
from xpay_flow.errors import InvalidValue, UnknownIntent, quoted

from .acts import Acts
from .clock import Clock
from .config import SandboxConfig
from .endpoints import Endpoints
from .exchange import Request, Response, error_response, json_response, server_error
from .faults import ApiFault
from .idempotency import IdempotencyKeys
from .ledger import Intent, Ledger
from .limits import RateLimiter
from .order import read_object, read_order
from .pages import next_cursor, read_query
from .payloads import ApiObjects

Query = dict[str, list[str]]
Perform = Callable[["Api", Request, str], Response]

EXPANSIONS = frozenset({"charge_attempts", "succeeded_charge"})
# Far above what any list or read takes; a longer query is an accident or an attack.
QUERY_CHARS_MAX = 4096
QUERY_FIELDS_MAX = 50


class Api:
    """xPay's endpoints over one ledger."""

    def __init__(
        self,
        config: SandboxConfig,
        clock: Clock,
        ledger: Ledger,
        acts: Acts,
        endpoints: Endpoints,
    ) -> None:
        self.objects = ApiObjects(config, ledger)
        self._config = config
        self._clock = clock
        self._ledger = ledger
        self._acts = acts
        self._endpoints = endpoints
        self._rate = RateLimiter(config.rate_limit)
        self._keys = IdempotencyKeys(
            keys_max=config.idempotency_keys_max, in_progress_status=config.in_progress_status
        )
        # What reads show: None is the present, and a moment is the past, by the fault `lag`.
        self._as_of_ms: int | None = None

    def answer(self, request: Request, fault: ApiFault | None = None) -> Response:
        """The answer to any request; `fault` is the plan's rule that struck it, if any."""
        if len(request.body) > self._config.body_bytes_max:
            return _bad_request("Failed to read request")
        if not self._knows_keys(request.header("authorization")):
            return error_response(401, messages.UNAUTHORIZED, "The API keys are not valid")
        if not self._rate.allows(self._clock.now_ms()):
            return error_response(429, messages.RATE_LIMIT_EXCEEDED, "Too many requests")
        found = _route(request)
        if found is None:
            return error_response(404, messages.RESOURCE_NOT_FOUND, "No such resource")
        return self._once(request, *found, fault)

    def expire_keys(self) -> int:
        """Forgets every idempotency key."""
        return self._keys.expire()

    def _knows_keys(self, authorization: str | None) -> bool:
        """HTTP Basic: the public key is the user, the private key the password."""
        scheme, _, encoded = (authorization or "").partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        expected = f"{self._config.public_key}:{self._config.private_key}".encode()
        return scheme.lower() == "basic" and hmac.compare_digest(given, expected)

    def _once(
        self, request: Request, route: _Route, argument: str, fault: ApiFault | None
    ) -> Response:
        """Performs the call, or repeats the answer that its idempotency key already has."""

        def perform() -> Response:
            return self._perform(request, route, argument, fault)

        key = request.header(messages.IDEMPOTENCY_HEADER)
        if key is None:
            return perform()
        if route.takes_key:
            endpoint = f"{request.method} {request.path}"
            now_ms = self._clock.now_ms()
            return self._keys.answer(key, endpoint, request.body, now_ms, perform)
        if self._config.refuse_key_where_unsupported:
            return _bad_request("This endpoint does not support Idempotency-Key")
        return perform()

    def _perform(
        self, request: Request, route: _Route, argument: str, fault: ApiFault | None
    ) -> Response:
        name = fault.fault if fault else None
        if fault and name == "error_json" and not fault.took_effect:
            return server_error()
        lag_s = fault.seconds if fault and name == "lag" else None
        self._as_of_ms = None if lag_s is None else self._clock.now_ms() - round(1000 * lag_s)
        response = self._guarded(request, route, argument)
        if name == "error_json":
            return server_error()
        delay_ms = fault.milliseconds if fault and name == "slow" else 0
        return attrs.evolve(response, delay_ms=delay_ms)

    def _guarded(self, request: Request, route: _Route, argument: str) -> Response:
        try:
            self._check_content_type(request)
            return route.perform(self, request, argument)
        except UnknownIntent:
            return error_response(404, messages.RESOURCE_NOT_FOUND, "No such object")
        except InvalidValue as error:
            return _bad_request(str(error))

    def _check_content_type(self, request: Request) -> None:
        given = request.header("content-type")
        if request.method == "GET" or (given is None and not self._config.strict_docs):
            return
        if (given or "").partition(";")[0].strip().lower() != "application/json":
            raise InvalidValue("Content-Type must be application/json")

    def _seen(self, x_intent_id: str) -> Intent:
        """The intent as a read shows it now."""
        intent = self._ledger.get(x_intent_id)
        seen = intent if self._as_of_ms is None else intent.as_of(self._as_of_ms)
        if seen is None:
            raise UnknownIntent(x_intent_id)
        return seen

    def _all_seen(self) -> list[Intent]:
        intents = self._ledger.all()
        if self._as_of_ms is None:
            return intents
        past = [intent.as_of(self._as_of_ms) for intent in intents]
        return [intent for intent in past if intent is not None]

    # Intents

    def create(self, request: Request, _: str) -> Response:
        order = read_order(read_object(request.body), self._config)
        return json_response(200, self.objects.created(self._acts.create(order)))

    def read(self, request: Request, x_intent_id: str) -> Response:
        expand = frozenset(_query(request).get("expand", []))
        for name in expand - EXPANSIONS:
            raise InvalidValue(f"expand: {quoted(name)} cannot be expanded")
        if self._config.expand_by_default:
            expand = EXPANSIONS
        return json_response(200, self.objects.read(self._seen(x_intent_id), expand))

    def list(self, request: Request, _: str) -> Response:
        query = _query(request)
        page = read_query(query)
        newest_first = self._config.list_newest_first
        intents = self._all_seen()
        found = [
            intent
            for intent in (reversed(intents) if newest_first else intents)
            if page.matches(intent, self._ledger.status(intent))
            and (page.after is None or (intent.number < page.after) == newest_first)
            and intent.number != page.after
        ]
        shown, more = found[: page.limit], len(found) > page.limit
        offset = next_cursor(query, shown[-1]) if more else None
        metadata = {"offset": offset} if more or self._config.absent_as_null else {}
        data = [self.objects.listed(intent) for intent in shown]
        return json_response(200, {"data": data, "metadata": metadata})

    def cancel(self, request: Request, x_intent_id: str) -> Response:
        # "The id is needed twice": in the path and in the body.
        if read_object(request.body).get("xIntentId") != x_intent_id:
            raise InvalidValue("xIntentId must be the same in the path and in the body")
        self._acts.cancel(x_intent_id)
        return Response(200)

    # Refunds

    def refund(self, request: Request, _: str) -> Response:
        fields = read_object(request.body)
        x_intent_id = fields.get("xIntentId")
        if type(x_intent_id) is not str or not x_intent_id:
            raise InvalidValue("xIntentId is required")
        self._ledger.get(x_intent_id)
        refund = self._acts.refund(x_intent_id, _refund_amount(fields.get("amount")), "api")
        return json_response(200, self.objects.refund(refund))

    def read_refund(self, _: Request, refund_id: str) -> Response:
        refund = self._ledger.refund_by_id(refund_id)
        if self._as_of_ms is not None and refund.at_ms > self._as_of_ms:
            raise UnknownIntent(refund_id)
        return json_response(200, self.objects.refund(refund))

    def list_refunds(self, _: Request, x_intent_id: str) -> Response:
        # A bare array, unlike every other list.
        refunds = self._seen(x_intent_id).refunds
        return json_response(200, [self.objects.refund(refund) for refund in refunds])

    # Webhook endpoints

    def register_webhook(self, request: Request, _: str) -> Response:
        endpoint = self._endpoints.register(read_object(request.body))
        return json_response(200, {"webhookConfigId": endpoint.endpoint_id})

    def list_webhooks(self, _request: Request, _: str) -> Response:
        return json_response(200, {"data": [one.to_json() for one in self._endpoints.all()]})

    def read_webhook(self, _: Request, endpoint_id: str) -> Response:
        return json_response(200, self._endpoints.get(endpoint_id).to_json())

    def change_webhook(self, request: Request, endpoint_id: str) -> Response:
        self._endpoints.get(endpoint_id)
        self._endpoints.change(endpoint_id, read_object(request.body))
        return Response(200)


@attrs.frozen
class _Route:
    """One row of xPay's list of endpoints; `{}` stands for an id."""

    method: str
    path: tuple[str, ...]
    perform: Perform
    takes_key: bool = False


def _row(method: str, path: str, perform: Perform, *, takes_key: bool = False) -> _Route:
    return _Route(method, tuple(path.strip("/").split("/")), perform, takes_key)


_ROUTES = (
    _row("POST", messages.CREATE_INTENT_PATH, Api.create, takes_key=True),
    _row("GET", messages.GET_INTENT_PATH + "{}", Api.read),
    _row("GET", messages.LIST_INTENTS_PATH, Api.list),
    _row("POST", messages.CANCEL_INTENT_PATH + "{}", Api.cancel, takes_key=True),
    _row("POST", messages.REFUND_PATH, Api.refund, takes_key=True),
    _row("GET", messages.GET_REFUND_PATH + "{}", Api.read_refund),
    _row("GET", messages.LIST_REFUNDS_PATH + "{}", Api.list_refunds),
    _row("POST", messages.WEBHOOK_ENDPOINTS_PATH, Api.register_webhook),
    _row("GET", messages.WEBHOOK_ENDPOINTS_PATH, Api.list_webhooks),
    _row("GET", messages.WEBHOOK_ENDPOINTS_PATH + "/{}", Api.read_webhook),
    _row("PUT", messages.WEBHOOK_ENDPOINTS_PATH + "/{}", Api.change_webhook, takes_key=True),
)


def _route(request: Request) -> tuple[_Route, str] | None:
    """The row for a request, and the id in its path ("" where there is none)."""
    segments = request.segments
    for route in _ROUTES:
        if route.method != request.method or len(route.path) != len(segments):
            continue
        pairs = list(zip(route.path, segments, strict=True))
        if all(want in ("{}", got) for want, got in pairs):
            return route, next((got for want, got in pairs if want == "{}"), "")
    return None


def _query(request: Request) -> Query:
    if len(request.query) > QUERY_CHARS_MAX:
        raise InvalidValue("the query is too long")
    try:
        return parse_qs(request.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise InvalidValue("the query has too many fields") from None


def _refund_amount(value: object) -> int | None:
    """ "amount: string of minor units, optional; empty = everything left"; an integer passes."""
    if value is None or value == "":
        return None
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= 16:
        return int(value)
    raise InvalidValue("amount must be a string of digits, in the lowest unit of the currency")


def _bad_request(description: str) -> Response:
    return error_response(400, messages.BAD_REQUEST, description)
