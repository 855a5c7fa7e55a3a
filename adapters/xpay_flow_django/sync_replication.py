"""Has the synchronous standby confirmed this commit?

Where `synchronous_standby_names` is set, PostgreSQL waits for it at COMMIT. If an operator cancels
that wait, it commits here and only warns; the warning's code is a general one and its text is
translated, so it is known by the server function that gives it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from xpay_flow.errors import ConfigurationError, StoreUnavailable

_WAITS: Final = "SyncRepWaitForLSN"


@contextmanager
def standby_confirmed(connection: BaseDatabaseWrapper) -> Generator[None, None, None]:
    """Raise StoreUnavailable if what is committed within may not be on the standby."""
    if connection.vendor != "postgresql":
        yield
        return
    warnings: list[str] = []

    def note(diagnostic: Any) -> None:
        if diagnostic.source_function == _WAITS:
            warnings.append(_WAITS)

    driver: Any = connection.connection
    if not hasattr(driver, "add_notice_handler"):
        # How psycopg2 reports this warning is not known to us.
        raise ConfigurationError("use PostgreSQL with psycopg 3: pip install 'psycopg[binary]'")
    driver.add_notice_handler(note)
    try:
        yield
    finally:
        driver.remove_notice_handler(note)
    if warnings:
        raise StoreUnavailable("the change may not have reached the standby that must have it")
