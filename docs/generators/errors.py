"""The page of the errors: the tree, and what each means."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from xpay_flow import errors, signing, wire
from xpay_flow.errors import XPayFlowError
from xpay_flow.flows.parking import UNPROVEN_LIMIT

from .markdown import code, first_sentence, table

INTRODUCTION = """\
Everything that this library raises on purpose is an `XPayFlowError`, divided by the party at fault.
`status_hint` is the status for an HTTP endpoint; details are attributes.
All names are in `xpay_flow` and `xpay_flow.errors`.
"""


def errors_page() -> str:
    kinds = list(_tree(XPayFlowError))
    drawn = "\n".join("  " * depth + kind.__name__ for depth, kind in kinds)
    rows = table(
        ("Error", "Status", "Attributes", "Means"),
        (
            (code(kind.__name__), str(kind.status_hint), _attributes(kind), first_sentence(kind))
            for _, kind in kinds
        ),
    )
    every = wire.REASONS | signing.REASONS | {UNPROVEN_LIMIT}
    reasons = ", ".join(code(reason) for reason in sorted(every))
    return (
        f"# Errors\n\n{INTRODUCTION}\n```text\n{drawn}\n```\n\n{rows}\n\n"
        f"## Reasons of `UntrustedMessage`\n\n"
        f"`reason` is one of: {reasons}.\n"
        "Those that begin with `signature-` are answered 401 by the webhook route.\n"
    )


def _tree(kind: type[XPayFlowError], depth: int = 0) -> Iterator[tuple[int, type[XPayFlowError]]]:
    yield depth, kind
    below = [sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__]
    for sub in below:
        yield from _tree(sub, depth + 1)


def _attributes(kind: type[XPayFlowError]) -> str:
    """Its attributes, as its source sets them."""
    names = re.findall(r"self\.(\w+) = ", inspect.getsource(kind))
    return ", ".join(code(name) for name in names)
