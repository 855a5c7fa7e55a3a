"""Where do webhooks go? The registered endpoints, their secrets and the events they want."""

from __future__ import annotations

import attrs

from xpay_flow import messages
from xpay_flow.errors import InvalidValue, UnknownIntent

from .config import SandboxConfig
from .ids import Ids
from .order import Fields, read_url

KNOWN_EVENT_TYPES = (
    messages.INTENT_CREATED,
    messages.INTENT_CHECKOUT_OPENED,
    messages.INTENT_SUCCESS,
    messages.INTENT_FAILED,
    messages.INTENT_REFUNDED,
    messages.INTENT_DISPUTED,
    messages.INTENT_DISPUTE_UNDER_REVIEW,
    messages.INTENT_DISPUTE_WON,
    messages.INTENT_DISPUTE_LOST,
)
SECRET_CHARS_MAX = 255
SUBSCRIPTIONS_MAX = 100


@attrs.frozen(kw_only=True)
class Endpoint:
    """A merchant's webhook endpoint; `event_types` is None for the one that wants everything."""

    endpoint_id: str
    url: str
    secret: str = attrs.field(repr=False)
    previous_secret: str = attrs.field(repr=False)
    event_types: frozenset[str] | None

    def wants(self, event_type: str) -> bool:
        return self.event_types is None or event_type in self.event_types

    def to_json(self) -> dict[str, object]:
        """As the API shows it: `webHookUrl` and not `endpoint`, and the secret in clear."""
        types = KNOWN_EVENT_TYPES if self.event_types is None else sorted(self.event_types)
        return {
            "webhookConfigId": self.endpoint_id,
            "webHookUrl": self.url,
            "eventSigner": self.secret,
            "subscribedEventTypes": list(types),
            "isActive": True,
        }


class Endpoints:
    """The endpoints of the account; the configured one comes first and wants every event."""

    def __init__(self, config: SandboxConfig, ids: Ids) -> None:
        self._config = config
        self._ids = ids
        self._endpoints: dict[str, Endpoint] = {}
        if config.webhook_url is not None:
            self._add(config.webhook_url, config.signing_key, None)

    def all(self) -> list[Endpoint]:
        return list(self._endpoints.values())

    def get(self, endpoint_id: str) -> Endpoint:
        if endpoint_id not in self._endpoints:
            raise UnknownIntent(endpoint_id)
        return self._endpoints[endpoint_id]

    def register(self, fields: Fields) -> Endpoint:
        """POST /webhook: "all three required"."""
        if len(self._endpoints) >= self._config.endpoints_max:
            raise InvalidValue(f"at most {self._config.endpoints_max} webhook endpoints")
        return self._add(*self._read(fields))

    def change(self, endpoint_id: str, fields: Fields) -> Endpoint:
        """PUT /webhook/{id}: the way to rotate the secret."""
        old = self.get(endpoint_id)
        url, secret, types = self._read(fields)
        previous = old.secret if secret != old.secret else old.previous_secret
        return self._keep(
            Endpoint(
                endpoint_id=endpoint_id,
                url=url,
                secret=secret,
                previous_secret=previous,
                event_types=types,
            )
        )

    def _add(self, url: str, secret: str, types: frozenset[str] | None) -> Endpoint:
        return self._keep(
            Endpoint(
                endpoint_id=self._ids.make("whc_"),
                url=url,
                secret=secret,
                previous_secret=self._config.previous_signing_key,
                event_types=types,
            )
        )

    def _keep(self, endpoint: Endpoint) -> Endpoint:
        self._endpoints[endpoint.endpoint_id] = endpoint
        return endpoint

    def _read(self, fields: Fields) -> tuple[str, str, frozenset[str]]:
        secret = fields.get("eventSigner")
        if type(secret) is not str or not 0 < len(secret) <= SECRET_CHARS_MAX:
            raise InvalidValue(f"eventSigner must have 1 to {SECRET_CHARS_MAX} characters")
        url = read_url(fields.get("endpoint"), "endpoint", self._config)
        return url, secret, _event_types(fields.get("subscribedEventTypes"))


def _event_types(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise InvalidValue("subscribedEventTypes must be an array")
    types: list[str] = []
    for name in value:  # pyright: ignore[reportUnknownVariableType]  # checked on the next line
        if type(name) is not str or not 0 < len(name) <= 100:  # pyright: ignore[reportUnknownArgumentType]
            raise InvalidValue("subscribedEventTypes must hold names of events")
        types.append(name)
    if not 0 < len(types) <= SUBSCRIPTIONS_MAX:
        raise InvalidValue(f"subscribedEventTypes must hold 1 to {SUBSCRIPTIONS_MAX} names")
    return frozenset(types)
