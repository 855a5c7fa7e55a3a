"""How does a program talk to xPay directly, without a flow? The calls of `xpay_api`, one face each.

A `Flow` has one as `flow.xpay_api`, which shares its rate limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any, Protocol, TypeVar

from . import xpay_api
from .effects import Command
from .settings import Settings
from .wire import IntentAnswer, RefundAnswer, WebhookEndpoint

T = TypeVar("T")


class Run(Protocol):
    """Runs a flow to its end: `Flow.run`."""

    def __call__(self, flow: Command[T], /) -> T: ...


class AsyncRun(Protocol):
    """Runs a flow to its end, awaiting: `AsyncFlow.run`."""

    def __call__(self, flow: Command[T], /) -> Awaitable[T]: ...


class XPayClient:
    """xPay's API, blocking. Every method raises XPayRefused for a definite error, and
    OutcomeUnknown when no answer came, or none that settles anything."""

    def __init__(self, run: Run, settings: Settings) -> None:
        self._run, self._settings = run, settings

    def create_intent(self, request: str, idempotency_key: str) -> xpay_api.Created:
        """Create an intent, or find the one made under this key.

        `request` is the body; see `CheckoutRequest.to_request`.
        """
        return self._run(_create(request, idempotency_key, self._settings))

    def get_intent(self, x_intent_id: str) -> IntentAnswer:
        """One intent with its charge attempts. xPay discourages polling."""
        return self._run(_get(x_intent_id, self._settings))

    def cancel_intent(self, x_intent_id: str) -> None:
        """Order xPay to cancel an intent; read it afterwards, since a charge may be faster."""
        self._run(_cancel(x_intent_id, self._settings))

    def list_intents(
        self, *, start_ms: int, end_ms: int, statuses: Iterable[str] = (), **page: Any
    ) -> xpay_api.Page:
        """One page of the intents made in [start_ms, end_ms]; `offset=` and `limit=` turn it."""
        return self._run(_list(self._settings, start_ms, end_ms, statuses, page))

    def refund(self, x_intent_id: str, amount_minor: int, idempotency_key: str) -> RefundAnswer:
        """Give money back, or find the refund made under this key within the last 24 hours.

        `Flow.refund` counts what is left, stores the request first and settles lost answers; this
        is the call alone. After OutcomeUnknown with `answered`, a further call under this key
        changes nothing: see `refunds`.
        """
        return self._run(_refund(x_intent_id, amount_minor, idempotency_key, self._settings))

    def get_refund(self, refund_id: str) -> RefundAnswer:
        """One refund."""
        return self._run(_get_refund(refund_id, self._settings))

    def refunds(self, x_intent_id: str) -> tuple[RefundAnswer, ...]:
        """Every refund of an intent, those of the dashboard and of xPay's support among them."""
        return self._run(_refunds(x_intent_id, self._settings))

    def create_webhook_endpoint(self, url: str, secret: str, event_types: Iterable[str]) -> str:
        """Register a webhook endpoint; returns its id. `secret` becomes the signing key."""
        return self._run(_create_endpoint(url, secret, event_types, self._settings))

    def list_webhook_endpoints(self) -> tuple[WebhookEndpoint, ...]:
        """Every webhook endpoint of the account, with its secret in clear."""
        return self._run(_list_endpoints(self._settings))

    def get_webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """One webhook endpoint, with its secret in clear."""
        return self._run(_get_endpoint(endpoint_id, self._settings))

    def update_webhook_endpoint(
        self, endpoint_id: str, url: str, secret: str, event_types: Iterable[str]
    ) -> None:
        """Replace address, secret and types of an endpoint: all three are required."""
        self._run(_update_endpoint(endpoint_id, url, secret, event_types, self._settings))


