"""`xpay-flow check-app`: searches every order of an app's statements and prints the verdict."""

from __future__ import annotations

import json
import sys
from typing import IO

from xpay_flow.checker.app import AppBound, AppProgress, Order
from xpay_flow.checker.app import check_app as search
from xpay_flow.checker.app.scenes import FAULT_WORDS, Fault

from .check import EXIT_CODES
from .needs import click
from .searching import watched


@click.command("check-app", short_help="Search every order of the statements of an app as it is.")
@click.argument("app", metavar="MODULE:APP")
@click.option("--reset", metavar="MODULE:FUNCTION", help="Makes tables and one unpaid order.")
@click.option(
    "--promise", "promises", multiple=True, metavar="SQL", help="Must be true in the end."
)
@click.option(
    "--fulfilled",
    default="",
    metavar="SQL|call:WORDS",
    help="Counts fulfilments of the order; default: what one delivered success does.",
)
@click.option("--refunded", default="", metavar="SQL", help="Counts refunds; adds a refund.")
@click.option("--webhook", default="", metavar="PATH", help="The path of the webhook.")
@click.option("--return-path", default="", metavar="PATH", help="The return page, with its query.")
@click.option("--secret", default="", help="Signs webhooks; default: the sandbox's secret.")
@click.option(
    "--order",
    nargs=3,
    type=(str, int, str),
    metavar="RECEIPT MINOR CURRENCY",
    help="The order that waits for its payment; default: found in the database.",
)
@click.option("--intent", default="in_1", metavar="ID", help="With --order: xPay's id of it.")
@click.option("--allow", multiple=True, metavar="HOST", help="Let the app connect to this host.")
@click.option("--faults", type=click.IntRange(0, 3), default=1, show_default=True)
@click.option(
    "--fault",
    "kinds",
    multiple=True,
    type=click.Choice(list(FAULT_WORDS)),
    help="Allow only this kind of faults; may be given several times.",
)
@click.option("--scene", "scenes", multiple=True, help="Search this scene only; may be repeated.")
@click.option("--seconds", type=click.FloatRange(min=0), help="End after so many seconds.")
@click.option("--replay", default="", metavar="SEED", help="Do one trace again.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--emit-test",
    type=click.File("w", encoding="utf-8", lazy=True),
    help="Write a counterexample as a pytest module into this file; - prints it.",
)
def check_app(
    app: str,
    reset: str | None,
    promises: tuple[str, ...],
    fulfilled: str,
    refunded: str,
    webhook: str,
    return_path: str,
    secret: str,
    order: tuple[str, int, str] | None,
    intent: str,
    allow: tuple[str, ...],
    faults: int,
    kinds: tuple[Fault, ...],
    scenes: tuple[str, ...],
    seconds: float | None,
    replay: str,
    as_json: bool,
    emit_test: IO[str] | None,
) -> None:
    """Deliver real, signed webhooks to an ASGI or WSGI app, in every order of its statements.

    It works on copies of the app's SQLite files, and no outgoing call leaves the machine.
    Exit codes: 0 EXHAUSTED, 1 VIOLATED, 3 UNFINISHED.
    """
    bound = AppBound(faults=faults, kinds=kinds or tuple(FAULT_WORDS), seconds_max=seconds)
    with watched(AppProgress.in_words) as watch:
        result = search(
            app,
            reset=reset,
            promise=promises,
            fulfilled=fulfilled,
            refunded=refunded,
            webhook=webhook,
            return_path=return_path,
            secret=secret,
            order=_order(order, intent),
            allow=allow,
            bound=bound,
            scenes=scenes,
            replay=replay,
            progress=watch,
        )
    aside = emit_test is not None and emit_test.name == "-"
    click.echo(json.dumps(result.as_json(), indent=2) if as_json else result.as_text(), err=aside)
    if emit_test is not None:
        emit_test.write(result.as_test())
    sys.exit(EXIT_CODES[result.verdict])


def _order(order: tuple[str, int, str] | None, intent: str) -> Order | None:
    if order is None:
        return None
    receipt, minor, currency = order
    return Order(receipt_id=receipt, amount_minor=minor, currency=currency, x_intent_id=intent)
