"""Opening a store that should be there already."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from xpay_flow import ConfigurationError
from xpay_flow.errors import quoted
from xpay_flow.ports import Store
from xpay_flow.stores import blocking_store, open_store

from .needs import click

_SQLITE = "sqlite:///"
# Not XPAY_…: those are the settings, and a strange one among them stops the start.
STORE_VARIABLE = "XPAYFLOW_STORE"

store_option = click.option(
    "--store",
    "store_url",
    metavar="URL",
    envvar=STORE_VARIABLE,
    show_envvar=True,
    help="Where payments are kept, such as sqlite:///payments.db.",
)


def is_missing_file(url: str) -> bool:
    """Whether opening the store would make a new, empty file."""
    return url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists()


@contextmanager
def existing_store(url: str) -> Generator[Store, None, None]:
    """The store that `url` names, closed afterwards. Looking must not make a new, empty one."""
    if is_missing_file(url):
        raise ConfigurationError(f"there is no file {quoted(url.removeprefix(_SQLITE))}")
    store = blocking_store(open_store(url), url)
    try:
        yield store
    finally:
        close = getattr(store, "close", None)
        if close is not None:
            close()
