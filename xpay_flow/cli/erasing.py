"""`xpay-flow erase` and `xpay-flow purge`: what is personal is forgotten."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import attrs

from xpay_flow import Flow, Settings

from .needs import click
from .stores import existing_store, named_store, store_option

# Something is not settled, and is erased when it is.
DUE: Final = 3
_AGE: Final = re.compile(r"([1-9][0-9]{0,5})([hdw]?)", re.ASCII)
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")


class _Age(click.ParamType):  # type: ignore[type-arg]  # not generic in older versions
    """A number of days, or of hours (`36h`) or weeks (`60w`)."""

    name = "age"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:  # noqa: ARG002  # click's
        found = _AGE.fullmatch(str(value))
        if found is None:
            self.fail("write a number of days, such as 400d, or of hours or weeks: 36h, 60w")
        return int(found[1]) * _UNITS[found[2] or "d"]


@click.command(short_help="Forget a customer, or the customer of an order.")
@click.argument("name")
@store_option
@yes_option
@json_option
def erase(name: str, store_url: str | None, yes: bool, as_json: bool) -> None:
    """Erase what is personal of an order's payments, or of all payments of a customer.

    NAME is your receipt id, our intent id or xPay's id; or the customer's e-mail address or xPay's
    customer id, as your shop has passed it. Ids, amounts and states stay. It cannot be undone.

    Exit code 3: something is still needed, and is erased by itself when it no longer is.
    """
    with _flow(named_store(store_url)) as flow:
        _confirm(f"Erase what is personal of {name!a}?", yes)
        results = flow.erase(name)
    if as_json:
        click.echo(json.dumps([attrs.asdict(result) for result in results], indent=2))
    else:
        for result in results:
            click.echo(str(result))
    if any(result.outcome == "due" for result in results):
        raise SystemExit(DUE)


@click.command(short_help="Forget the customers of all payments that are older.")
@click.option("--older-than", type=_Age(), required=True, help="Such as 400d, 36h or 60w.")
@store_option
@yes_option
@json_option
def purge(older_than: timedelta, store_url: str | None, yes: bool, as_json: bool) -> None:
    """Erase what is personal of all payments, and of unmatched events, that are older.

    Ids, amounts and states stay. It cannot be undone.

    Exit code 3: something is still needed, and is erased by itself when it no longer is.
    """
    with _flow(named_store(store_url)) as flow:
        _confirm(f"Erase what is personal of all payments older than {older_than}?", yes)
        result = flow.purge(older_than)
    click.echo(json.dumps(attrs.asdict(result), indent=2) if as_json else str(result))
    if result.due:
        raise SystemExit(DUE)


@contextmanager
def _flow(store_url: str) -> Generator[Flow, None, None]:
    with (
        existing_store(store_url) as store,
        Flow(store, Settings.from_env(), background=False) as flow,
    ):
        yield flow


def _confirm(question: str, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True)
