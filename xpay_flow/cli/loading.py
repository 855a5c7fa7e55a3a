"""Which object does MODULE:FLOW name? A flow, or a function that makes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

from xpay_flow import AsyncFlow, ConfigurationError, Flow
from xpay_flow.import_target import named

AnyFlow: TypeAlias = Flow | AsyncFlow
Made: TypeAlias = AnyFlow | Awaitable[AnyFlow]


def find_flow(name: str) -> AnyFlow | Callable[[], Made]:
    """The flow, or its factory, with the current folder importable as in `python -m`."""
    found, _ = named(name, "MODULE:FLOW, such as shop.payments:flow")
    if isinstance(found, Flow | AsyncFlow) or callable(found):
        return cast("AnyFlow | Callable[[], Made]", found)
    raise ConfigurationError(f"{name} is {_a(found)}, not a Flow, an AsyncFlow or a function")


def checked(found: object, name: str) -> AnyFlow:
    """What a factory made, if it is a flow that has something to call."""
    if not isinstance(found, Flow | AsyncFlow):
        raise ConfigurationError(f"{name} made {_a(found)}, not a Flow or an AsyncFlow")
    if not found.ports.handlers:
        raise ConfigurationError(
            f"{name} has no handlers: import the module that registers @flow.on_success"
        )
    return found


def _a(value: object) -> str:
    return f"an object of type {type(value).__name__}"
