"""What does xPay's API answer about webhook endpoints: where it sends which events?"""

from __future__ import annotations

import attrs

from . import fields
from .refusal import refuse
from .strict_json import JSON, Members, parse_object


@attrs.frozen(kw_only=True)
class WebhookEndpoint:
    """A registered endpoint as xPay shows it, its secret in clear.

    Args:
        is_active: None where the answer does not name it.
    """

    endpoint_id: str
    url: str
    secret: str = attrs.field(repr=False)
    event_types: tuple[str, ...]
    is_active: bool | None


def read_new_webhook_endpoint(body: bytes) -> str:
    """The id of the endpoint that was just registered. Raises UntrustedMessage."""
    return _endpoint_id(parse_object(body, rigour="fields"))


def read_webhook_endpoint(body: bytes) -> WebhookEndpoint:
    """One endpoint. Raises UntrustedMessage."""
    return _endpoint(parse_object(body, rigour="fields"))


def read_webhook_endpoints(body: bytes) -> tuple[tuple[WebhookEndpoint, ...], str | None]:
    """The endpoints of the account, and the cursor of the next page or None.

    Raises UntrustedMessage.
    """
    members = parse_object(body, rigour="fields")
    items = fields.objects(members.get("data"), "data")
    return tuple(_endpoint(item) for item in items), fields.next_cursor(members)


def _endpoint(members: Members) -> WebhookEndpoint:
    active = members.get("isActive")
    return WebhookEndpoint(
        endpoint_id=_endpoint_id(members),
        # `endpoint` goes in, `webHookUrl` comes out.
        url=_text(members, "webHookUrl", "endpoint"),
        secret=_text(members, "eventSigner"),
        event_types=_event_types(members.get("subscribedEventTypes")),
        is_active=active if isinstance(active, bool) else None,
    )


def _endpoint_id(members: Members) -> str:
    return fields.required(fields.xpay_id(members, "webhookConfigId"), "webhookConfigId")


def _text(members: Members, *names: str) -> str:
    value = next((members[name] for name in names if members.get(name) is not None), None)
    return value if isinstance(value, str) else refuse("bad-field", f"{names[0]} is not a string")


def _event_types(value: JSON) -> tuple[str, ...]:
    if not isinstance(value, list):
        refuse("bad-field", "subscribedEventTypes is not a list")
    return tuple(name for name in value if isinstance(name, str))
