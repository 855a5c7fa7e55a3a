"""`xpay-flow diagram`: the lifecycle, drawn from the compiled machine."""

from __future__ import annotations

from typing import IO

from xpay_flow import LIFECYCLE
from xpay_flow.drawing import lifecycle_mermaid, lifecycle_svg

from .needs import click

_DRAW = {"mermaid": lifecycle_mermaid, "svg": lifecycle_svg}


@click.command(short_help="Draw the lifecycle of a payment.")
@click.option(
    "--format",
    "form",
    type=click.Choice(sorted(_DRAW)),
    default="mermaid",
    show_default=True,
    help="How to draw it.",
)
@click.option(
    "--out",
    type=click.File("w", encoding="utf-8"),
    default="-",
    help="The file to write; standard output by default.",
)
def diagram(form: str, out: IO[str]) -> None:
    """Draw the lifecycle of a payment: its states, and the events that move it."""
    out.write(_DRAW[form](LIFECYCLE))
