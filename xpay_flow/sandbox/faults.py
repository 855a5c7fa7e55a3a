"""What goes wrong, and when: a plan of faults, as data.

    {"seed": 1,
     "webhooks": [{"fault": "lose", "event_type": "intent.success", "nth": 1, "attempts": 2}],
     "api": [{"fault": "lose_answer", "path": "/payments/create-intent", "times": 1}]}

Webhook faults: `lose` (never arrives), `lose_answer` (arrives, but xPay misses the answer and
sends it again), `duplicate`, `delay`, `reorder` (held until after the next event),
`wrong_signature`, `old_secret`, `extra_fields`, `null_receipt`, `no_metadata`, `null_metadata`,
`unknown_type` (an event of an unknown type comes along).

API faults: `lose_request` (nothing took effect), `lose_answer` (it did), `error_json` (xPay's own
500, which is remembered under the idempotency key like any error), `error_text` (a 500 without
JSON, as from a proxy, which is not remembered), `slow`, and `lag` (a read shows what was so some
seconds ago).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar, cast, get_args

import attrs

from xpay_flow.errors import InvalidValue, quoted

WebhookFaultName = Literal[
    "lose",
    "lose_answer",
    "duplicate",
    "delay",
    "reorder",
    "wrong_signature",
    "old_secret",
    "extra_fields",
    "null_receipt",
    "no_metadata",
    "null_metadata",
    "unknown_type",
]
ApiFaultName = Literal["lose_request", "lose_answer", "error_json", "error_text", "slow", "lag"]
# A mixed plan lags only when a test wants it: it is the one fault that no retry gets past.
_MIXED_API_FAULTS = tuple(name for name in get_args(ApiFaultName) if name != "lag")

RULES_MAX = 100
COUNT_MAX = 1_000_000
COPIES_MAX = 100
DELAY_S_MAX = 30 * 24 * 3600
# Longer than any client waits, short enough that a forgotten plan does not hang a shop for ever.
DELAY_MS_MAX = 120_000


def _is_name(names: tuple[str, ...]) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in names:
            raise InvalidValue(
                f"{attribute.name}: {quoted(value)} is not one of {', '.join(names)}"
            )

    return check


def _is_whole(
    low: int, high: int = COUNT_MAX, *, optional: bool = False
) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is None and optional:
            return
        if type(value) is not int or not low <= value <= high:
            raise InvalidValue(f"{attribute.name}: must be a whole number from {low} to {high}")

    return check


def _is_between(low: float, high: float) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if type(value) not in (int, float) or not low <= cast("float", value) <= high:
            raise InvalidValue(f"{attribute.name}: must be a number from {low} to {high}")

    return check


def _is_text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) is not str or not 0 < len(value) <= 255:
        raise InvalidValue(f"{attribute.name}: must be a text of 1 to 255 characters")


def _is_bool(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) is not bool:
        raise InvalidValue(f"{attribute.name}: must be true or false")


@attrs.frozen(kw_only=True)
class WebhookFault:
    """A rule on events.

    Args:
        fault: what goes wrong.
        event_type: which events; `*` matches any text, as in `intent.*`.
        nth: only the nth matching event (from 1); None for each.
        probability: how likely a matching event is struck.
        times: how many events are struck at most; None for no limit.
        attempts: how many first attempts of a struck event suffer; None for all of them. For
            `lose`, `lose_answer`, `wrong_signature` and `old_secret`.
        seconds: how long `delay` and `reorder` hold an event, and the gap between `duplicate`s.
        copies: how many extra deliveries a `duplicate` makes.
    """

    fault: WebhookFaultName = attrs.field(validator=_is_name(get_args(WebhookFaultName)))
    event_type: str = attrs.field(default="*", validator=_is_text)
    nth: int | None = attrs.field(default=None, validator=_is_whole(1, optional=True))
    probability: float = attrs.field(default=1.0, validator=_is_between(0, 1))
    times: int | None = attrs.field(default=None, validator=_is_whole(1, optional=True))
    attempts: int | None = attrs.field(default=None, validator=_is_whole(1, optional=True))
    seconds: float = attrs.field(default=0.0, validator=_is_between(0, DELAY_S_MAX))
    copies: int = attrs.field(default=1, validator=_is_whole(1, COPIES_MAX))

    def covers(self, attempt: int) -> bool:
        """Whether the attempt of this number (from 1) suffers."""
        return self.attempts is None or attempt <= self.attempts


@attrs.frozen(kw_only=True)
class ApiFault:
    """A rule on calls of the API; the first rule that strikes a call decides.

    Args:
        fault: what goes wrong.
        path: which calls; `*` matches any text, as in `/payments/*`.
        method: `GET`, `POST`, `PUT` or `*`.
        nth: only the nth matching call (from 1); None for each.
        probability: how likely a matching call is struck.
        times: how many calls are struck at most; None for no limit.
        milliseconds: how long a `slow` answer takes; the effect comes first.
        seconds: how old what a `lag` shows is: intents, charges, cancellations, refunds.
        took_effect: whether the call worked although `error_json` or `error_text` was answered.
    """

    fault: ApiFaultName = attrs.field(validator=_is_name(get_args(ApiFaultName)))
    path: str = attrs.field(default="*", validator=_is_text)
    method: str = attrs.field(default="*", validator=_is_text)
    nth: int | None = attrs.field(default=None, validator=_is_whole(1, optional=True))
    probability: float = attrs.field(default=1.0, validator=_is_between(0, 1))
    times: int | None = attrs.field(default=None, validator=_is_whole(1, optional=True))
    milliseconds: int = attrs.field(default=0, validator=_is_whole(0, DELAY_MS_MAX))
    seconds: float = attrs.field(default=0.0, validator=_is_between(0, DELAY_S_MAX))
    took_effect: bool = attrs.field(default=False, validator=_is_bool)


@attrs.frozen(kw_only=True)
class FaultPlan:
    """Rules and the seed of their dice. An empty plan is a good day."""

    webhooks: tuple[WebhookFault, ...] = ()
    api: tuple[ApiFault, ...] = ()
    seed: int = attrs.field(default=0, validator=_is_whole(-(2**63), 2**63))

    @classmethod
    def from_json(cls, text: str | bytes) -> FaultPlan:
        """Reads a plan; InvalidValue names the wrong rule and field."""
        try:
            plan = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidValue(f"the fault plan is not JSON: {quoted(str(error))}") from None
        return cls.from_dict(plan)

    @classmethod
    def from_dict(cls, plan: object) -> FaultPlan:
        """Reads a plan made of dicts, lists and plain values; raises InvalidValue."""
        fields = _fields(plan, {"seed", "webhooks", "api"}, "the fault plan")
        return cls(
            webhooks=_rules(fields.get("webhooks", []), WebhookFault, "webhooks"),
            api=_rules(fields.get("api", []), ApiFault, "api"),
            seed=fields.get("seed", 0),
        )

    def to_dict(self) -> dict[str, object]:
        """The plan as plain values; defaults are left out."""
        return {
            "seed": self.seed,
            "webhooks": [_rule_fields(rule) for rule in self.webhooks],
            "api": [_rule_fields(rule) for rule in self.api],
        }

    @classmethod
    def random(
        cls,
        seed: int,
        *,
        webhook_rate: float = 0.3,
        api_rate: float = 0.1,
        permanent_loss: bool = False,
    ) -> FaultPlan:
        """A mixed plan that depends on `seed` alone.

        Each kind of fault is in with an even chance, at up to the given rate. Webhooks are lost
        for good only with `permanent_loss`; otherwise a later attempt gets through.
        """
        dice = random.Random(f"plan {seed}")
        webhooks = [
            WebhookFault(
                fault=fault,
                probability=round(dice.uniform(0, webhook_rate), 3),
                attempts=None if permanent_loss and fault == "lose" else dice.randint(1, 2),
                seconds=dice.choice((0, 5, 45, 900)),
                copies=dice.randint(1, 3),
            )
            for fault in get_args(WebhookFaultName)
            if dice.random() < 0.5
        ]
        api = [
            ApiFault(
                fault=fault,
                probability=round(dice.uniform(0, api_rate), 3),
                milliseconds=dice.choice((50, 800, 5000)) if fault == "slow" else 0,
                took_effect=fault == "error_text" and dice.random() < 0.5,
            )
            for fault in _MIXED_API_FAULTS
            if dice.random() < 0.5
        ]
        return cls(webhooks=tuple(webhooks), api=tuple(api), seed=seed)


_Rule = TypeVar("_Rule", WebhookFault, ApiFault)


def _fields(value: object, known: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValue(f"{where}: must be an object")
    fields = dict(cast("Mapping[str, Any]", value))
    for name in fields:
        if name not in known:
            raise InvalidValue(f"{where}: {quoted(name)} is not one of {', '.join(sorted(known))}")
    return fields


def _rules(value: object, rule: type[_Rule], where: str) -> tuple[_Rule, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidValue(f"{where}: must be a list of rules")
    items = cast("list[object]", value)
    if len(items) > RULES_MAX:
        raise InvalidValue(f"{where}: at most {RULES_MAX} rules")
    return tuple(_rule(item, rule, f"{where}[{index}]") for index, item in enumerate(items))


def _rule(value: object, rule: type[_Rule], where: str) -> _Rule:
    known = {field.name for field in attrs.fields(rule)}
    fields = _fields(value, known, where)
    if "fault" not in fields:
        raise InvalidValue(f"{where}.fault: is missing")
    try:
        return rule(**fields)
    except InvalidValue as error:
        raise InvalidValue(f"{where}.{error}") from None


def _rule_fields(rule: WebhookFault | ApiFault) -> dict[str, object]:
    """The fields of a rule that differ from their defaults."""
    defaults = {field.name: field.default for field in attrs.fields(type(rule))}
    return {name: value for name, value in attrs.asdict(rule).items() if value != defaults[name]}


class FaultDice:
    """Decides, event by event and call by call, which rules of a plan strike."""

    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self.plan = plan
        self._random = random.Random(f"faults {seed} {plan.seed}")
        self._seen: dict[int, int] = {}
        self._struck: dict[int, int] = {}

    def add(self, rule: ApiFault) -> None:
        """Puts one more rule in force, and drops those that are spent."""
        kept = [one for one in self.plan.api if not self._is_spent(one)]
        if len(kept) >= RULES_MAX:
            raise InvalidValue(f"api: at most {RULES_MAX} rules")
        # A copy, since rules are counted by identity and the same button may be pressed again.
        self.plan = attrs.evolve(self.plan, api=(*kept, attrs.evolve(rule)))

    def _is_spent(self, rule: ApiFault) -> bool:
        struck = self._struck.get(id(rule), 0)
        limit = rule.times if rule.nth is None else 1
        return limit is not None and struck >= limit

    def on_event(self, event_type: str) -> tuple[WebhookFault, ...]:
        """All rules that strike this event."""
        return tuple(
            rule
            for rule in self.plan.webhooks
            if fnmatchcase(event_type, rule.event_type) and self._strikes(rule)
        )

    def on_call(self, method: str, path: str) -> ApiFault | None:
        """The first rule that strikes this call."""
        for rule in self.plan.api:
            if rule.method not in ("*", method) or not fnmatchcase(path, rule.path):
                continue
            if self._strikes(rule):
                return rule
        return None

    def _strikes(self, rule: WebhookFault | ApiFault) -> bool:
        # By identity: two rules that read the same are still counted apart.
        key = id(rule)
        self._seen[key] = self._seen.get(key, 0) + 1
        if rule.nth is not None and self._seen[key] != rule.nth:
            return False
        if rule.times is not None and self._struck.get(key, 0) >= rule.times:
            return False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return False
        self._struck[key] = self._struck.get(key, 0) + 1
        return True
