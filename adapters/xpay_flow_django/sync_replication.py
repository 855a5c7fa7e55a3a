"""Has the standby that must have every commit got this one?

Where `synchronous_standby_names` is set, PostgreSQL waits for it at COMMIT. If somebody ends that
wait, it commits here and only warns; the warning's code is a general one and its text is
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
def heard_of_standby(connection: BaseDatabaseWrapper) -> Generator[None, None, None]:
    """Raise StoreUnavailable if what is committed within may not be on the standby."""
    if connection.vendor != "postgresql":
        yield
        return
    warnings: list[str] = []

    def note(told: Any) -> None:
        if told.source_function == _WAITS:
            warnings.append(_WAITS)

    driver: Any = connection.connection
    if not hasattr(driver, "add_notice_handler"):
        # Of psycopg2 we do not know how it tells this.
        raise ConfigurationError("use PostgreSQL with psycopg 3: pip install 'psycopg[binary]'")
    driver.add_notice_handler(note)
    try:
        yield
    finally:
        driver.remove_notice_handler(note)
    if warnings:
        raise StoreUnavailable("the change may not have reached the standby that must have it")
