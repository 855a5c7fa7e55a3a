"""`xpay-flow init`: what does a project need to take a first payment?

It writes one file of settings, prints the lines to paste, and makes the tables if asked. It changes
no file that is there, and imports nothing of the project.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, cast, get_args

from xpay_flow import ConfigurationError
from xpay_flow.settings import STORE_VARIABLE
from xpay_flow.stores import offered, open_store

from .init_lines import STUB, blocks_for
from .needs import click
from .project import Found, Framework, apps_in

STUB_FILE: Final = "xpay.env"
STORE: Final = "sqlite:///payments.db"
DJANGO: Final = "django://"


@click.command(short_help="Write a settings stub, and print the lines to paste.")
@click.option(
    "--framework",
    type=click.Choice(get_args(Framework)),
    help="Your framework; default: found in the Python files here.",
)
@click.option("--store", "store_url", metavar="URL", default=STORE, show_default=True)
@click.option("--tables", is_flag=True, help="Make the tables of the store, too.")
def init(framework: str | None, store_url: str, tables: bool) -> None:
    """Look at the project in this folder and prepare it for a first payment.

    Writes xpay.env with the settings of the local xPay, unless it is there, and prints what to
    paste for the framework that is found. No other file is changed.
    """
    folder = Path.cwd()
    found = _chosen(apps_in(folder), cast("Framework | None", framework), folder)
    if found.framework == "django":
        store_url = DJANGO  # its own database, which its settings name
    _write_stub(folder / STUB_FILE, store_url)
    if tables:
        click.echo(f"tables      {_make_tables(store_url)}")
    for number, (place, lines) in enumerate(blocks_for(found.framework, found.name), 1):
        click.echo(f"\n{number}. {click.style(_placed(place, found, folder), bold=True)}\n")
        click.echo("".join(f"    {line}".rstrip() + "\n" for line in lines.splitlines()), nl=False)
    _print_next(found, folder, store_url, made=tables)


def _chosen(found: list[Found], wanted: Framework | None, folder: Path) -> Found:
    """The first app; of the wanted framework, if one is wanted.

    Raises:
        ConfigurationError: there is none, and no framework is wanted.
    """
    for each in found:
        if wanted in (None, each.framework):
            click.echo(f"found       {each.framework}, {_where(each, folder)}")
            return each
    if wanted is None:
        raise ConfigurationError(
            "no app is made in the Python files here; name the framework, such as "
            "--framework fastapi, or go to the folder of the project"
        )
    click.echo(f"not found   an app of {wanted}; the lines below call it app")
    name = "shop.settings" if wanted == "django" else "app"
    return Found(framework=wanted, path=folder / "main.py", name=name)


def _where(found: Found, folder: Path) -> str:
    path = found.path.relative_to(folder)
    if found.framework == "django":
        return f"with the settings {found.name}"
    inside = f" in {found.function}()" if found.function else ""
    return f"{found.name} in {path}{inside}"


def _placed(place: str, found: Found, folder: Path) -> str:
    if place.startswith("below"):
        return f"{place}, in {found.path.relative_to(folder)}"
    return place


def _write_stub(path: Path, store_url: str) -> None:
    store = "" if store_url == DJANGO else f"{STORE_VARIABLE}={store_url}\n"
    try:
        # Its owner's alone: live keys may come to stand in it.
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(STUB.format(file=path.name, store=store))
    except FileExistsError:
        click.echo(f"kept        {path.name}, which is there")
    else:
        click.echo(f"written     {path.name}, with the settings of the local xPay")


def _make_tables(url: str) -> str:
    if url == DJANGO:
        return "are made by Django: python manage.py migrate"
    if url.startswith(("sqlite:", "memory:")):
        close = getattr(open_store(url), "close", None)
        if close is not None:
            close()
        return f"are in {url}"
    offered(url)  # Where a package is missing, the URL's scheme names the extra that brings it.
    # Imported when it is needed: SQLAlchemy is an extra, and takes its time to import.
    from xpay_flow_sqlalchemy import migrating

    return f"have schema {migrating.upgrade(url)}"


def _print_next(found: Found, folder: Path, store_url: str, *, made: bool) -> None:
    target = found.target(folder)
    steps = [f"set -a; . ./{STUB_FILE}; set +a"]
    if store_url == DJANGO:
        steps.append("python manage.py migrate")
    elif not store_url.startswith(("sqlite:", "memory:")) and not made:
        steps.append("xpay-flow db upgrade")
    if not found.function:
        steps.append(f"xpay-flow doctor --app {target}")
    steps.append("xpay-flow sandbox --webhook-url http://127.0.0.1:8000/xpay/webhook")
    click.echo("\nThen:\n")
    for step in steps:
        click.echo(f"    {step}")
    if found.framework == "django":
        click.echo("\nfor tests, xpay_flow.testing.shop_world in a TestCase.")
    elif not found.function:
        click.echo(f"\nand, for tests, among pytest's settings: xpay_app = {target}")
