"""The command line's own dependencies, and what to install where they are missing."""

from xpay_flow.errors import MissingExtra

try:
    import click as click
    import rich as rich
except ImportError:
    raise MissingExtra("xpay_flow.cli", "cli") from None
