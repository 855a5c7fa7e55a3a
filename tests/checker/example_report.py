"""Write a page to look at: `python -m tests.checker.example_report PAGE.html [PLANTED BUG]`.

Without a bug it is the page of the shipped flow, with any one fault.
"""

from __future__ import annotations

import sys
from pathlib import Path

import attrs

from xpay_flow.checker.bounds import DEFAULT
from xpay_flow.checker.report import report_html
from xpay_flow.checker.verdict import Result
from xpay_flow.checker.verify import check

from .planted_flows import PLANTED

ONE_FAULT = attrs.evolve(DEFAULT, name="one fault", faults=1)


def example(bug: str | None = None) -> Result:
    """The verdict for a planted bug, or for the shipped flow.

    Raises:
        SystemExit: there is no such bug; or it takes a patch, which only a test can undo.
    """
    if bug is None:
        return check(bound=ONE_FAULT)
    shops = {planted.name: planted for planted in PLANTED if planted.patch is None}
    if bug not in shops:
        raise SystemExit(f"no bug is called {bug!r}; there are: {', '.join(shops)}")
    planted = shops[bug]
    result = check(planted.make(), attrs.evolve(DEFAULT, scenes=(planted.scene,)))
    return attrs.evolve(result, target="shop.payments:build")


if __name__ == "__main__":
    where, *bugs = sys.argv[1:]
    Path(where).write_text(report_html(example(*bugs)), "utf-8")
