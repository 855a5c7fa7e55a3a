"""How does a user run it? One line in a test, or one command."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from xpay_flow import Settings
from xpay_flow.errors import ConfigurationError, quoted
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.payment import Payment
from xpay_flow.records import HandlerName
from xpay_flow.stores.memory import MemoryStore

from .bounds import BOUNDS, DEFAULT, Bound
from .explore import Search
from .live import confirm
from .shop import Shop
from .verdict import ASSUMPTIONS, Result, Searched

HANDLERS: tuple[HandlerName, ...] = ("on_success", "on_failed", "on_refunded", "on_attention")


def check(target: str | Flow | AsyncFlow | Shop | None = None, bound: Bound = DEFAULT) -> Result:
    """Search every scene of the bound.

    After a violation the scenes that are left are searched for one with fewer faults only.

    Args:
        target: `module:flow`, or a function that makes one; a flow; a shop; or nothing, which is
            the shipped flow on the store in memory. Its handlers are called for real.

    Raises:
        ConfigurationError: the target names no flow.
        HiddenState: code under check depends on more than the answers to its effects.
    """
    shop = target if isinstance(target, Shop) else Shop.of(_flow(target))
    shop = shop.shortened(bound.faults)
    empty = shop.store.snapshot()
    searched: list[Searched] = []
    faults = bound.faults
    for scene in bound.scenes:
        if faults < 0:
            break
        shop.store.restore(empty)
        found = Search(shop, scene, attrs.evolve(bound, faults=faults)).run()
        if found.violation is not None:
            violation = confirm(found.violation, shop, scene, empty)
            found = attrs.evolve(found, violation=violation)
            faults = violation.faults - 1
        searched.append(found)
    shop.store.restore(empty)
    return Result(bound=bound, searched=tuple(searched), assumptions=(*ASSUMPTIONS, *shop.replaced))


def verify(target: str, bound: str = DEFAULT.name) -> Callable[[], None]:
    """A test: `test_payments = verify("shop.payments:build")`. It fails with the story.

    A search that was not exhausted fails, too: it has proven nothing.
    """

    def test() -> None:
        result = check(target, BOUNDS[bound])
        assert result.verdict == "EXHAUSTED", result.as_text()

    test.__doc__ = f"{target} keeps the promises within the bound {bound}."
    return test


def shipped() -> Flow:
    """The shipped flow with handlers that do nothing."""
    flow = Flow(MemoryStore(), Settings.sandbox(), background=False)
    for name in HANDLERS:
        getattr(flow, name)(_does_nothing)
    return flow


def _does_nothing(_: Payment) -> None: ...


def _flow(target: str | Flow | AsyncFlow | None) -> Flow | AsyncFlow:
    if target is None:
        return shipped()
    found: Any = _named(target) if isinstance(target, str) else target
    if callable(found):
        found = found()
    if inspect.iscoroutine(found):
        found = asyncio.run(found)
    if not isinstance(found, Flow | AsyncFlow):
        raise ConfigurationError(f"{target} is {type(found).__name__}, not a Flow or an AsyncFlow")
    return found


def _named(name: str) -> Any:
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigurationError(f"write MODULE:FLOW, such as shop.payments:build, not {name!a}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"module {module_name} has no {quoted(attribute)}")
        found = getattr(found, part)
    return found
