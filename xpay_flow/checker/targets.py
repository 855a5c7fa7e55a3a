"""What is to be checked? A shop, a flow, or what a name stands for."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, TypeAlias, get_args

from xpay_flow import Settings
from xpay_flow.errors import ConfigurationError
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.import_target import named
from xpay_flow.payment import Payment, UnmatchedEvent
from xpay_flow.records import HandlerName
from xpay_flow.stores.memory import MemoryStore

from .own import Own, owned_by
from .shop import Shop

HANDLERS: tuple[HandlerName, ...] = get_args(HandlerName)
Target: TypeAlias = str | Flow | AsyncFlow | Shop | None


def shop_of(target: Target) -> tuple[Shop, tuple[Own, ...]]:
    """The shop to check, and the promises of its owner that stand in the module that was named.

    Raises:
        ConfigurationError: the target names no flow and no shop.
    """
    if target is None:
        return Shop.of(shipped()), ()
    if not isinstance(target, str):
        return _shop(target, target), ()
    found, module = named(target, "MODULE:BUILD, such as shop.payments:build")
    return _shop(found, target), owned_by(module)


def _shop(found: Any, target: object) -> Shop:
    if not isinstance(found, Shop | Flow | AsyncFlow) and callable(found):
        found = found()
    if inspect.iscoroutine(found):
        found = asyncio.run(found)
    if isinstance(found, Shop):
        return found
    if isinstance(found, Flow | AsyncFlow):
        return Shop.of(found)
    raise ConfigurationError(
        f"{target} is {type(found).__name__}, not a Flow, an AsyncFlow or a Shop"
    )


def shipped() -> Flow:
    """The shipped flow with handlers that do nothing."""
    flow = Flow(MemoryStore(), Settings.sandbox(), background=False)
    for name in HANDLERS:
        getattr(flow, name)(_does_nothing)
    return flow


def _does_nothing(_: Payment | UnmatchedEvent) -> None: ...
