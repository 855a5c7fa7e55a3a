"""Where does xPay send events, and under which signing key? Registering, and rotating the key.

A good event is never refused over a rotation: the shop accepts the new key before xPay signs with
it, and the old one for as long as events that were signed before may come.
"""

from __future__ import annotations

from typing import Final, Literal

import attrs

from ..effects import Command
from ..errors import ConfigurationError, quoted
from ..messages import SUBSCRIBED_EVENT_TYPES
from ..settings import Settings
from ..wire import WebhookEndpoint
from ..xpay_api import (
    create_webhook_endpoint,
    list_webhook_endpoints,
    or_raise,
    update_webhook_endpoint,
)


@attrs.frozen(kw_only=True)
class Registration:
    """What became of an endpoint.

    Args:
        secret: the key that xPay signs with.
        outcome: `registered`, `updated` (events were added), or `unchanged`.
    """

    endpoint_id: str
    url: str
    secret: str = attrs.field(repr=False)
    event_types: tuple[str, ...]
    outcome: Literal["registered", "updated", "unchanged"]


def register_webhook(url: str, settings: Settings) -> Command[Registration]:
    """Have xPay send the events that the library understands to `url`. May be repeated.

    A new endpoint signs with the first of the settings' `webhook_secrets`. One that is there keeps
    its key, since another would have good events refused, and the events that it has besides.

    Raises:
        XPayRefused: a definite error.
        OutcomeUnknown: no answer; call again.
    """
    found = yield from or_raise(list_webhook_endpoints(settings))
    known = _at(url, found, settings)
    if known is None:
        secret, wanted = settings.webhook_secrets[0], SUBSCRIBED_EVENT_TYPES
        made = yield from or_raise(create_webhook_endpoint(url, secret, wanted, settings))
        return Registration(
            endpoint_id=made, url=url, secret=secret, event_types=wanted, outcome="registered"
        )
    types = tuple(dict.fromkeys((*SUBSCRIBED_EVENT_TYPES, *known.event_types)))
    is_complete = set(types) == set(known.event_types)
    if not is_complete:
        yield from or_raise(_update(known, known.secret, types, settings))
    return Registration(
        endpoint_id=known.endpoint_id,
        url=url,
        secret=known.secret,
        event_types=types,
        outcome="unchanged" if is_complete else "updated",
    )


def _at(
    url: str, endpoints: tuple[WebhookEndpoint, ...], settings: Settings
) -> WebhookEndpoint | None:
    """The endpoint at this address; of several, one whose key the settings know."""
    there = [one for one in endpoints if one.url == url]
    known = [one for one in there if one.secret in settings.webhook_secrets]
    return next(iter(known or there), None)


# Where a rotation stands. Each call does what is next, and may be repeated.
Step = Literal["add", "switched", "remove"]
_HEADLESS: Final = "is not among XPAY_WEBHOOK_SECRETS, so its events are refused: add it first"


@attrs.frozen(kw_only=True)
class Rotation:
    """Where the rotation of an endpoint's key stands.

    Args:
        step: `add` the new key to the settings of each process, then rotate again; xPay has
            `switched` to it just now; or it had before, so that the old ones can be `remove`d.
        secrets: what the settings are to hold next, the newest first.
    """

    endpoint: WebhookEndpoint
    step: Step
    secrets: tuple[str, ...] = attrs.field(repr=False)


def rotate_webhook_secret(
    url: str | None, fresh: str, settings: Settings, *, again: bool = False
) -> Command[Rotation]:
    """Do the next step of a rotation: the settings and xPay show which it is.

    Args:
        url: of the endpoint; None if the account has one.
        fresh: a strong key, which is used if a rotation is to begin.
        again: begin another rotation although the last one is not cleared away.

    Raises:
        ConfigurationError: which endpoint is meant is not clear, or its key is not in the settings.
        XPayRefused: a definite error.
        OutcomeUnknown: no answer; call again.
    """
    found = yield from or_raise(list_webhook_endpoints(settings))
    endpoint = _meant(url, found, settings)
    known = settings.webhook_secrets
    if endpoint.secret not in known:
        raise ConfigurationError(f"the key of {endpoint.endpoint_id} {_HEADLESS}")
    if endpoint.secret != known[0]:
        # The shop accepts a newer key, so xPay may sign with it.
        yield from or_raise(_update(endpoint, known[0], endpoint.event_types, settings))
        return Rotation(endpoint=endpoint, step="switched", secrets=known)
    if len(known) > 1 and not again:
        return Rotation(endpoint=endpoint, step="remove", secrets=known[:1])
    return Rotation(endpoint=endpoint, step="add", secrets=(fresh, *known))


def _meant(
    url: str | None, endpoints: tuple[WebhookEndpoint, ...], settings: Settings
) -> WebhookEndpoint:
    if url is not None:
        endpoint = _at(url, endpoints, settings)
        if endpoint is None:
            raise ConfigurationError(f"xPay has no webhook endpoint at {quoted(url)}")
        return endpoint
    if len(endpoints) != 1:
        urls = ", ".join(quoted(one.url) for one in endpoints)
        raise ConfigurationError(f"name the endpoint by its URL; xPay has {urls or 'none'}")
    return endpoints[0]


def _update(
    endpoint: WebhookEndpoint, secret: str, types: tuple[str, ...], settings: Settings
) -> Command[object]:
    return update_webhook_endpoint(endpoint.endpoint_id, endpoint.url, secret, types, settings)
