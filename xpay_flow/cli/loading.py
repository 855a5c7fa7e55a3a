"""Which object does MODULE:FLOW name? A flow, or a function that makes one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias, cast

from xpay_flow import AsyncFlow, ConfigurationError, Flow
from xpay_flow.errors import quoted

AnyFlow: TypeAlias = Flow | AsyncFlow
Made: TypeAlias = AnyFlow | Awaitable[AnyFlow]


def find_flow(name: str) -> AnyFlow | Callable[[], Made]:
    """The flow, or its factory, with the current folder importable as in `python -m`."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigurationError(f"write MODULE:FLOW, such as shop.payments:flow, not {name!a}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: Any = _imported(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(f"module {module_name} has no {quoted(attribute)}")
        found = getattr(found, part)
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


def _imported(module_name: str) -> object:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that is missing inside of theirs is theirs to see, with its trace.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(f"there is no module {quoted(module_name)} here") from None


def _a(value: object) -> str:
    return f"an object of type {type(value).__name__}"
