"""The page of public names: signature and docstring of each."""

from __future__ import annotations

import importlib
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

import attrs

import xpay_flow
from xpay_flow.errors import XPayFlowError

from .markdown import code, docstring, table

INTRODUCTION = """\
These names are promises: a name that goes away is a release note.
Names in other modules may change.
"""
LINE_CHARS_MAX = 100
# Beyond `xpay_flow` itself: the names for authors of stores, adapters and tests.
MODULES = {
    "xpay_flow_asgi": ("routes", "flow_from"),
    "xpay_flow_wsgi": ("routes", "flow_from"),
    "xpay_flow_fastapi": ("routes", "flow_from"),
    "xpay_flow_starlette": ("routes", "lifespan", "flow_from"),
    "xpay_flow_flask": ("routes", "flow_from"),
    "xpay_flow_quart": ("routes", "flow_from"),
    "xpay_flow_litestar": ("routes", "lifespan", "flow_from"),
    "xpay_flow_aiohttp": ("routes", "flow_from"),
    "xpay_flow.endpoints": ("WebRequest", "WebResponse"),
    "xpay_flow.ports": ("Reader", "Store", "RecentListing", "Transport", "Clock", "Ids"),
    "xpay_flow.sandbox": ("Sandbox", "FaultPlan", "WebhookFault", "ApiFault"),
    "xpay_flow.testing.shop_world": ("shop_world", "ShopWorld"),
    "xpay_flow.testing.arrivals": ("Arrivals",),
    "xpay_flow.testing.strategies": ("stories", "arrivals", "play", "is_paid"),
    "xpay_flow.testing.shop_machine": ("ShopMachine",),
    "xpay_flow.testing.world": ("World",),
    "xpay_flow.checker": (
        "check",
        "verify",
        "replay",
        "Shop",
        "Bound",
        "Scene",
        "Result",
        "Own",
        "always",
        "on_change",
        "eventually",
        "sometimes",
        "View",
        "HiddenState",
        "HiddenInput",
    ),
    "xpay_flow.checker.app": (
        "check_app",
        "verify_app",
        "AppBound",
        "AppResult",
        "Ending",
        "Order",
    ),
    "xpay_flow.checker.contract": ("check_store", "ContractBound", "ContractResult"),
    "xpay_flow.checker.stateless": ("check_stateless", "StatelessBound", "StatelessResult"),
}


def api_page() -> str:
    parts = [f"# Public names\n\n{INTRODUCTION}", "## xpay_flow"]
    for name in xpay_flow.__all__:
        value: object = getattr(xpay_flow, name)
        if not _is_error(value):
            parts.append(_entry(name, value))
    parts.append("The errors have [a page of their own](errors.md).")
    for module, names in MODULES.items():
        parts.append(f"## {module}")
        found = importlib.import_module(module)
        parts.extend(_entry(name, getattr(found, name)) for name in names)
    return "\n\n".join(parts) + "\n"


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, XPayFlowError)


def _entry(name: str, value: object) -> str:
    if isinstance(value, type):
        return "\n\n".join(_class(name, value))
    if isinstance(value, types.FunctionType):
        return f"### {name}\n\n{_signature(name, value)}\n\n{docstring(value)}"
    return f"### {name}\n\nAn instance of `{type(value).__name__}`; see there."


def _class(name: str, kind: type) -> Iterator[str]:
    yield f"### {name}"
    if attrs.has(kind):
        yield docstring(kind)
        yield _fields(kind)
    else:
        if "__init__" in vars(kind) and not getattr(kind, "_is_protocol", False):
            yield _signature(name, kind)
        yield docstring(kind)
    for method, function in _methods(kind):
        yield f"#### {name}.{method}"
        yield _signature(method, function)
        yield docstring(function)


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The methods and properties of an instance, in the order of the source."""
    bases = [base for base in reversed(kind.__mro__) if base.__module__.startswith("xpay_flow")]
    seen: dict[str, Any] = {}
    for base in bases:
        seen |= {n: v for n, v in vars(base).items() if not n.startswith("_")}
    for name in seen:
        value: Any = inspect.getattr_static(kind, name)
        function: Any = getattr(value, "__func__", value)  # of a class method
        if isinstance(function, types.FunctionType | property):
            yield name, function


def _signature(name: str, value: Any) -> str:
    if isinstance(value, property):
        type_ = inspect.signature(value.fget).return_annotation if value.fget else "object"
        return f"```text\n{name}: {type_}\n```"
    kind = "async " if inspect.iscoroutinefunction(value) else ""
    signature = inspect.signature(value)
    returned = signature.return_annotation
    arrow = "" if returned in (inspect.Signature.empty, "None", None) else f" -> {returned}"
    arguments = list(_arguments(signature))
    shown = f"{kind}{name}({', '.join(arguments)}){arrow}"
    if len(shown) > LINE_CHARS_MAX:
        shown = "\n".join([f"{kind}{name}(", *(f"    {a}," for a in arguments), f"){arrow}"])
    return f"```text\n{shown}\n```"


def _arguments(signature: inspect.Signature) -> Iterator[str]:
    keyword_only = False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "*"
        yield _argument(parameter)


def _argument(parameter: inspect.Parameter) -> str:
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
    declared = f"{stars}{parameter.name}: {parameter.annotation}"
    given = parameter.default is not parameter.empty
    return f"{declared} = {_shown(parameter.default)}" if given else declared


def _shown(default: object) -> str:
    """A default in a few characters, and the same on every run."""
    if attrs.has(type(default)) or (isinstance(default, tuple) and default):
        return _constant(default) or repr(default)
    return default.__name__ if isinstance(default, type | types.FunctionType) else repr(default)


def _constant(value: object) -> str | None:
    """The name under which a module of ours keeps this very value."""
    ours = [module for name, module in sys.modules.items() if name.startswith("xpay_flow.")]
    names = (name for module in ours for name, kept in vars(module).items() if kept is value)
    return min((name for name in names if name.isupper()), default=None)


def _fields(kind: type[Any]) -> str:
    rows = (
        (code(field.name), code(_type(field)), _default(field))
        for field in attrs.fields(kind)
        if field.init
    )
    return table(("Field", "Type", "Default"), rows)


def _type(field: attrs.Attribute[Any]) -> str:
    return field.type if isinstance(field.type, str) else getattr(field.type, "__name__", "object")


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return "required"
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]  # a class at run time
        return "see there" if field.default.takes_self else "empty"
    return code(_shown(field.default))
