"""What is wrong with these values, each alone and all of them together?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs

from ..errors import ConfigurationError
from .live import address_problem, live_problems

Fields: TypeAlias = "tuple[attrs.Attribute[Any], ...]"


def problems(values: Mapping[str, object], fields: Fields) -> Iterator[tuple[str, str]]:
    """Name and problem of each bad value; rules over several values see the good ones only."""
    good: dict[str, Any] = {}
    for field in fields:
        if field.name in values:
            text = field.metadata["check"](values[field.name])
            if text:
                yield field.name, text
            else:
                good[field.name] = values[field.name]
    yield from _signature_problems(good)
    yield from _lease_problems(good)
    yield from address_problem(good)
    yield from _account_problems(good)
    if good.get("mode") == "live":
        yield from live_problems(good)


def raise_if_any(sentences: Iterable[str]) -> None:
    """Raises one ConfigurationError with a line for each sentence, if there is one."""
    found = tuple(sentences)
    if found:
        raise ConfigurationError("\n".join(("the settings cannot be used:", *found)))


def _signature_problems(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    require = good.get("require_signature")
    if require in ("hmac", "both") and good.get("webhook_secrets") == ():
        yield (
            "webhook_secrets",
            f"is empty, but require_signature is {require!r}: give the endpoint's signing key",
        )
    if require in ("ecdsa", "both") and good.get("ecdsa_public_keys") == ():
        yield (
            "ecdsa_public_keys",
            f"is empty, but require_signature is {require!r}: give xpay for xPay's own key",
        )


def _account_problems(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The name of an account is stored and shown, so it must not be a key."""
    secret = {good.get("private_key"), *good.get("webhook_secrets", ())}
    for name in ("account", "earlier_accounts", "other_accounts"):
        value = good.get(name, ())
        if secret & set((value,) if isinstance(value, str) else value):
            yield name, "has a secret key, and is stored and shown: give a name"


def _lease_problems(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    budget_s, lease_s = good.get("create_budget_s"), good.get("create_lease_s")
    # Otherwise a second process would create while the first one still waits.
    if budget_s is not None and lease_s is not None and lease_s <= budget_s:
        yield "create_lease_s", f"must be longer than create_budget_s, which is {budget_s}"
    timeout_s, lease_s = good.get("handler_timeout_s"), good.get("lease_s")
    # Otherwise a second process would call the handler while the first one still does.
    if timeout_s is not None and lease_s is not None and timeout_s >= lease_s:
        yield "handler_timeout_s", f"must be shorter than lease_s, which is {lease_s}"
