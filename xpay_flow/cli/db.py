"""`xpay-flow db`: make, change and look at the tables of a store in an SQL database."""

from __future__ import annotations

from types import ModuleType

from xpay_flow import ConfigurationError
from xpay_flow.stores import offered

from .needs import click
from .stores import named_store, store_option


@click.group(short_help="Make and change the tables in PostgreSQL, MariaDB or MySQL.")
def db() -> None:
    """Make, change and look at the tables that the SQLAlchemy store uses.

    Shops with Alembic migrations of their own take the same steps there. The store in an SQLite
    file (sqlite:///) needs none of this: it migrates its file when it is opened.
    """


@db.command("upgrade", short_help="Make the tables, or bring them up to date.")
@store_option
@click.option("--to", type=click.IntRange(1), help="The version to reach; default: the newest.")
def upgrade(store_url: str | None, to: int | None) -> None:
    """Make the tables, or bring them up to date. Doing it again changes nothing."""
    url = _named(store_url)
    version = _migrating(url).upgrade(url, to=to)
    click.echo(f"The database has schema {version}.")


@db.command("downgrade", short_help="Undo the newest changes of the tables.")
@store_option
@click.option(
    "--to",
    type=click.IntRange(0),
    required=True,
    help="The version to return to; 0 removes the tables.",
)
def downgrade(store_url: str | None, to: int) -> None:
    """Undo the changes of the tables after a version.

    It is refused if that would delete payments.
    """
    url = _named(store_url)
    version = _migrating(url).downgrade(url, to=to)
    click.echo(f"The database has schema {version}." if version else "The tables are gone.")


@db.command("current", short_help="Print the version of the tables.")
@store_option
def current(store_url: str | None) -> None:
    """Print the version of the tables; 0 means that there are none."""
    url = _named(store_url)
    click.echo(_migrating(url).current(url))


@db.command("check", short_help="Check that this xpay-flow can work on the tables.")
@store_option
def check(store_url: str | None) -> None:
    """Check that this version of xpay-flow can work on the tables; exit code 1 if not."""
    url = _named(store_url)
    _migrating(url).check(url)
    click.echo("This xpay-flow can work on the database.")


def _named(store_url: str | None) -> str:
    store_url = named_store(store_url, "postgresql://user@host/shop")
    if store_url.startswith(("sqlite:", "memory:")):
        raise ConfigurationError(
            "this store needs no migrations: it brings itself up to date when it is opened"
        )
    return store_url


def _migrating(url: str) -> ModuleType:
    offered(url)  # Where a package is missing, the URL's scheme names the extra that brings it.
    # Imported when it is needed: SQLAlchemy is an extra, and takes its time to import.
    from xpay_flow_sqlalchemy import migrating

    return migrating
