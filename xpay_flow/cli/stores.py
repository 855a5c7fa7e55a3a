"""Which store does a command work on? The one of `--store`, or of `XPAY_STORE`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from xpay_flow import ConfigurationError
from xpay_flow.errors import quoted
from xpay_flow.ports import Store
from xpay_flow.settings import STORE_VARIABLE
from xpay_flow.stores import blocking_store, open_store

from .needs import click

SQLITE = "sqlite:///"

store_option = click.option(
    "--store",
    "store_url",
    metavar="URL",
    envvar=STORE_VARIABLE,
    show_envvar=True,
    help="Where payments are kept, such as sqlite:///payments.db.",
)


def named_store(url: str | None, example: str = "sqlite:///payments.db") -> str:
    """The URL, which must be given."""
    if url is None:
        raise click.UsageError(f"name the store: --store {example}, or {STORE_VARIABLE}")
    return url


def is_missing_file(url: str) -> bool:
    """Whether opening the store would make a new, empty file."""
    return url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).exists()


@contextmanager
def existing_store(url: str) -> Generator[Store, None, None]:
    """The store that `url` names, closed afterwards. A command that only reads creates no file."""
    if is_missing_file(url):
        raise ConfigurationError(f"there is no file {quoted(url.removeprefix(SQLITE))}")
    store = blocking_store(open_store(url), url)
    try:
        yield store
    finally:
        close = getattr(store, "close", None)
        if close is not None:
            close()
