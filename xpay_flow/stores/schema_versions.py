"""Can this version of the code work on a schema? For every store that has migrations.

Each migration keeps its number, and the oldest code that can work on what it leaves. One that only
adds leaves that as it was, so the schema may go ahead of the code: first the database, then one
process after another, and no moment at which nothing works.
"""

from __future__ import annotations

from xpay_flow.errors import SchemaMismatch


def refuse_left_behind(version: int, oldest_code: int, *, code: int) -> None:
    """Raise SchemaMismatch if schema `version` needs newer code than `code`."""
    if oldest_code > code:
        raise SchemaMismatch(
            f"the database has schema {version}, which needs a newer xpay-flow: this one knows "
            f"schema {code}, and {oldest_code} is the least"
        )
