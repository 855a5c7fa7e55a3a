"""That a newer schema of the one file is rolled out while the code of now goes on.

The next release is a copy of this one with one migration more, which only adds; the one after it
takes something away. Each migrates as it starts, which is all that a shop does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from releases import Release, at_work, release

from xpay_flow import sample_records as b
from xpay_flow.errors import SchemaMismatch
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.testing.store_suite import put

EXPAND: Final = """Migration(oldest_code=2, statements=(
    "ALTER TABLE intents ADD COLUMN newer TEXT",
    "ALTER TABLE events ADD COLUMN newer INTEGER",
    "CREATE TABLE newer (id INTEGER PRIMARY KEY)",
    "CREATE INDEX by_state ON intents (state)",
)),"""
# What today's code writes in each of its statements.
CONTRACT: Final = """Migration(oldest_code=3, statements=(
    "ALTER TABLE intents DROP COLUMN refund_status",
)),"""
WORKS: Final = """
import sys
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.stores.sqlite_schema import MIGRATIONS
from xpay_flow import sample_records
from xpay_flow.testing.store_suite import put
path, *orders = sys.argv[1:]
with SQLiteStore(path) as store:
    for order in orders:
        put(store, sample_records.attempt(order))
    print(f"code {len(MIGRATIONS)}")
"""


def later(folder: Path, *migrations: str) -> Release:
    """A release that has these migrations after ours."""
    ours = "    Migration(oldest_code=2, statements=_SECOND),\n"
    theirs = f"{ours}    {' '.join(migrations)}\n"
    return release(folder, "xpay_flow", {"stores/sqlite_schema.py": (ours, theirs)}, {})


@pytest.mark.slow
def test_the_code_of_now_goes_on_while_a_newer_schema_is_rolled_out(tmp_path: Path) -> None:
    """A store that is open, one that is opened and a process that is started work on the newer.

    The newer schema stays whatever they do, and both releases find what the other has written.
    """
    now, new = release(tmp_path / "now", "xpay_flow", {}, {}), later(tmp_path / "next", EXPAND)
    path = tmp_path / "payments.db"
    with SQLiteStore(path) as store:
        first = put(store, b.attempt())
        with SQLiteStore(path) as other, at_work([other]) as done:
            assert (0, "code 3\n") == works(new, path, "order-new-1")
            done.wait_for_more()
            assert (0, "code 2\n") == works(now, path, "order-now")
            done.wait_for_more()
        second = put(store, b.next_change(first, b.created()))
        with SQLiteStore(path) as again:
            assert [second] == list(again.history(second.key))
            third = put(again, b.next_change(second, b.paid()))
        assert (0, "code 3\n") == works(new, path, "order-new-2")
        assert [third] == list(store.history(third.key))
        for order in ("order-new-1", "order-now", "order-new-2"):
            assert 1 == len(store.history(f"receipt:{order}")), order


@pytest.mark.slow
def test_code_that_a_schema_has_left_behind_is_refused(tmp_path: Path) -> None:
    """When a column is removed, this release reports it as it starts, and changes nothing."""
    middle, newest = later(tmp_path / "3", EXPAND), later(tmp_path / "4", EXPAND, CONTRACT)
    path = tmp_path / "payments.db"
    with SQLiteStore(path) as store:
        first = put(store, b.attempt())
        assert (0, "code 4\n") == works(newest, path)
        words = "has schema 4, which needs a newer xpay-flow: this one knows schema 2, and 3 is the"
        with pytest.raises(SchemaMismatch, match=words):
            SQLiteStore(path)
        assert (0, "code 3\n") == works(middle, path)
        assert [first] == list(store.history(first.key))


def works(of: Release, path: Path, *orders: str) -> tuple[int, str]:
    """The exit code of a process of this release that makes payments, and its output."""
    return of.run("-c", WORKS, str(path), *orders)
