"""`xpay-flow check`: searches every scene within a bound and prints the verdict."""

from __future__ import annotations

import json
import sys
from typing import IO

import attrs

from xpay_flow.checker.bounds import ALL_SCENES, BOUNDS, DEFAULT, FAULT_WORDS, Bound, FaultKind
from xpay_flow.checker.contract import DEFAULT as CONTRACT
from xpay_flow.checker.contract import ContractResult, contract_of
from xpay_flow.checker.emit import emitted_test
from xpay_flow.checker.histories import HiddenState
from xpay_flow.checker.replaying import replayed
from xpay_flow.checker.report import report_html
from xpay_flow.checker.verdict import Result
from xpay_flow.checker.verify import check as search
from xpay_flow.checker.verify import cross_check as compare

from .needs import click
from .searching import watched

EXIT_CODES = {"EXHAUSTED": 0, "VIOLATED": 1, "UNFINISHED": 3}
SHIPPED = "xpay_flow.checker.targets:shipped"


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
@click.option(
    "--faults",
    type=click.IntRange(0, 9),
    help="The largest number of faults; default: the bound's.",
)
@click.option(
    "--scene",
    "scenes",
    multiple=True,
    type=click.Choice([scene.name for scene in ALL_SCENES]),
    help="Search this scene only; may be given several times.",
)
@click.option(
    "--fault",
    "kinds",
    multiple=True,
    type=click.Choice(list(FAULT_WORDS)),
    help="Allow only this kind of faults; may be given several times.",
)
@click.option("--without", multiple=True, metavar="PROMISE", help="Leave out this promise.")
@click.option("--seconds", type=click.FloatRange(min=0), help="End after so many seconds.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, help="Search in so many processes.")
@click.option(
    "--cross-check",
    "crossed",
    is_flag=True,
    help="Also search a small bound without reductions, and compare.",
)
@click.option(
    "--store",
    metavar="URL",
    help="Check the contract of this store instead: a URL, or MODULE:NAME of a class or function.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--mermaid", is_flag=True, help="Print a counterexample as a Mermaid diagram, too.")
@click.option(
    "--report",
    type=click.File("w", encoding="utf-8", lazy=True),
    help="Write an HTML report into this file.",
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
    scenes: tuple[str, ...],
    kinds: tuple[FaultKind, ...],
    without: tuple[str, ...],
    seconds: float | None,
    jobs: int,
    crossed: bool,
    store: str | None,
    as_json: bool,
    mermaid: bool,
    report: IO[str] | None,
    emit_test: IO[str] | None,
) -> None:
    """Search everything that can happen to a flow; without MODULE:BUILD, to the shipped one.

    Handlers are called for real, so name a function that builds the flow with harmless ones.
    Exit codes: 0 EXHAUSTED, 1 VIOLATED, 3 UNFINISHED.
    """
    if store is not None:
        if target is not None:
            raise click.UsageError("choose one of MODULE:BUILD and --store")
        result: Result | ContractResult = _check_store(store, faults, seconds)
    else:
        bound = _bound(bound_name, faults, scenes, kinds, seconds)
        result = _searched(target, bound, without, jobs)
    # What is piped on is then nothing but the page, or the test.
    aside = any(file is not None and file.name == "-" for file in (report, emit_test))
    click.echo(json.dumps(result.as_json(), indent=2) if as_json else result.as_text(), err=aside)
    if mermaid and not as_json and result.violation is not None:
        click.echo(result.violation.as_mermaid(), err=aside)
    if isinstance(result, Result):
        _write(result, target, report, emit_test)
        if crossed:
            _cross_check(target, result.bound, without, err=aside or as_json)
    sys.exit(EXIT_CODES[result.verdict])


def _cross_check(target: str | None, bound: Bound, without: tuple[str, ...], *, err: bool) -> None:
    """Print whether the search without reductions agrees; end with 2 if it does not."""
    try:
        found = compare(target, bound, without=without)
    except HiddenState as error:
        raise click.ClickException(str(error)) from error
    click.echo(found.as_text(), err=err)
    if not found.agrees:
        sys.exit(2)


def _check_store(target: str, faults: int | None, seconds: float | None) -> ContractResult:
    bound = attrs.evolve(CONTRACT, seconds_max=seconds)
    if faults is not None:
        bound = attrs.evolve(bound, faults=faults)
    return contract_of(target, bound=bound)


def _write(
    result: Result, target: str | None, report: IO[str] | None, emit_test: IO[str] | None
) -> None:
    if report is not None:
        report.write(report_html(result))
    if emit_test is not None:
        _emit(result, target or SHIPPED, emit_test)


def _bound(
    name: str,
    faults: int | None,
    scenes: tuple[str, ...],
    kinds: tuple[FaultKind, ...],
    seconds: float | None,
) -> Bound:
    """The named bound with the changes of the options, which its name shows."""
    bound = BOUNDS[name]
    if faults is not None and faults != bound.faults:
        name += f", {faults} fault(s)"
        bound = attrs.evolve(bound, faults=faults)
    if scenes:
        name += f", {' and '.join(scenes)} only"
        chosen = tuple(scene for scene in bound.scenes if scene.name in scenes)
        bound = attrs.evolve(bound, scenes=chosen)
    if kinds:
        name += f", of the faults {' and '.join(kinds)} only"
        fewer = (attrs.evolve(scene, faults=scene.faults & set(kinds)) for scene in bound.scenes)
        bound = attrs.evolve(bound, scenes=tuple(fewer))
    if seconds is not None:
        bound = attrs.evolve(bound, seconds_max=seconds)
    return attrs.evolve(bound, name=name)


def _searched(target: str | None, bound: Bound, without: tuple[str, ...], jobs: int) -> Result:
    try:
        with watched() as watch:
            result = search(target, bound, without=without, progress=watch, jobs=jobs)
    except HiddenState as error:
        raise click.ClickException(str(error)) from error
    return attrs.evolve(result, target=target or "")


@click.command("replay", short_help="Run a counterexample again, from its seed.")
@click.argument("seed")
@click.argument("target", metavar="[MODULE:BUILD]", required=False)
@click.option("--mermaid", is_flag=True, help="Print it as a Mermaid diagram, too.")
def replay(seed: str, target: str | None, mermaid: bool) -> None:
    """Follow a seed that `check` has printed, with the present code.

    To stop in your code, set breakpoint() there: a replay runs live code.
    Exit codes: 0 the promise holds now, 1 it is still broken, 3 the code takes other steps now.
    """
    try:
        again = replayed(seed, target)
    except HiddenState as error:
        raise click.ClickException(str(error)) from error
    if again.violation is not None:
        click.echo(again.violation.as_text())
        if mermaid:
            click.echo(again.violation.as_mermaid())
        sys.exit(1)
    for step in again.steps:
        click.echo(f"  {step.in_words()}")
    if again.diverged:
        click.echo(f"The code went another way, {again.diverged}.")
        sys.exit(3)
    click.echo("The trace can still happen, and breaks nothing now.")


def _emit(result: Result, target: str, into: IO[str]) -> None:
    if result.violation is None:
        click.echo("No promise is broken, so there is no test to write.", err=True)
        return
    try:
        into.write(emitted_test(result.violation, target, result.bound))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
