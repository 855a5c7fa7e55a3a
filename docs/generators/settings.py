"""The page of the settings: name, variable, default and meaning of each."""

from __future__ import annotations

from typing import Any, cast

import attrs

from xpay_flow import Settings

from .markdown import code, table

INTRODUCTION = """\
`Settings.from_env()` reads the variables; `Settings(…)` takes the names as keyword arguments.
Lists are separated by commas, times are in seconds, and an empty variable counts as not set.
`webhook_secrets` may be empty only where `require_signature` is `ecdsa`.
A variable that begins with `XPAY_` and is none of these is taken for a typing error and refused.
All problems are told at once, and no value is ever quoted.
"""


def settings_page() -> str:
    rows = table(
        ("Name", "Variable", "Default", "Meaning"),
        (
            (code(field.name), code(field.metadata["env"]), _default(field), field.metadata["help"])
            for field in attrs.fields(Settings)
            if field.init
        ),
    )
    return f"# Settings\n\n{INTRODUCTION}\n{rows}\n"


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return "required"
    default: object = field.default
    if isinstance(default, tuple):
        items = cast("tuple[object, ...]", default)
        return code(",".join(map(str, items))) if items else "none"
    return code(default)