class AsyncXPayClient:
    """xPay's API, awaiting: the words of `XPayClient`."""

    def __init__(self, run: AsyncRun, settings: Settings) -> None:
        self._run, self._settings = run, settings

    async def create_intent(self, request: str, idempotency_key: str) -> xpay_api.Created:
        """See `XPayClient.create_intent`."""
        return await self._run(_create(request, idempotency_key, self._settings))

    async def get_intent(self, x_intent_id: str) -> IntentAnswer:
        """See `XPayClient.get_intent`."""
        return await self._run(_get(x_intent_id, self._settings))

    async def cancel_intent(self, x_intent_id: str) -> None:
        """See `XPayClient.cancel_intent`."""
        await self._run(_cancel(x_intent_id, self._settings))

    async def list_intents(
        self, *, start_ms: int, end_ms: int, statuses: Iterable[str] = (), **page: Any
    ) -> xpay_api.Page:
        """See `XPayClient.list_intents`."""
        return await self._run(_list(self._settings, start_ms, end_ms, statuses, page))

    async def refund(
        self, x_intent_id: str, amount_minor: int, idempotency_key: str
    ) -> RefundAnswer:
        """See `XPayClient.refund`."""
        return await self._run(_refund(x_intent_id, amount_minor, idempotency_key, self._settings))

    async def get_refund(self, refund_id: str) -> RefundAnswer:
        """See `XPayClient.get_refund`."""
        return await self._run(_get_refund(refund_id, self._settings))

    async def refunds(self, x_intent_id: str) -> tuple[RefundAnswer, ...]:
        """See `XPayClient.refunds`."""
        return await self._run(_refunds(x_intent_id, self._settings))

    async def create_webhook_endpoint(
        self, url: str, secret: str, event_types: Iterable[str]
    ) -> str:
        """See `XPayClient.create_webhook_endpoint`."""
        return await self._run(_create_endpoint(url, secret, event_types, self._settings))

    async def list_webhook_endpoints(self) -> tuple[WebhookEndpoint, ...]:
        """See `XPayClient.list_webhook_endpoints`."""
        return await self._run(_list_endpoints(self._settings))

    async def get_webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """See `XPayClient.get_webhook_endpoint`."""
        return await self._run(_get_endpoint(endpoint_id, self._settings))

    async def update_webhook_endpoint(
        self, endpoint_id: str, url: str, secret: str, event_types: Iterable[str]
    ) -> None:
        """See `XPayClient.update_webhook_endpoint`."""
        await self._run(_update_endpoint(endpoint_id, url, secret, event_types, self._settings))


def _create(request: str, idempotency_key: str, settings: Settings) -> Command[xpay_api.Created]:
    return xpay_api.or_raise(xpay_api.create_intent(request, idempotency_key, settings))


def _get(x_intent_id: str, settings: Settings) -> Command[IntentAnswer]:
    return xpay_api.or_raise(xpay_api.get_intent(x_intent_id, settings))


def _cancel(x_intent_id: str, settings: Settings) -> Command[xpay_api.Cancelled]:
    return xpay_api.or_raise(xpay_api.cancel_intent(x_intent_id, settings))


def _list(
    settings: Settings,
    start_ms: int,
    end_ms: int,
    statuses: Iterable[str],
    page: dict[str, Any],
) -> Command[xpay_api.Page]:
    return xpay_api.or_raise(
        xpay_api.list_intents(settings, start_ms=start_ms, end_ms=end_ms, statuses=statuses, **page)
    )


def _refund(
    x_intent_id: str, amount_minor: int, idempotency_key: str, settings: Settings
) -> Command[RefundAnswer]:
    return xpay_api.or_raise(xpay_api.refund(x_intent_id, amount_minor, idempotency_key, settings))


def _get_refund(refund_id: str, settings: Settings) -> Command[RefundAnswer]:
    return xpay_api.or_raise(xpay_api.get_refund(refund_id, settings))


def _refunds(x_intent_id: str, settings: Settings) -> Command[tuple[RefundAnswer, ...]]:
    return xpay_api.or_raise(xpay_api.all_refunds(x_intent_id, settings))


def _create_endpoint(
    url: str, secret: str, event_types: Iterable[str], settings: Settings
) -> Command[str]:
    return xpay_api.or_raise(xpay_api.create_webhook_endpoint(url, secret, event_types, settings))


def _list_endpoints(settings: Settings) -> Command[tuple[WebhookEndpoint, ...]]:
    return xpay_api.or_raise(xpay_api.list_webhook_endpoints(settings))


def _get_endpoint(endpoint_id: str, settings: Settings) -> Command[WebhookEndpoint]:
    return xpay_api.or_raise(xpay_api.get_webhook_endpoint(endpoint_id, settings))


def _update_endpoint(
    endpoint_id: str, url: str, secret: str, event_types: Iterable[str], settings: Settings
) -> Command[xpay_api.Updated]:
    return xpay_api.or_raise(
        xpay_api.update_webhook_endpoint(endpoint_id, url, secret, event_types, settings)
    )
