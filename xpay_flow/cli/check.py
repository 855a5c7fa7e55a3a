"""`xpay-flow check`: searches every scene within a bound and prints the verdict."""

from __future__ import annotations

import json
import sys

import attrs

from xpay_flow.checker.bounds import BOUNDS, DEFAULT
from xpay_flow.checker.histories import HiddenState
from xpay_flow.checker.verify import check as search

from .needs import click

EXIT_CODES = {"EXHAUSTED": 0, "VIOLATED": 1, "UNFINISHED": 3}


@click.command("check", short_help="Search every interleaving, loss and crash within a bound.")
@click.argument("target", metavar="[MODULE:BUILD]", required=False)
@click.option(
    "--bound",
    "bound_name",
    type=click.Choice(sorted(BOUNDS)),
    default=DEFAULT.name,
    show_default=True,
    help="How far to search.",
)
@click.option("--faults", type=click.IntRange(0, 9), help="Any so many faults; else the bound's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--mermaid", is_flag=True, help="Print a counterexample as a Mermaid diagram, too.")
def check(
    target: str | None, bound_name: str, faults: int | None, as_json: bool, mermaid: bool
) -> None:
    """Search what can happen to a flow, or to the shipped one where none is named.

    Handlers are called for real, so name a function that builds the flow with harmless ones.
    Exit codes: 0 EXHAUSTED, 1 VIOLATED, 3 UNFINISHED.
    """
    bound = BOUNDS[bound_name]
    if faults is not None:
        name = bound.name if faults == bound.faults else f"{bound.name}, {faults} fault(s)"
        bound = attrs.evolve(bound, name=name, faults=faults)
    try:
        result = search(target, bound)
    except HiddenState as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(result.as_json(), indent=2) if as_json else result.as_text())
    if mermaid and not as_json and result.violation is not None:
        click.echo(result.violation.as_mermaid())
    sys.exit(EXIT_CODES[result.verdict])
