"""`xpay-flow check`: searches every scene within a bound and prints the verdict."""

from __future__ import annotations

import inspect
import json
import sys
from typing import IO, Any

import attrs

from xpay_flow.checker.bounds import BOUNDS, DEFAULT, Bound
from xpay_flow.checker.emit import emitted_test
from xpay_flow.checker.histories import HiddenState
from xpay_flow.checker.report import report_html
from xpay_flow.checker.verdict import Result
from xpay_flow.checker.verify import check as search

from .needs import click
from .searching import watched

EXIT_CODES = {"EXHAUSTED": 0, "VIOLATED": 1, "UNFINISHED": 3}
SHIPPED = "xpay_flow.checker.verify:shipped"


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
@click.option(
    "--report",
    type=click.File("w", encoding="utf-8", lazy=True),
    help="Write a page to show to others into this file.",
)
@click.option(
    "--emit-test",
    type=click.File("w", encoding="utf-8", lazy=True),
    help="Write a counterexample as a pytest module into this file; - prints it.",
)
def check(
    target: str | None,
    bound_name: str,
    faults: int | None,
    as_json: bool,
    mermaid: bool,
    report: IO[str] | None,
    emit_test: IO[str] | None,
) -> None:
    """Search what can happen to a flow, or to the shipped one where none is named.

    Handlers are called for real, so name a function that builds the flow with harmless ones.
    Exit codes: 0 EXHAUSTED, 1 VIOLATED, 3 UNFINISHED.
    """
    result = _searched(target, _bound(bound_name, faults))
    # What is piped on is then nothing but the page, or the test.
    aside = any(file is not None and file.name == "-" for file in (report, emit_test))
    click.echo(json.dumps(result.as_json(), indent=2) if as_json else result.as_text(), err=aside)
    if mermaid and not as_json and result.violation is not None:
        click.echo(result.violation.as_mermaid(), err=aside)
    if report is not None:
        report.write(report_html(result))
    if emit_test is not None:
        _emit(result, target or SHIPPED, emit_test)
    sys.exit(EXIT_CODES[result.verdict])


def _bound(name: str, faults: int | None) -> Bound:
    bound = BOUNDS[name]
    if faults is None or faults == bound.faults:
        return bound
    return attrs.evolve(bound, name=f"{name}, {faults} fault(s)", faults=faults)


def _searched(target: str | None, bound: Bound) -> Result:
    try:
        with watched() as watch:
            can_tell = "progress" in inspect.signature(search).parameters
            hooks: dict[str, Any] = {"progress": watch} if watch and can_tell else {}
            result = search(target, bound, **hooks)
    except HiddenState as error:
        raise click.ClickException(str(error)) from error
    return attrs.evolve(result, target=target or "")


def _emit(result: Result, target: str, into: IO[str]) -> None:
    if result.violation is None:
        click.echo("No promise is broken, so there is no test to write.", err=True)
        return
    try:
        into.write(emitted_test(result.violation, target, result.bound))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
