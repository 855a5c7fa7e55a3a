"""`xpay-flow timeline`: what happened to one payment, and why."""

from __future__ import annotations

import json
from typing import IO

from xpay_flow import Settings, Timeline, XPayFlowError
from xpay_flow.drawing import sequence_mermaid, sequence_svg
from xpay_flow.drive import run_query
from xpay_flow.flows import find
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.system import SystemClock
from xpay_flow.timeline import only, timeline_of

from .needs import click
from .stores import existing_store, named_store, store_option
from .timeline_table import print_timeline


@click.command(short_help="Show what happened to one payment, and why.")
@click.argument("name")
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print it as a Mermaid diagram.")
@click.option(
    "--svg", type=click.File("w", encoding="utf-8", lazy=True), help="Draw it into this file."
)
def timeline(
    name: str, store_url: str | None, as_json: bool, as_mermaid: bool, svg: IO[str] | None
) -> None:
    """Show the events of a payment, the decisions on them, and the handler calls.

    NAME is our intent id, xPay's id or your receipt id. Of several attempts, the last is shown.
    """
    store_url = named_store(store_url)
    if as_json + as_mermaid + (svg is not None) > 1:
        raise click.UsageError("choose one of --json, --mermaid and --svg")
    shown = _read(name, store_url)
    if as_json:
        click.echo(json.dumps(shown.to_json(), indent=2))
    elif as_mermaid:
        click.echo(sequence_mermaid(shown), nl=False)
    elif svg is not None:
        svg.write(sequence_svg(shown))
    else:
        print_timeline(shown)


def _read(name: str, store_url: str) -> Timeline:
    with existing_store(store_url) as store:
        records = run_query(find(name), store.reader(), SystemClock())
        realms = _realms()
        return timeline_of(only(records, name, realms), realms)


def _realms() -> Realms:
    """Those of the settings in the environment, if there are any; else none is marked."""
    try:
        return Settings.from_env().realms
    except XPayFlowError:
        return EVERY_REALM
