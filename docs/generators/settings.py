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
Another variable that begins with `XPAY_` is treated as a typing error and refused, except \
`XPAY_STORE`, the URL of the store (for `Flow.open()` and the command line), and \
`XPAY_SANDBOX_PRIVATE_KEY` and `XPAY_SANDBOX_SIGNING_KEY`, the keys of `xpay-flow sandbox`.
One error lists all problems, and never quotes a value.
"""


# Of the stores of `xpay_flow_sqlalchemy`; they are read by `engines.place`.
URL_OPTIONS = """\
## Options in the URL of a store

The URL of PostgreSQL, MariaDB or MySQL may end with a question mark and these, joined by `&`; \
others go to the driver. See [Use PostgreSQL](../how-to/use-postgresql.md).

| Option | Default | Meaning |
| --- | --- | --- |
| `pooler=transaction` | no pooler | A connection pooler in transaction mode is in \
between; PostgreSQL only. |
| `connections=10` | `18`; behind a pooler `10` | The most connections of a process, beside 2 \
for status queries and, with asyncpg, 10 for webhooks; at least 3. |
| `table_prefix=pay_` | `xpay_flow_` | Tables begin with it. |
| `table_schema=payments` | the database's own | The schema that the tables are in. |
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
    return f"# Settings\n\n{INTRODUCTION}\n{rows}\n\n{URL_OPTIONS}"


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return "required"
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]  # a class at run time
        return "see there"
    default: object = field.default
    if isinstance(default, tuple):
        items = cast("tuple[object, ...]", default)
        return code(",".join(map(str, items))) if items else "none"
    return code(default)
