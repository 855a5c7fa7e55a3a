"""What does the command `xpay-flow` do? `xpay-flow --help` lists its commands.

Commands only read arguments and show results; what they do is done elsewhere. An error is one line
on stderr and exit code 1 (2 for a wrong command line).
"""

from __future__ import annotations

import sys

from xpay_flow.errors import MissingExtra


def main() -> None:
    """The entry point `xpay-flow`."""
    try:
        from .root import xpay_flow
    except MissingExtra as error:
        sys.exit(f"Error: {error}")
    xpay_flow()
